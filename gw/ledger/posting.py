"""Posts rows to the ledger: each exactly once, with what it spent, in one transaction.

Whatever is posted a second time changes nothing, so a recorder that was killed, or that does not know whether
its last transaction was committed, posts it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Table, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..store.bulk import insert_plain
from ..store.engine import is_away
from ..store.schema import budget_periods, requests, reservations, savings
from .row import COLUMNS, Row

_Slot = tuple[str, str, str]


async def post(connection: AsyncConnection, rows: Sequence[Row]) -> int:
    """Write those of ``rows`` that are new, what they saved and spent, and give their reservations back.
    Returns how many were new; raises what SQLAlchemy and the drivers do, and ``ValueError`` for a time that
    is none."""
    rows = list(
        {row.id: row for row in reversed(rows)}.values()
    )  # the first of a name is the one that counts
    try:
        await insert_plain(connection, requests, columns_of(rows))
    except Exception as error:
        # One of them is there already, say, or has a text that no database takes as it is.
        if is_away(error):
            raise
        new = await _insert(connection, rows)
        rows = [row for row in rows if row.id in new]
    if not rows:
        return 0
    saved = [values for row in rows if row.savings for values in _savings(row)]
    if saved:
        await connection.execute(_new(connection, savings), saved)
    reserved: dict[str, int] = {}
    freed: dict[_Slot, int] = {}
    if names := [row.reservation for row in rows if row.reservation]:
        reserved, freed = await _release(connection, reservations.c.id.in_(names))
    await _add(connection, _spent(rows, reserved), freed)
    return len(rows)


async def release_older(connection: AsyncConnection, before: datetime, but: set[str]) -> int:
    """Give back reservations made ``before``, without those in ``but``: nobody will write their rows.
    Returns how many."""
    stale = reservations.c.at < before
    nano, freed = await _release(connection, stale & reservations.c.id.not_in(but) if but else stale)
    if freed:
        await _add(connection, {}, freed)
    return len(nano)


def columns_of(rows: list[Row]) -> dict[str, Sequence[Any]]:
    """The values of ``requests`` by the name of their column."""
    columns = dict[str, Sequence[Any]](zip(COLUMNS, zip(*rows, strict=True), strict=False))
    return {**columns, "at": [datetime.fromtimestamp(row.at, UTC) for row in rows]}


async def _insert(connection: AsyncConnection, rows: list[Row]) -> set[str]:
    """The ids of the rows that were not there before."""
    insert = _new(connection, requests).on_conflict_do_nothing().returning(requests.c.id)
    columns = columns_of(rows)
    values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return set((await connection.execute(insert, values)).scalars())


def _savings(row: Row) -> Iterable[dict[str, Any]]:
    layers: dict[str, tuple[int, int | None]] = {}
    for layer, tokens, nano in row.savings:
        more_tokens, more_nano = layers.get(layer, (0, 0))
        layers[layer] = (
            tokens + more_tokens,
            None if nano is None or more_nano is None else nano + more_nano,
        )
    for layer, (tokens, nano) in layers.items():
        yield {
            "request": row.id,
            "layer": layer,
            "at": datetime.fromtimestamp(row.at, UTC),
            "project": row.project,
            "key_id": row.key_id,
            "tokens": tokens,
            "saved_nano": nano,
        }


async def _release(
    connection: AsyncConnection, which: ColumnElement[bool]
) -> tuple[dict[str, int], dict[_Slot, int]]:
    """Delete reservations. Returns what each had put aside, by its id, and their sums by slot."""
    c = reservations.c
    gone = await connection.execute(delete(reservations).where(which).returning(c.id, c.nano, c.slots))
    nano: dict[str, int] = {}
    freed: dict[_Slot, int] = {}
    for reservation, amount, slots in gone:
        nano[reservation] = amount
        for account, period, start in orjson.loads(slots):
            slot = (account, period, start)
            freed[slot] = freed.get(slot, 0) + amount
    return nano, freed


def _spent(rows: Iterable[Row], reserved: dict[str, int]) -> dict[_Slot, int]:
    """What the rows cost by account and period. Unknown costs count as much as was put aside for them."""
    costs: dict[tuple[str, str, float], int] = {}
    for row in rows:
        cost = reserved.get(row.reservation, 0) if row.cost_nano is None else row.cost_nano
        account = (row.project, row.key_id, row.at // 86400)
        costs[account] = costs.get(account, 0) + cost
    spent: dict[_Slot, int] = {}
    for (project, key, number), cost in costs.items():
        day = _day(number)
        for account_name in (f"project:{project}", f"key:{key}"):
            for slot in ((account_name, "day", day), (account_name, "month", day[:7])):
                spent[slot] = spent.get(slot, 0) + cost
    return spent


@lru_cache
def _day(number: float) -> str:
    """The ``number``-th day after 1970-01-01."""
    return datetime.fromtimestamp(number * 86400, UTC).date().isoformat()


async def _add(connection: AsyncConnection, spent: dict[_Slot, int], freed: dict[_Slot, int]) -> None:
    """Add to what was spent, and take from what is put aside, in the order in which everybody locks."""
    insert = _new(connection, budget_periods)
    c = budget_periods.c
    upsert = insert.on_conflict_do_update(
        index_elements=[c.account, c.period, c.start],
        set_={
            "spent_nano": c.spent_nano + insert.excluded.spent_nano,
            "reserved_nano": c.reserved_nano + insert.excluded.reserved_nano,
        },
    )
    changes = [
        {
            "account": slot[0],
            "period": slot[1],
            "start": slot[2],
            "spent_nano": spent.get(slot, 0),
            "reserved_nano": -freed.get(slot, 0),
        }
        for slot in sorted(spent.keys() | freed.keys())
    ]
    await connection.execute(upsert, changes)


def _new(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Both know what to do about rows that are there already, and say it alike."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
