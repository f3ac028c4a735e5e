"""Rows of reports on the wire: flat, so that JSON and CSV have the same columns.

Each kind of row is a table of columns (name -> JSON Schema) beside the function that fills them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from ...projects.types import iso
from ...wire import COUNTS, LAYER, TOKENS, money
from .schemas import COUNT, FLAG, TEXT, TIME, USD, Shape, fields, listed, maybe

if TYPE_CHECKING:
    from ...ledger.status import Status
    from ...store.reports import AuditEntry, Failures, Outcome, Request, Routed

Columns = Mapping[str, Shape]

_MS: Shape = maybe({"type": "number"})
_NANO: Shape = {"type": "integer"}


def _money(*names: str) -> dict[str, Shape]:
    return {f"{n}_{unit}": maybe(shape) for n in names for unit, shape in (("usd", USD), ("nano", _NANO))}


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
    **dict.fromkeys((*COUNTS, *TOKENS), COUNT),
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
    **dict.fromkeys(TOKENS, COUNT),
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


def flat(columns: Columns) -> list[str]:
    """Those that a table has: lists within a row have no place in it."""
    return [name for name, shape in columns.items() if dict(shape).get("type") != "array"]


def failures_row(row: Failures) -> dict[str, Any]:
    return {**asdict(row), "first": iso(row.first), "last": iso(row.last)}


def request_row(row: Request) -> dict[str, Any]:
    values = asdict(row)
    return {
        **{name: values[name] for name in REQUESTS if name in values},
        "at": iso(row.at),
        "key": row.key_id,
        **money("cost", row.cost_nano),
        **money("counterfactual", row.counterfactual_nano),
        "saved_by_layer": [
            {LAYER: layer, "saved_tokens": tokens, **money("saved", nano)}
            for layer, tokens, nano in row.savings
        ],
    }


def routed_row(row: Routed) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("candidate_model", "chosen_model", "reason")},
        "decisions": row.decisions,
        "escalated": row.escalated,
        **money("cost", row.cost.nano),
        "unknown_price_requests": row.cost.unknown,
        "latency_ms": row.latency.average,
    }


def outcome_row(row: Outcome) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in OUTCOMES if hasattr(row, name)}
    texts = {"checks": dict(row.checks), "signals": dict(row.signals), "at": iso(row.at)}
    return {**values, **texts, **money("cost", row.cost_nano)}


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
