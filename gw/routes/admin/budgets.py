"""What is left of the budgets of projects and keys. Imports SQLAlchemy: import it late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from ...projects.types import dollars, iso
from ...store.engine import reading
from ...store.schema import budget_periods, keys, projects

_TABLES = {"project": projects, "key": keys}


async def balances(
    engine: AsyncEngine, kind: str, ids: Sequence[str], now: datetime
) -> dict[str, list[dict[str, Any]]]:
    """The budgets of those of ``ids`` (of ``kind`` ``project`` or ``key``) that have one, by id, as rows of
    :data:`~.rows.BUDGET`: those of the day and month of ``now``, in UTC."""
    table = _TABLES[kind]
    periods = (
        ("day", now.strftime("%Y-%m-%d"), _tomorrow(now), "daily_budget_nano"),
        ("month", now.strftime("%Y-%m"), _next_month(now), "monthly_budget_nano"),
    )
    wanted = select(table.c.id, table.c.daily_budget_nano, table.c.monthly_budget_nano)
    slots = [(f"{kind}:{one}", period, start) for one in ids for period, start, _, _ in periods]
    p = budget_periods.c
    taken = select(p.account, p.period, p.spent_nano, p.reserved_nano)
    async with reading(engine) as connection:
        limits = (await connection.execute(wanted.where(table.c.id.in_(ids)))).mappings().all()
        rows = await connection.execute(taken.where(tuple_(p.account, p.period, p.start).in_(slots)))
        spent = {(account, period): (nano, put) for account, period, nano, put in rows}
    found: dict[str, list[dict[str, Any]]] = {}
    for limit in limits:
        account = f"{kind}:{limit['id']}"
        for period, _, ends, column in periods:
            if (budget := limit[column]) is None:
                continue
            used, reserved = spent.get((account, period), (0, 0))
            found.setdefault(limit["id"], []).append(
                {
                    "account": account,
                    "period": period,
                    "budget_usd": dollars(budget),
                    "spent_usd": dollars(used),
                    "reserved_usd": dollars(reserved),
                    "left_usd": dollars(max(0, budget - used - reserved)),
                    "begins_anew": iso(ends),
                }
            )
    return found


def _tomorrow(now: datetime) -> datetime:
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
