"""Budgets while the database is down, hangs, is locked or not there yet: refused, and nothing stays."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event, update
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.budgets import SqlBudgets, Unavailable
from gw.store.engine import open_engine
from gw.store.migrate import migrate
from gw.store.schema import budget_periods
from middleware._state import Account
from middleware.policy.budget import Balance

from ..databases import ledger_of
from ..services import Postgres, statement
from .test_budgets import DAY, KEY, MONTH, SHOP, Clock, balances, open_ids

pytestmark = pytest.mark.anyio
on_postgres = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def quick(engine: AsyncEngine) -> SqlBudgets:
    return SqlBudgets(lambda: engine, clock=Clock(), patience=0, timeout=0.3, again=0.01)


async def waiting(engine: AsyncEngine) -> int:
    """How many wait for a lock of somebody else's."""
    async with engine.connect() as connection:
        locks = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return int((await connection.exec_driver_sql(locks)).scalar_one())


async def admitted(budgets: SqlBudgets, accounts: list[Account], nano: int) -> None:
    """Ask until the database is there again."""
    async with asyncio.timeout(20):
        while True:
            with suppress(Unavailable, TimeoutError):
                assert await budgets.reserve("afterwards", accounts, nano) is None
                return
            await asyncio.sleep(0.05)


@on_postgres
async def test_a_database_that_hangs_costs_no_caller_more_than_the_time_out(
    engine: AsyncEngine, postgres_server: Postgres
) -> None:
    budgets = quick(engine)
    assert await budgets.reserve("before", [SHOP], 1) is None
    with postgres_server.frozen():
        began = time.monotonic()
        asks = [budgets.reserve(f"r{n}", [SHOP], 999) for n in range(20)]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(answer) for answer in answers} <= {Unavailable, TimeoutError}
        assert time.monotonic() - began < 10
    # What the server had still been told to reserve is given back.
    await admitted(budgets, [SHOP], 999)
    assert await open_ids(engine) == {"before", "afterwards"}
    assert await balances(engine) == {DAY: Balance(0, 1000), MONTH: Balance(0, 1000)}
    await budgets.close()


async def test_rows_that_somebody_else_holds_are_not_waited_for_without_end(
    engine: AsyncEngine, database: Ledger
) -> None:
    budgets = quick(engine)
    assert await budgets.reserve("before", [SHOP], 1) is None
    somebody = open_engine(database)
    async with somebody.begin() as connection:
        await connection.execute(update(budget_periods).values(spent_nano=budget_periods.c.spent_nano))
        with pytest.raises((Unavailable, TimeoutError)):
            await budgets.reserve("during", [SHOP], 999)
    await somebody.dispose()
    await admitted(budgets, [SHOP], 999)
    assert await open_ids(engine) == {"before", "afterwards"}
    assert await balances(engine) == {DAY: Balance(0, 1000), MONTH: Balance(0, 1000)}
    await budgets.close()


@on_postgres
async def test_a_deadlock_is_tried_again(engine: AsyncEngine) -> None:
    budgets = SqlBudgets(lambda: engine, clock=Clock(), patience=0)
    assert await budgets.reserve("before", [SHOP, KEY], 1) is None
    states: list[object] = []
    event.listen(
        engine.sync_engine,
        "handle_error",
        lambda context: states.append(getattr(context.original_exception, "sqlstate", None)),
    )
    async with engine.begin() as connection:
        # Against the order that everybody keeps to: the project first, and then the key, which is locked.
        account = budget_periods.c.account
        touch = update(budget_periods).values(spent_nano=budget_periods.c.spent_nano)
        await connection.execute(touch.where(account == SHOP.id))
        ours = asyncio.create_task(budgets.reserve("during", [SHOP, KEY], 1))
        while await waiting(engine) == 0:
            await asyncio.sleep(0.01)
        await connection.execute(touch.where(account == KEY.id))
    assert await ours is None
    assert set(states) == {"40P01"}
    assert await open_ids(engine) == {"before", "during"}
    await budgets.close()


@on_postgres
async def test_connections_that_the_server_has_closed_cost_nobody_an_answer(
    engine: AsyncEngine, postgres_server: Postgres
) -> None:
    budgets = SqlBudgets(lambda: engine, clock=Clock(), patience=0)
    assert await budgets.reserve("before", [SHOP], 1) is None
    async with engine.connect() as connection:
        name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
    await asyncio.to_thread(
        statement,
        postgres_server,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        database="postgres",
    )
    assert await budgets.reserve("after", [SHOP], 1) is None
    assert await open_ids(engine) == {"before", "after"}
    await budgets.close()


async def test_a_database_without_tables_refuses_and_admits_once_they_are_there(tmp_path: Path) -> None:
    engine = open_engine(ledger_of(tmp_path))
    budgets = quick(engine)
    with pytest.raises(Unavailable, match=r"^OperationalError$"):
        await budgets.reserve("before", [SHOP], 1)
    await migrate(engine)
    assert await budgets.reserve("after", [SHOP], 1000) is None
    await budgets.close()
    await engine.dispose()


async def test_a_database_that_cannot_be_opened_is_no_crash() -> None:
    def broken() -> AsyncEngine:
        raise OSError("canary")

    budgets = SqlBudgets(broken, patience=0)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"^OSError$"):
            await budgets.reserve("r", [SHOP], 1)
    await budgets.close()
