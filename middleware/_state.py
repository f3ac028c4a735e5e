"""The contract of ``scope["state"]``: what middlewares tell each other and the application.

Every key starts with ``gateway.`` and every reader copes with its absence, so that each
middleware works when the others are not installed.

| key | type | written by | read by |
|---|---|---|---|
| ``gateway.request_id`` | ``str`` | telemetry | everyone who logs or answers errors |
| ``gateway.principal`` | :class:`Principal` | auth | rate_limit, telemetry |
| ``gateway.body`` | ``_body.Body`` | the first reader of the body | every other reader |
| ``gateway.savings`` | ``list[Saving]`` | rewriting middlewares | telemetry |
| ``gateway.defaulted`` | ``set[str]`` | limits: body fields the gateway set, not the client | application |
| ``gateway.completion`` | :class:`Completion` | application | telemetry |
| ``gateway.answered`` | ``() -> bool`` | application: all that was asked for is given out | disconnect |
| ``gateway.failed`` | :data:`Failed` | whoever knows how a stream ends that is broken off | disconnect |
| ``gateway.aborted`` | ``_watch.Aborted`` | disconnect | telemetry |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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


#: ``(code, message)`` → the event that ends a stream; ``b""`` where it is the usual one of the dialect.
Failed = Callable[[str, str], bytes]


@dataclass(slots=True, frozen=True)
class Principal:
    """Who is calling. ``key_id`` is a fingerprint, safe to log; the key itself is never kept."""

    project: str
    key_id: str


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
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    #: ``time.perf_counter()`` when the first content of the answer was ready to send.
    first_token_at: float | None = None
    #: ``(stage, code)`` of the upstream failure that ended this request, if one did.
    upstream_error: tuple[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def add_saving(state: dict[str, Any], saving: Saving) -> None:
    """Append to the request's savings list, creating it on first use."""
    state.setdefault(SAVINGS, []).append(saving)
