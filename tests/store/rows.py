"""Rows of the ledger for tests of the store: any that hypothesis thinks of, and the sums in plain Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.store.reports import Filters, Money, Request, Saved, Spread, Usage
from gw.store.schema import requests, savings

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

#: Few of each, so that groups have many rows; in an order that locales see otherwise than code points.
_NAMES = st.sampled_from(["", "B", "a", "b c", "Zürich", "_", "\U0001f600", "\ufffd"])
_TIMES = st.builds(
    lambda days, seconds, micro: datetime(2026, 10, 30, tzinfo=UTC) + timedelta(days, seconds, micro),
    st.integers(0, 4),
    st.sampled_from([0, 1, 3600, 86399]),
    st.sampled_from([0, 1, 999_999]),
)
_MONEY = st.none() | st.integers(0, 10**15)
_COUNT = st.integers(0, 10**12)
_MILLISECONDS = st.floats(0, 1e6, allow_subnormal=False)
_LAYERS = st.sampled_from(["limits", "Cache", "dedup_files"])
_SAVED = st.dictionaries(_LAYERS, st.tuples(_COUNT, _MONEY), max_size=2)

_one = st.fixed_dictionaries(
    {
        "at": _TIMES,
        "project": _NAMES,
        "key_id": _NAMES,
        "model": _NAMES,
        "provider": st.sampled_from(["anthropic", "ollama"]),
        "dialect": st.sampled_from(["chat", "messages"]),
        "route": st.sampled_from(["", "auto"]),
        "status": st.sampled_from([200, 399, 400, 529]),
        "stream": st.booleans(),
        "ttft_ms": st.none() | _MILLISECONDS,
        "duration_ms": _MILLISECONDS,
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "cache_read_tokens": _COUNT,
        "cache_write_5m_tokens": _COUNT,
        "cache_write_1h_tokens": _COUNT,
        "reasoning_tokens": _COUNT,
        "cost_nano": _MONEY,
        "counterfactual_nano": _MONEY,
        "cache_hit": st.booleans(),
        "attempts": st.integers(0, 3),
        "aborted": st.sampled_from(["", "client", "killed"]),
        "estimated": st.sampled_from(["", "output", "input,output"]),
        "error_stage": st.just(""),
        "error_code": st.sampled_from(["", "overloaded_error"]),
        "savings": _SAVED,
    }
)

Rows = list[dict[str, Any]]


def _numbered(rows: Rows) -> Rows:
    numbers = itertools.count(1)
    for row in rows:
        number = f"{next(numbers):04x}"
        row |= {"id": number, "request_id": f"r{number}", "requested_model": "sonnet"}
        row |= {"route_reason": "", "upstream_request_id": ""}
    return rows


ledgers = st.lists(_one, max_size=25).map(_numbered)


async def write(engine: AsyncEngine, rows: Iterable[Mapping[str, Any]]) -> None:
    """In place of what is there."""
    main = [{name: value for name, value in row.items() if name != "savings"} for row in rows]
    saved = [
        {
            **{name: row[name] for name in ("at", "project", "key_id")},
            **{"request": row["id"], "layer": layer, "tokens": tokens, "saved_nano": nano},
        }
        for row in rows
        for layer, (tokens, nano) in row["savings"].items()
    ]
    async with engine.begin() as connection:
        await connection.execute(delete(requests))  # and what they saved
        if main:
            await connection.execute(insert(requests), main)
        if saved:
            await connection.execute(insert(savings), saved)


def chosen(rows: Rows, filters: Filters) -> Rows:
    def fits(row: Mapping[str, Any]) -> bool:
        return (
            (filters.since is None or row["at"] >= filters.since)
            and (filters.until is None or row["at"] < filters.until)
            and (filters.project is None or row["project"] == filters.project)
            and (filters.key is None or row["key_id"] == filters.key)
            and (filters.model is None or row["model"] == filters.model)
            and (filters.provider is None or row["provider"] == filters.provider)
        )

    return [row for row in rows if fits(row)]


def grouped(rows: Rows, group: Sequence[str]) -> dict[tuple[str, ...], Rows]:
    """In the order of code points."""
    found: dict[tuple[str, ...], Rows] = {} if group else {(): []}
    for row in rows:
        found.setdefault(tuple(_value(row, name) for name in group), []).append(row)
    return dict(sorted(found.items()))


def _value(row: Mapping[str, Any], name: str) -> str:
    if name in ("day", "month"):
        return str(row["at"].isoformat()[: 10 if name == "day" else 7])
    return str(row["key_id" if name == "key" else name])


def usage_of(group: tuple[str, ...], rows: Rows) -> Usage:
    def count(name: str) -> int:
        return sum(bool(row[name]) for row in rows)

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    return Usage(
        group=group,
        requests=len(rows),
        streams=count("stream"),
        errors=sum(has_failed(row) for row in rows),
        aborted=count("aborted"),
        estimated=count("estimated"),
        cache_hits=count("cache_hit"),
        attempts=total("attempts"),
        input_tokens=total("input_tokens"),
        output_tokens=total("output_tokens"),
        cache_read_tokens=total("cache_read_tokens"),
        cache_write_5m_tokens=total("cache_write_5m_tokens"),
        cache_write_1h_tokens=total("cache_write_1h_tokens"),
        reasoning_tokens=total("reasoning_tokens"),
        cost=money([row["cost_nano"] for row in rows]),
        counterfactual=money([row["counterfactual_nano"] for row in rows]),
        duration=spread([row["duration_ms"] for row in rows]),
        ttft=spread([row["ttft_ms"] for row in rows]),
        saved=tuple(saved_of(group, rows)),
    )


def has_failed(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] >= 400 or row["error_code"])


def money(amounts: list[int | None]) -> Money:
    known = [amount for amount in amounts if amount is not None]
    return Money(sum(known) if known or not amounts else None, len(amounts) - len(known))


def spread(times: list[float | None]) -> Spread:
    known = sorted(time for time in times if time is not None)
    if not known:
        return Spread(None, None, None)
    ranks = [math.ceil(len(known) * share / 100) for share in (50, 95)]
    return Spread(math.fsum(known) / len(known), *(known[rank - 1] for rank in ranks))


def saved_of(group: tuple[str, ...], rows: Rows) -> Iterable[Saved]:
    for layer in sorted({layer for row in rows for layer in row["savings"]}):
        found = [row["savings"][layer] for row in rows if layer in row["savings"]]
        tokens = sum(tokens for tokens, _ in found)
        yield Saved(group, layer, len(found), tokens, money([nano for _, nano in found]))


def request_of(row: Mapping[str, Any]) -> Request:
    saved = tuple(sorted((layer, *amounts) for layer, amounts in row["savings"].items()))
    return Request(**{**row, "savings": saved})
