"""The contract of ``scope["state"]``: what middlewares tell each other and the application.

Every key starts with ``gateway.`` and every reader copes with its absence, so that each
middleware works when the others are not installed.

| key | type | written by | read by |
|---|---|---|---|
| ``gateway.request_id`` | ``str`` | telemetry | everyone who logs or answers errors |
| ``gateway.principal`` | :class:`Principal` | auth | rate_limit, quota, key_policy, budget, telemetry |
| ``gateway.body`` | ``_body.Body`` | the first reader of the body | every other reader |
| ``gateway.savings`` | ``list[Saving]`` | rewriting middlewares | telemetry |
| ``gateway.defaulted`` | ``set[str]`` | limits: body fields the gateway set, not the client | application |
| ``gateway.completion`` | :class:`Completion` | application | telemetry, quota, budget |
| ``gateway.answered`` | ``() -> bool`` | application: all that was asked for is given out | disconnect |
| ``gateway.reservation`` | :class:`Reservation` | budget | application: settles it with the usage row |
| ``gateway.failed`` | :data:`Failed` | whoever knows how a stream ends that is broken off | disconnect |
| ``gateway.aborted`` | ``_watch.Aborted`` | disconnect | telemetry |
| ``gateway.refused`` | ``(stage, code)`` of the refusal | ``_reject.reject_json``, application | telemetry |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Any

REQUEST_ID = "gateway.request_id"
PRINCIPAL = "gateway.principal"
BODY = "gateway.body"
SAVINGS = "gateway.savings"
DEFAULTED = "gateway.defaulted"
COMPLETION = "gateway.completion"
ANSWERED = "gateway.answered"
FAILED = "gateway.failed"
ABORTED = "gateway.aborted"
RESERVATION = "gateway.reservation"
REFUSED = "gateway.refused"


#: ``(code, message)`` → the event that ends a stream; ``b""`` where it is the usual one of the dialect.
Failed = Callable[[str, str], bytes]


@dataclass(slots=True, frozen=True)
class Account:
    """Something that limits and budgets are kept for: a project, or one of its keys. None: no such limit.

    ``id`` is ``project:<project>`` or ``key:<key id>``. Budgets are nano-dollars per UTC day and month.
    """

    id: str
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_budget: int | None = None
    monthly_budget: int | None = None


@dataclass(slots=True, frozen=True)
class Policy:
    """What a key may ask for. None and empty: no rule.

    ``models`` are names of models, with ``*`` for any characters. ``cache`` is ``"default"``, ``"off"``
    (no stored answers for this key) or ``"shared"`` (among all keys of the project).
    """

    models: tuple[str, ...] = ()
    default_model: str | None = None
    max_tokens: int | None = None
    system_prefix: str | None = None
    allowed_tools: tuple[str, ...] = ()
    blocked_tools: tuple[str, ...] = ()
    cache: str = "default"


@dataclass(slots=True, frozen=True)
class Principal:
    """Who is calling. ``key_id`` is a fingerprint or a key's public id, safe to log; the key itself is
    never kept. Every limit of every one of ``accounts`` holds. ``policy`` is the key's over its project's."""

    project: str
    key_id: str
    accounts: tuple[Account, ...] = ()
    policy: Policy | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, frozen=True)
class Reservation:
    """Money put aside for one request, in nano-dollars, until its cost is known. ``id`` is unguessable."""

    id: str
    nano: int


@dataclass(slots=True, frozen=True)
class Saving:
    """What one layer took out of one request, in characters and estimated tokens."""

    layer: str
    chars: int
    tokens: int


@dataclass(slots=True)
class Completion:
    """What the application knows of the answer; filled in while a stream passes."""

    provider: str = ""
    model: str = ""
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    #: Part of ``output_tokens``.
    reasoning_tokens: int = 0
    #: Searches of the web that the provider has made and charges for.
    web_searches: int = 0
    #: Names of the counts above that nobody has reported: ``input``, ``output`` or both.
    estimated: frozenset[str] = frozenset()
    #: The name of the model as the caller wrote it.
    requested_model: str = ""
    #: The upstream's name of the model that it was asked for.
    asked_model: str = ""
    #: No model answers: its upstream only counts the tokens of the request.
    counting: bool = False
    #: Unix seconds; just before the upstream was asked.
    asked_at: float = field(default_factory=time)
    #: By which of its prices the upstream says it charges, as ``service_tier=flex``; None: it has not said.
    variant: str | None = None
    #: Where the upstream says that it has computed, as ``us``; None: it has not said.
    geo: str | None = None
    #: Nano-dollars (1e-9 USD); None while nobody knows the price. ``saved_nano``: per layer.
    cost_nano: int | None = None
    #: It was looked for a price, and there is none.
    unpriced: bool = False
    saved_nano: dict[str, int] = field(default_factory=dict)
    #: Times that an upstream was asked.
    attempts: int = 1
    cache_hit: bool = False
    route: str = ""
    route_reason: str = ""
    upstream_request_id: str = ""
    #: ``time.perf_counter()`` when the first content of the answer was ready to send.
    first_token_at: float | None = None
    #: ``(stage, code)`` of the upstream failure that ended this request, if one did.
    upstream_error: tuple[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens


def add_saving(state: dict[str, Any], saving: Saving) -> None:
    """Append to the request's savings list, creating it on first use."""
    state.setdefault(SAVINGS, []).append(saving)
