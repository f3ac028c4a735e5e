"""What reports are asked for and what they answer. Money is in whole nano-dollars (1e-9 USD)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar, get_args

T = TypeVar("T")

Group = Literal["day", "month", "project", "key", "model", "provider", "dialect", "route"]
GROUPS: tuple[Group, ...] = get_args(Group)


class BadQuery(ValueError):
    """What was asked for makes no sense; the message names what and why."""


class TooSlow(TimeoutError):
    """The database did not finish the report in the time that it is given."""


@dataclass(slots=True, frozen=True)
class Filters:
    """Rows that a report is made of: all of these hold; None: any. ``since`` ≤ time < ``until``, aware.

    ``model`` and ``provider`` are those that answered.
    """

    since: datetime | None = None
    until: datetime | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(slots=True, frozen=True)
class Page(Generic[T]):
    """``next`` is the cursor of the page behind this one; None: this is the last."""

    rows: tuple[T, ...]
    next: str | None = None


@dataclass(slots=True, frozen=True)
class Money:
    """A sum over rows. ``unknown`` of them have no known amount and are not in ``nano``, which is None where
    no row has one."""

    nano: int | None
    unknown: int = 0

    @classmethod
    def over(cls, rows: int, known: int, total: int | None) -> Money:
        return cls(int(total or 0) if known or not rows else None, rows - known)


@dataclass(slots=True, frozen=True)
class Spread:
    """Milliseconds over rows; None where there are none. The percentiles are values that occurred (nearest
    rank), and None unless they were asked for."""

    average: float | None
    p50: float | None = None
    p95: float | None = None


@dataclass(slots=True, frozen=True)
class Saved:
    """What one layer saved. ``group`` are the values of what was grouped by; ``requests`` had something to
    save; ``tokens`` are estimated."""

    group: tuple[str, ...]
    layer: str
    requests: int
    tokens: int
    saved: Money


@dataclass(slots=True, frozen=True)
class Usage:
    """A sum over requests. ``group`` are the values of what was grouped by, in that order."""

    group: tuple[str, ...]
    requests: int
    streams: int
    #: Refused or failed: a status from 400, or a stream that the upstream broke off.
    errors: int
    #: Ended before their time by the client or by this gateway.
    aborted: int
    #: With token counts that nobody has reported.
    estimated: int
    cache_hits: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    #: Part of ``output_tokens``.
    reasoning_tokens: int
    cost: Money
    #: What the same answers would have cost without this gateway's savings.
    counterfactual: Money
    duration: Spread
    #: Of those requests that have one.
    ttft: Spread
    saved: tuple[Saved, ...] = ()


@dataclass(slots=True, frozen=True)
class Request:
    """One row of the ledger, as :class:`gw.ledger.row.Row` has it."""

    id: str
    request_id: str
    at: datetime
    project: str
    key_id: str
    dialect: str
    requested_model: str
    model: str
    provider: str
    status: int
    stream: bool
    ttft_ms: float | None
    duration_ms: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    cost_nano: int | None
    counterfactual_nano: int | None
    cache_hit: bool
    route: str
    route_reason: str
    attempts: int
    aborted: str
    estimated: str
    error_stage: str
    error_code: str
    upstream_request_id: str
    #: ``(layer, estimated tokens, nano-dollars or None)``, by layer.
    savings: tuple[tuple[str, int, int | None], ...] = ()


@dataclass(slots=True, frozen=True)
class Failures:
    """Requests that failed alike. ``stage`` and ``code`` are "" where no upstream was at fault."""

    provider: str
    model: str
    status: int
    stage: str
    code: str
    requests: int
    first: datetime
    last: datetime


@dataclass(slots=True, frozen=True)
class Outcome:
    """How one routing decision turned out. ``checks`` and ``signals`` are values by name, of JSON."""

    id: str
    #: The row of the ledger.
    request: str
    at: datetime
    project: str
    session: str
    turn: int
    feature_version: int
    candidate_model: str
    chosen_model: str
    escalated: bool
    reason: str
    checks: Mapping[str, object] = field(default_factory=dict)
    signals: Mapping[str, object] = field(default_factory=dict)
    cost_nano: int | None = None
    latency_ms: float | None = None


@dataclass(slots=True, frozen=True)
class Routed:
    """Decisions that chose alike."""

    candidate_model: str
    chosen_model: str
    reason: str
    decisions: int
    escalated: int
    cost: Money
    latency: Spread


@dataclass(slots=True, frozen=True)
class AuditEntry:
    """Who changed what. ``before`` and ``after`` are JSON; None: it was not there, or is not any more."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
    request_id: str | None
