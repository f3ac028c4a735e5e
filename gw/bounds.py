"""The most that a request can cost, before it is asked: what budgets put aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil, isfinite
from time import time
from typing import Any, NamedTuple

from middleware._asgi import Scope
from middleware._body import Body
from middleware._state import DEFAULTED
from middleware.budget import Price
from middleware.policy.attachments import MOST_PAGES, attachments
from providers.errors import ProviderError
from providers.translate.params import ALLOWANCE, MIN_WITH_TOOLS, UNSAID_EFFORT

from .dispatch import Dispatcher, Target
from .ledger.asking import dialect_of
from .prices import PriceBook, variant_of

#: Fewer than any tokenizer makes of text and code on the whole (three to four), so that what is put aside is
#: rather too much.
BYTES_PER_TOKEN = 2.5
#: More than any model counts for one image, whatever its size.
IMAGE_TOKENS = 5_000
#: A page of a PDF is read as text and as an image: up to 3,000 and 1,600 tokens
#: (https://platform.claude.com/docs/en/build-with-claude/pdf-support).
PAGE_TOKENS = 4_600
#: Dialect -> its names of what bounds an answer. What else a request calls so its handler does not read.
_LIMITS = {"messages": ("max_tokens",), "responses": ("max_output_tokens",)}
_ALL_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: Dialects whose handlers look at no ``provider`` beside ``model``.
_WITHOUT_PROVIDER = frozenset({"messages", "responses"})
#: Parameters of routers: models that answer where the one that was asked does not.
_INSTEAD = ("models", "fallbacks", "fallback_model")
#: What types of tools begin with that a provider runs itself, and then reads the whole conversation again.
_HOSTED = ("web_search", "web_fetch", "code_execution", "advisor", "tool_search", "mcp")
#: Times that a provider does so in one request where nobody says how often it may: "a default limit of 10
#: iterations" (https://platform.claude.com/docs/en/agents-and-tools/tool-use/how-tool-use-works).
_USES = 10
#: Tokens of what such a tool finds: ten results of a search, a long page.
_FOUND_TOKENS = 10_000


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
        now, provider = clock(), target.provider.name
        rates = prices.rates(provider, target.model, now, variant=variant)
        if rates is None:
            return None
        defaulted = not scope["state"].get(DEFAULTED, frozenset()).isdisjoint(_ALL_LIMITS)
        answer = 0 if dialect == "embeddings" else _answer(request, dialect, default_max_tokens, defaulted)
        prompt, hosted = _prompt(request, body), _hosted(request)
        most = 0
        for model in (target.model, *_others(request)):
            other = rates if model == target.model else prices.rates(provider, model, now, variant=variant)
            if other is None:
                return None
            cost = other.upper_bound(prompt, answer, again=hosted.again(prompt), searches=hosted.searches)
            most = max(most, cost)
        return most

    return bound


def _target(dispatcher: Dispatcher, request: Mapping[str, Any], dialect: str) -> Target:
    """Where the handler of ``dialect`` sends ``request``: otherwise one is priced, and another one asked.
    Raises ``ProviderError``."""
    model = request.get("model")
    provider = None if dialect in _WITHOUT_PROVIDER else request.get("provider")
    if dialect == "simple" and model is provider is None:
        model = dispatcher.default
    return dispatcher.resolve(model, provider)


def _others(request: Mapping[str, Any]) -> Iterator[str]:
    """By the provider's own names, the models that may answer as well, or be asked by one of its tools."""
    for name in _INSTEAD:
        value = request.get(name)
        for other in value if isinstance(value, list) else [value]:
            if isinstance(other, dict):
                other = other.get("model")
            if isinstance(other, str):
                yield other
    for tool in _objects(request.get("tools")):
        if isinstance(tool.get("model"), str):
            yield tool["model"]


def _prompt(request: Mapping[str, Any], body: Body) -> int:
    files = attachments(request)
    pages = files.pages + files.unseen * MOST_PAGES
    text = ceil((len(body.bytes()) - files.size) / BYTES_PER_TOKEN)
    return text + files.images * IMAGE_TOKENS + pages * PAGE_TOKENS


def _answer(request: Mapping[str, Any], dialect: str, default: int, defaulted: bool) -> int:
    """Tokens that may be written: the caller's limit, or the gateway's and the room that is added to it for
    thinking and tools (docs/decisions/004-default-max-tokens.md), for each of the answers that are wanted."""
    limits = {name: count for name in _ALL_LIMITS if (count := _count(request.get(name))) > 0}
    most = max(limits.values(), default=default)
    if defaulted or limits.keys().isdisjoint(_LIMITS.get(dialect, _ALL_LIMITS[:2])):
        most = max(most, default, MIN_WITH_TOOLS) + _allowance(request)
    answers = max(_count(request.get(name)) for name in ("n", "best_of"))
    prompts = request.get("prompt")
    return most * max(answers, 1) * (len(prompts) if isinstance(prompts, list) and prompts else 1)


def _count(value: object) -> int:
    """``value`` as lenient servers read it: to some, 64000.0 and "64000" are numbers. 0 for what is none."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, float):
        return ceil(value) if isfinite(value) else 0
    return value if type(value) is int else 0


def _allowance(request: Mapping[str, Any]) -> int:
    """The room for thinking at the effort that is asked for, and no less than where none is."""
    reasoning = request.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else request.get("reasoning_effort")
    usual = ALLOWANCE[UNSAID_EFFORT]
    return max(usual, ALLOWANCE.get(effort, usual)) if isinstance(effort, str) else usual


class _Hosted(NamedTuple):
    """How often the provider's own tools may be used, and how often it may search."""

    uses: int
    searches: int

    def again(self, prompt: int) -> int:
        """Tokens that are read beside ``prompt``: all there is, once more after each use."""
        return self.uses * prompt + _FOUND_TOKENS * self.uses * (self.uses + 1) // 2


def _hosted(request: Mapping[str, Any]) -> _Hosted:
    uses = searches = 0
    for tool in _objects(request.get("tools")):
        kind = tool.get("type")
        if isinstance(kind, str) and kind.startswith(_HOSTED):
            most = _count(tool.get("max_uses")) or _USES
            uses += most
            searches += most if kind.startswith("web_search") else 0
    if request.get("mcp_servers"):
        uses += _USES
    if request.get("web_search_options") is not None:
        uses, searches = uses + 1, searches + 1
    return _Hosted(min(uses, _USES), searches)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))
