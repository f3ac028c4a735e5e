"""Rows are written in bulk where nothing in them is odd, and one by one where something is: alike."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Text, insert, select, type_coerce
from sqlalchemy.exc import IntegrityError

from gw.ledger import posting
from gw.ledger.row import COLUMNS, Row
from gw.store.bulk import insert_plain
from gw.store.reports.types import Request
from gw.store.schema import requests

from .records import LATE, recorded, row, spending

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = pytest.mark.anyio

#: Values of rows as they come every day.
DAILY: tuple[dict[str, Any], ...] = (
    {},
    {"at": LATE + 0.000_001, "ttft_ms": 12.345, "duration_ms": 0.1},
    {"at": float(int(LATE))},
    {"stream": False, "cache_hit": True, "status": 402},
    {"cost_nano": None, "counterfactual_nano": None, "ttft_ms": None},
    {"input_tokens": 10**12, "cost_nano": 10**17, "cache_read_tokens": 3, "cache_write_5m_tokens": 4},
    {"requested_model": "модель 🙂", "route_reason": "x" * 5000, "error_stage": "connect"},
    {"requested_model": "m" * 256, "aborted": "a" * 32, "request_id": "'; DROP TABLE requests; --"},
)
#: What has to be cleaned before a database takes it.
ODD: tuple[dict[str, Any], ...] = (
    {"model": "a\0b"},
    {"route_reason": "a\0b"},
    {"model": "\ud800"},
    {"model": "m" * 257},
    {"error_code": "c" * 129},
)


def as_rows(prefix: str, *values: dict[str, Any]) -> list[Row]:
    return [row(f"{prefix}{number}", **{"request_id": "r", **more}) for number, more in enumerate(values)]


async def post(engine: AsyncEngine, rows: list[Row]) -> int:
    async with engine.begin() as connection:
        return await posting.post(connection, rows)


def without_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_args: Any) -> None:
        raise ValueError("not in bulk")

    monkeypatch.setattr(posting, "insert_plain", refuse)


@pytest.mark.parametrize("values", [DAILY, ODD, DAILY + ODD], ids=["daily", "odd", "both"])
async def test_rows_are_the_same_in_bulk_and_one_by_one(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, values: tuple[dict[str, Any], ...]
) -> None:
    assert await post(engine, as_rows("bulk-", *values)) == len(values)
    without_bulk(monkeypatch)
    assert await post(engine, as_rows("slow-", *values)) == len(values)
    found = await recorded(engine)
    async with engine.connect() as connection:
        # As they are stored: SQLite compares times as texts.
        query = select(requests.c.id, type_coerce(requests.c.at, Text).label("at"))
        times: dict[str, Any] = {one.id: one.at for one in await connection.execute(query)}
    for number in range(len(values)):
        bulk, slow = (found[f"{prefix}-{number}"]._asdict() for prefix in ("bulk", "slow"))
        assert times[bulk.pop("id")] == times[slow.pop("id")]
        assert bulk == slow


async def test_daily_rows_are_never_prepared_one_by_one(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: Any) -> None:
        raise AssertionError("one by one")

    monkeypatch.setattr(posting, "_insert", refuse)
    assert await post(engine, as_rows("a", *DAILY)) == len(DAILY)


async def test_a_row_that_is_there_already_costs_nothing_the_second_time(engine: AsyncEngine) -> None:
    assert await post(engine, as_rows("a", {}, {})) == 2
    assert await post(engine, [*as_rows("a", {}, {}, {}), *as_rows("a", {}, {}, {})]) == 1
    assert {spent for spent, _ in (await spending(engine)).values()} == {3000}


async def test_a_bulk_that_fails_leaves_nothing_and_the_transaction_goes_on(engine: AsyncEngine) -> None:
    columns = posting.columns_of(as_rows("a", {}, {}))
    async with engine.begin() as connection:
        with pytest.raises(IntegrityError):
            await insert_plain(connection, requests, {**columns, "id": ["same", "same"]})
        await posting.post(connection, as_rows("a", {}))
    assert set(await recorded(engine)) == {"a0"}


def test_the_ledgers_three_lists_of_columns_are_one() -> None:
    """A journal's record, the table and the report: a column that one of them lacks is lost in silence."""
    table = {column.name for column in requests.columns}
    assert set(COLUMNS) == table
    assert {field.name for field in dataclasses.fields(Request)} == {*table, "savings"}
    assert set(insert(requests).compile().params) == table
