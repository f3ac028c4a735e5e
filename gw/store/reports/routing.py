"""How routing decisions turned out: written by the layers that route, read by those who judge them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import ColumnElement, RowMapping, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ..schema import routing_outcomes as outcomes
from ._query import LIMIT, a_text, after, conditions, cursor_of, limited, read_cursor, report, text_of
from .listings import newest_first
from .types import BadQuery, Filters, Money, Outcome, Page, Routed, Spread

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_EVERYTHING = Filters()


async def add_outcomes(connection: AsyncConnection, added: Iterable[Outcome]) -> int:
    """Write ``added`` in the caller's transaction; those that are there already stay as they are. Returns how
    many were new."""
    rows = [
        {
            **asdict(outcome),
            "checks": orjson.dumps(dict(outcome.checks)).decode(),
            "signals": orjson.dumps(dict(outcome.signals)).decode(),
        }
        for outcome in added
    ]
    if not rows:
        return 0
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(outcomes).on_conflict_do_nothing().returning(outcomes.c.id)
    return len((await connection.execute(statement, rows)).all())


async def list_outcomes(
    engine: AsyncEngine, filters: Filters = _EVERYTHING, *, cursor: str | None = None, limit: int = LIMIT
) -> Page[Outcome]:
    """Routing decisions, newest first, filtered by time, project and (chosen) model. Raises as
    :func:`gw.store.reports.usage`."""
    async with report(engine) as connection:
        rows, following = await newest_first(connection, outcomes, _wanted(filters), cursor, limit, a_text)
    return Page(tuple(_outcome(row) for row in rows), following)


async def routing(
    engine: AsyncEngine, filters: Filters = _EVERYTHING, *, cursor: str | None = None, limit: int = LIMIT
) -> Page[Routed]:
    """Routing decisions by candidate, choice and reason, in that order. Filters and errors are those of
    :func:`list_outcomes`."""
    async with report(engine) as connection:
        dialect = connection.dialect.name
        alike = tuple(
            text_of(outcomes.c[name], dialect).label(name)
            for name in ("candidate_model", "chosen_model", "reason")
        )
        chosen = (
            select(*alike, outcomes.c.escalated, outcomes.c.cost_nano, outcomes.c.latency_ms)
            .where(*_wanted(filters))
            .subquery()
        )
        keys = (chosen.c.candidate_model, chosen.c.chosen_model, chosen.c.reason)
        query = (
            select(
                *keys,
                func.count().label("decisions"),
                func.sum(case((chosen.c.escalated, 1), else_=0)).label("escalated"),
                func.count(chosen.c.cost_nano).label("known"),
                func.sum(chosen.c.cost_nano).label("cost_nano"),
                func.avg(chosen.c.latency_ms).label("latency_ms"),
            )
            .group_by(*keys)
            .order_by(*keys)
        )
        if cursor is not None:
            query = query.where(after(keys, read_cursor(cursor, a_text, a_text, a_text)))
        found = (await connection.execute(query.limit(limited(limit) + 1))).mappings().all()
    page = tuple(_routed(row) for row in found[:limit])
    last = page[-1] if len(found) > limit else None
    return Page(
        page, None if last is None else cursor_of(last.candidate_model, last.chosen_model, last.reason)
    )


def _wanted(filters: Filters) -> list[ColumnElement[bool]]:
    if filters.key is not None or filters.provider is not None:
        raise BadQuery("routing decisions are filtered by time, project and model alone")
    found = conditions(outcomes, Filters(filters.since, filters.until, filters.project))
    return found if filters.model is None else [*found, outcomes.c.chosen_model == filters.model]


def _outcome(row: RowMapping) -> Outcome:
    return Outcome(**{**row, "checks": orjson.loads(row["checks"]), "signals": orjson.loads(row["signals"])})


def _routed(row: RowMapping) -> Routed:
    return Routed(
        candidate_model=row["candidate_model"],
        chosen_model=row["chosen_model"],
        reason=row["reason"],
        decisions=row["decisions"],
        escalated=int(row["escalated"]),
        cost=Money.over(row["decisions"], row["known"], row["cost_nano"]),
        latency=Spread(row["latency_ms"]),
    )
