"""The most that a request can cost, before it is asked: what budgets put aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from time import time
from typing import Any

from middleware._asgi import Scope
from middleware._body import Body
from middleware._reject import dialect_of
from middleware._state import DEFAULTED
from middleware.budget import Price
from providers.errors import ProviderError
from providers.estimate import IMAGE_TOKENS, embedded
from providers.translate.params import ALLOWANCE, MIN_WITH_TOOLS, UNSAID_EFFORT

from .dispatch import Dispatcher
from .prices import PriceBook, variant_of

#: Fewer than any tokenizer makes of text and code on the whole (three to four), so that what is put aside is
#: rather too much.
BYTES_PER_TOKEN = 2.5
#: What bounds an answer, in all dialects.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def cost_bound(
    dispatcher: Dispatcher, prices: PriceBook, default_max_tokens: int, *, clock: Callable[[], float] = time
) -> Price:
    """Prices requests for :class:`middleware.budget.BudgetMiddleware`."""

    def bound(body: Body, scope: Scope) -> int | None:
        request = body.json_object()
        try:
            # The other dialects know no `provider`: what stands there changes nothing about who answers.
            provider = request.get("provider") if dialect_of(scope) == "openai" else None
            target = dispatcher.resolve(request.get("model"), provider)
        except ProviderError:
            return 0  # it is going to be refused, and then costs nothing
        variant = variant_of(request)  # a quick answer costs twice as much
        rates = prices.rates(target.provider.name, target.model, clock(), variant=variant)
        if rates is None:
            return None
        defaulted = not scope["state"].get(DEFAULTED, frozenset()).isdisjoint(_LIMITS)
        embeds = scope["path"].rstrip("/").endswith("/embeddings")
        return rates.upper_bound(
            _prompt(body.raw), 0 if embeds else _answer(request, default_max_tokens, defaulted)
        )

    return bound


def _prompt(request: bytes) -> int:
    images, their_bytes = embedded(request)
    return ceil((len(request) - their_bytes) / BYTES_PER_TOKEN) + images * IMAGE_TOKENS


def _answer(request: Mapping[str, Any], default: int, defaulted: bool) -> int:
    """Tokens that may be written: the caller's limit, or the gateway's and the room that is added to it for
    thinking and tools (docs/decisions/004-default-max-tokens.md), for each of the answers that are wanted."""
    given = [value for name in _LIMITS if type(value := request.get(name)) is int and value > 0]
    most = max(given, default=default)
    if defaulted or not given:
        most = max(most, MIN_WITH_TOOLS) + ALLOWANCE[UNSAID_EFFORT]
    answers = request.get("n")
    return most * (answers if type(answers) is int and answers > 0 else 1)
