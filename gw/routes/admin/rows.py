"""Rows of reports on the wire: flat, so that JSON and CSV have the same columns.

Each kind of row is a table of columns (name -> JSON Schema) beside the function that fills them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from ...projects.types import dollars, iso
from .schemas import COUNT, FLAG, TEXT, TIME, USD, Shape, fields, listed, maybe

if TYPE_CHECKING:
    from ...ledger.status import Status
    from ...store.reports import AuditEntry, Failures, Money, Outcome, Request, Routed, Saved, Usage

LAYER = "layer"
GROUPS = ("day", "month", "project", "key", "model", "provider", "dialect", "route", LAYER)
Columns = Mapping[str, Shape]

_MS: Shape = maybe({"type": "number"})
_NANO: Shape = {"type": "integer"}
_COUNTS = ("requests", "streams", "errors", "aborted", "estimated", "cache_hits", "attempts")
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)


def _money(*names: str) -> dict[str, Shape]:
    return {f"{n}_{unit}": maybe(shape) for n in names for unit, shape in (("usd", USD), ("nano", _NANO))}


def _written(name: str, nano: int | None) -> dict[str, Any]:
    """Dollars as an exact text, and the whole nano-dollars (1e-9 USD) for programs that add them up."""
    return {f"{name}_usd": dollars(nano), f"{name}_nano": nano}


_PRICE = {**_money("cost", "counterfactual", "saved"), "unknown_price_requests": COUNT}
LAYERS: Columns = {
    LAYER: TEXT,
    "requests": COUNT,
    "saved_tokens": COUNT,
    **_money("saved"),
    "unknown_price_requests": COUNT,
}
_BY_LAYER = {"saved_by_layer": listed(fields(LAYERS))}
USAGE: Columns = {
    **dict.fromkeys((*_COUNTS, *_TOKENS), COUNT),
    **_PRICE,
    "duration_ms": _MS,
    "duration_p50_ms": _MS,
    "duration_p95_ms": _MS,
    "ttft_ms": _MS,
    "ttft_p50_ms": _MS,
    "ttft_p95_ms": _MS,
    **_BY_LAYER,
}
BUDGET: Columns = {
    "account": TEXT,
    "period": {"enum": ["day", "month"]},
    "budget_usd": USD,
    "spent_usd": USD,
    "reserved_usd": USD,
    "left_usd": USD,
    "begins_anew": TIME,
}
COSTS: Columns = {"requests": COUNT, "estimated": COUNT, **_PRICE, **_BY_LAYER}
FAILURES: Columns = {
    "provider": TEXT,
    "model": TEXT,
    "status": COUNT,
    "stage": TEXT,
    "code": TEXT,
    "requests": COUNT,
    "first": TIME,
    "last": TIME,
}
REQUESTS: Columns = {
    "id": TEXT,
    "request_id": TEXT,
    "at": TIME,
    **dict.fromkeys(("project", "key", "dialect", "requested_model", "model", "provider"), TEXT),
    "status": COUNT,
    "stream": FLAG,
    "ttft_ms": _MS,
    "duration_ms": {"type": "number"},
    **dict.fromkeys(_TOKENS, COUNT),
    **_money("cost", "counterfactual"),
    "cache_hit": FLAG,
    "route": TEXT,
    "route_reason": TEXT,
    "attempts": COUNT,
    **dict.fromkeys(("aborted", "estimated", "error_stage", "error_code", "upstream_request_id"), TEXT),
    "saved_by_layer": listed(fields({LAYER: TEXT, "saved_tokens": COUNT, **_money("saved")})),
}
ROUTED: Columns = {
    "candidate_model": TEXT,
    "chosen_model": TEXT,
    "reason": TEXT,
    "decisions": COUNT,
    "escalated": COUNT,
    **_money("cost"),
    "unknown_price_requests": COUNT,
    "latency_ms": _MS,
}
OUTCOMES: Columns = {
    "id": TEXT,
    "request": TEXT,
    "at": TIME,
    **dict.fromkeys(("project", "session"), TEXT),
    "turn": COUNT,
    "feature_version": COUNT,
    **dict.fromkeys(("candidate_model", "chosen_model"), TEXT),
    "escalated": FLAG,
    "reason": TEXT,
    "checks": {"type": "object"},
    "signals": {"type": "object"},
    **_money("cost"),
    "latency_ms": _MS,
}
AUDIT: Columns = {
    "id": COUNT,
    "at": TIME,
    "actor": TEXT,
    "action": TEXT,
    "subject": TEXT,
    "before": maybe({"type": "object"}),
    "after": maybe({"type": "object"}),
    "request_id": maybe(TEXT),
}
LEDGER: Columns = {
    "state": {"enum": ["recording", "behind", "stopped", "never started", "off"]},
    "written_at": maybe(TIME),
    "last_commit_at": maybe(TIME),
    "rows": COUNT,
    "backlog_bytes": COUNT,
    "memory_records": COUNT,
    "memory_bytes": COUNT,
    "lost": COUNT,
    "rejected": COUNT,
    "error": maybe(TEXT),
}


def grouped(names: Sequence[str], values: Iterable[str]) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


def usage_row(names: Sequence[str], row: Usage) -> dict[str, Any]:
    return {
        **grouped(names, row.group),
        **{name: getattr(row, name) for name in (*_COUNTS, *_TOKENS)},
        **_price(row),
        "duration_ms": row.duration.average,
        "duration_p50_ms": row.duration.p50,
        "duration_p95_ms": row.duration.p95,
        "ttft_ms": row.ttft.average,
        "ttft_p50_ms": row.ttft.p50,
        "ttft_p95_ms": row.ttft.p95,
        "saved_by_layer": [layer_row((), saved) for saved in row.saved],
    }


def costs_row(names: Sequence[str], row: Usage) -> dict[str, Any]:
    return {
        **grouped(names, row.group),
        "requests": row.requests,
        "estimated": row.estimated,
        **_price(row),
        "saved_by_layer": [layer_row((), saved) for saved in row.saved],
    }


def layer_row(names: Sequence[str], row: Saved) -> dict[str, Any]:
    return {
        **(grouped(names, row.group) if names else {}),
        LAYER: row.layer,
        "requests": row.requests,
        "saved_tokens": row.tokens,
        **_written("saved", row.saved.nano),
        "unknown_price_requests": row.saved.unknown,
    }


def _price(row: Usage) -> dict[str, Any]:
    return {
        **_written("cost", row.cost.nano),
        **_written("counterfactual", row.counterfactual.nano),
        **_written("saved", _total([saved.saved for saved in row.saved])),
        "unknown_price_requests": row.cost.unknown,
    }


def _total(amounts: Sequence[Money]) -> int | None:
    """0 where no layer had anything to do; None where none of their amounts is known."""
    known = [money.nano for money in amounts if money.nano is not None]
    return sum(known) if known or not amounts else None


def failures_row(row: Failures) -> dict[str, Any]:
    return {**asdict(row), "first": iso(row.first), "last": iso(row.last)}


def request_row(row: Request) -> dict[str, Any]:
    values = asdict(row)
    return {
        **{name: values[name] for name in REQUESTS if name in values},
        "at": iso(row.at),
        "key": row.key_id,
        **_written("cost", row.cost_nano),
        **_written("counterfactual", row.counterfactual_nano),
        "saved_by_layer": [
            {LAYER: layer, "saved_tokens": tokens, **_written("saved", nano)}
            for layer, tokens, nano in row.savings
        ],
    }


def routed_row(row: Routed) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("candidate_model", "chosen_model", "reason")},
        "decisions": row.decisions,
        "escalated": row.escalated,
        **_written("cost", row.cost.nano),
        "unknown_price_requests": row.cost.unknown,
        "latency_ms": row.latency.average,
    }


def outcome_row(row: Outcome) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in OUTCOMES if hasattr(row, name)}
    texts = {"checks": dict(row.checks), "signals": dict(row.signals), "at": iso(row.at)}
    return {**values, **texts, **_written("cost", row.cost_nano)}


def audit_row(row: AuditEntry) -> dict[str, Any]:
    before, after = (None if text is None else orjson.loads(text) for text in (row.before, row.after))
    return {**asdict(row), "at": iso(row.at), "before": before, "after": after}


def ledger_row(state: str, status: Status, memory: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """``memory``: the records that wait in the workers' memory, and their bytes."""
    records, size = memory
    return {
        "state": state,
        "written_at": _moment(status.at or None),
        "last_commit_at": _moment(status.last_commit_at),
        "rows": status.rows_total,
        "backlog_bytes": status.backlog_bytes,
        "memory_records": records,
        "memory_bytes": size,
        "lost": status.lost,
        "rejected": status.rejected,
        "error": status.error,
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else iso(datetime.fromtimestamp(round(seconds, 3), UTC))
