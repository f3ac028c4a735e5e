"""Sums over the ledger as they go out: one vocabulary for the admin API and ``gw usage``, as JSON and as CSV.

Money is an exact text of dollars (``cost_usd``) and the same in whole nano-dollars (``cost_nano``). Unknown
is None, never 0; ``unknown_price_requests`` says how many requests a sum leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .projects.types import dollars

if TYPE_CHECKING:
    from .store.reports import Money, Saved, Usage

LAYER = "layer"
#: What sums are grouped by.
GROUPS = ("day", "month", "project", "key", "model", "provider", "dialect", "route", LAYER)
COUNTS = ("requests", "streams", "errors", "aborted", "estimated", "cache_hits", "attempts")
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)


def grouped(names: Sequence[str], values: Iterable[str]) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


def money(name: str, nano: int | None) -> dict[str, Any]:
    """``<name>_usd`` and ``<name>_nano`` (1e-9 USD), for programs that add them up."""
    return {f"{name}_usd": dollars(nano), f"{name}_nano": nano}


def usage_row(names: Sequence[str], row: Usage) -> dict[str, Any]:
    """``row``, which is grouped by ``names``."""
    return {
        **grouped(names, row.group),
        **_sums(row),
        "duration_ms": row.duration.average,
        "duration_p50_ms": row.duration.p50,
        "duration_p95_ms": row.duration.p95,
        "ttft_ms": row.ttft.average,
        "ttft_p50_ms": row.ttft.p50,
        "ttft_p95_ms": row.ttft.p95,
        **_by_layer(row),
    }


def total_row(row: Usage) -> dict[str, Any]:
    """``row``, a sum of sums, in which times mean nothing."""
    return {**_sums(row), **_by_layer(row)}


def costs_row(names: Sequence[str], row: Usage) -> dict[str, Any]:
    """The money alone."""
    return {
        **grouped(names, row.group),
        "requests": row.requests,
        "estimated": row.estimated,
        **_price(row),
        **_by_layer(row),
    }


def layer_row(names: Sequence[str], row: Saved) -> dict[str, Any]:
    """What one layer saved; ``names`` are what it is grouped by beside the layer."""
    return {
        **(grouped(names, row.group) if names else {}),
        LAYER: row.layer,
        "requests": row.requests,
        "saved_tokens": row.tokens,
        **money("saved", row.saved.nano),
        "unknown_price_requests": row.saved.unknown,
    }


def _sums(row: Usage) -> dict[str, Any]:
    return {**{name: getattr(row, name) for name in (*COUNTS, *TOKENS)}, **_price(row)}


def _by_layer(row: Usage) -> dict[str, Any]:
    return {"saved_by_layer": [layer_row((), saved) for saved in row.saved]}


def _price(row: Usage) -> dict[str, Any]:
    return {
        **money("cost", row.cost.nano),
        **money("counterfactual", row.counterfactual.nano),
        **money("saved", _total([saved.saved for saved in row.saved])),
        "unknown_price_requests": row.cost.unknown,
    }


def _total(amounts: Sequence[Money]) -> int | None:
    """0 where no layer had anything to do; None where none of their amounts is known."""
    known = [amount.nano for amount in amounts if amount.nano is not None]
    return sum(known) if known or not amounts else None
