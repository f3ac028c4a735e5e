"""The most that a request can cost, before it is asked: what budgets put aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import ceil
from time import time
from typing import Any

from middleware._asgi import Scope
from middleware._body import Body
from middleware._state import DEFAULTED
from middleware.budget import Price
from providers.errors import ProviderError
from providers.translate.params import ALLOWANCE, MIN_WITH_TOOLS, UNSAID_EFFORT

from .dispatch import Dispatcher, Target
from .ledger.asking import dialect_of
from .prices import PriceBook, variant_of

#: Fewer than any tokenizer makes of text and code on the whole (three to four), so that what is put aside is
#: rather too much.
BYTES_PER_TOKEN = 2.5
#: What bounds an answer, in all dialects.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: Dialects whose handlers look at no ``provider`` beside ``model``.
_WITHOUT_PROVIDER = frozenset({"messages", "responses"})
#: More than any model counts for one image, whatever its size.
IMAGE_TOKENS = 5_000
#: Other files (a page of a PDF is some 50 KB and 3,000 tokens).
_FILE_BYTES_PER_TOKEN = 16
_BASE64 = b"base64"
#: A string that is a file in base64; the first group is there when it begins as PNG, JPEG, GIF and WebP do.
_EMBEDDED = re.compile(
    rb'"(?:data:[^",;]{0,80};base64,)?(iVBORw0KGgo|/9j/|R0lGOD|UklGR)?[A-Za-z0-9+/]{1024,}+={0,2}"'
)


def cost_bound(
    dispatcher: Dispatcher, prices: PriceBook, default_max_tokens: int, *, clock: Callable[[], float] = time
) -> Price:
    """Prices requests for :class:`middleware.budget.BudgetMiddleware`."""

    def bound(body: Body, scope: Scope) -> int | None:
        request = body.json_object()
        dialect = dialect_of(scope["path"])
        try:
            target = _target(dispatcher, request, dialect)
        except ProviderError:
            return 0  # it is going to be refused, and then costs nothing
        variant = variant_of(request, dialect)  # a quick answer costs twice as much
        rates = prices.rates(target.provider.name, target.model, clock(), variant=variant)
        if rates is None:
            return None
        defaulted = not scope["state"].get(DEFAULTED, frozenset()).isdisjoint(_LIMITS)
        answer = 0 if dialect == "embeddings" else _answer(request, default_max_tokens, defaulted)
        return rates.upper_bound(_prompt(body.bytes()), answer)

    return bound


def _target(dispatcher: Dispatcher, request: Mapping[str, Any], dialect: str) -> Target:
    """Where the handler of ``dialect`` sends ``request``: otherwise one is priced, and another one asked.
    Raises ``ProviderError``."""
    model = request.get("model")
    provider = None if dialect in _WITHOUT_PROVIDER else request.get("provider")
    if dialect == "simple" and model is provider is None:
        model = dispatcher.default
    return dispatcher.resolve(model, provider)


def _prompt(request: bytes) -> int:
    size, tokens = len(request), 0
    if _BASE64 in request:
        for match in _EMBEDDED.finditer(request):
            length = match.end() - match.start()
            size -= length
            tokens += IMAGE_TOKENS if match[1] else length // _FILE_BYTES_PER_TOKEN
    return ceil(size / BYTES_PER_TOKEN) + tokens


def _answer(request: Mapping[str, Any], default: int, defaulted: bool) -> int:
    """Tokens that may be written: the caller's limit, or the gateway's and the room that is added to it for
    thinking and tools (docs/decisions/004-default-max-tokens.md), for each of the answers that are wanted."""
    given = [value for name in _LIMITS if type(value := request.get(name)) is int and value > 0]
    most = max(given, default=default)
    if defaulted or not given:
        most = max(most, MIN_WITH_TOOLS) + _allowance(request)
    answers = max(value if type(value := request.get(name)) is int else 1 for name in ("n", "best_of"))
    prompts = request.get("prompt")
    return most * max(answers, 1) * (len(prompts) if isinstance(prompts, list) and prompts else 1)


def _allowance(request: Mapping[str, Any]) -> int:
    """The room for thinking at the effort that is asked for, and no less than where none is."""
    reasoning = request.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else request.get("reasoning_effort")
    usual = ALLOWANCE[UNSAID_EFFORT]
    return max(usual, ALLOWANCE.get(effort, usual)) if isinstance(effort, str) else usual
