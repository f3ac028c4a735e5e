"""Budgets in the database: however many ask at once, nobody is granted what is not there."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.store.budgets import SqlBudgets, Unavailable
from gw.store.schema import budget_periods, reservations
from middleware._state import Account, Reservation
from middleware.policy.budget import Balance, Exceeded, Slot

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHOP = Account("project:shop", daily_budget=1000, monthly_budget=5000)
KEY = Account("key:k1", daily_budget=600)
DAY = Slot("project:shop", "day", "2026-11-23")
MONTH = Slot("project:shop", "month", "2026-11")
KEY_DAY = Slot("key:k1", "day", "2026-11-23")


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def budgets(engine: AsyncEngine, clock: Clock, anyio_backend: str) -> AsyncIterator[SqlBudgets]:
    opened = SqlBudgets(lambda: engine, clock=clock, patience=0, again=0.01)
    yield opened
    await opened.close()


async def balances(engine: AsyncEngine) -> dict[Slot, Balance]:
    """Every row that is not all zeros."""
    async with engine.begin() as connection:
        rows = (await connection.execute(select(budget_periods))).all()
    found = {Slot(*row[:3]): Balance(*row[3:]) for row in rows}
    return {slot: balance for slot, balance in found.items() if balance != (0, 0)}


async def open_ids(engine: AsyncEngine) -> set[str]:
    async with engine.begin() as connection:
        return set((await connection.execute(select(reservations.c.id))).scalars())


async def record(engine: AsyncEngine, reservation_id: str, spent: dict[Slot, int]) -> None:
    """What the recorder does in the transaction that writes a row."""
    async with engine.begin() as connection:
        gone = delete(reservations).where(reservations.c.id == reservation_id).returning(reservations)
        changes = {slot: (nano, 0) for slot, nano in spent.items()}
        for row in (await connection.execute(gone)).all():
            for slot in (Slot(*s) for s in orjson.loads(row.slots)):
                changes[slot] = (changes.get(slot, (0, 0))[0], row.nano)
        for slot, (nano, freed) in sorted(changes.items()):
            c = budget_periods.c
            done = await connection.execute(
                update(budget_periods)
                .where(c.account == slot.account, c.period == slot.period, c.start == slot.start)
                .values(spent_nano=c.spent_nano + nano, reserved_nano=c.reserved_nano - freed)
            )
            if done.rowcount == 0:
                new = {**slot._asdict(), "spent_nano": nano}
                await connection.execute(insert(budget_periods).values(new))


async def test_what_is_reserved_stands_in_every_budget_of_every_account(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    assert await budgets.reserve("r1", [SHOP, KEY], 400) is None
    assert await balances(engine) == dict.fromkeys((DAY, MONTH, KEY_DAY), Balance(0, 400))
    exceeded = await budgets.reserve("r2", [SHOP, KEY], 400)
    assert exceeded == Exceeded(KEY_DAY, 600, Balance(0, 400), 400, datetime(2026, 11, 24, tzinfo=UTC))
    assert await budgets.reserve("r3", [SHOP], 600) is None  # another key of the project
    assert await open_ids(engine) == {"r1", "r3"}
    await record(engine, "r1", {DAY: 50, MONTH: 50, KEY_DAY: 50})
    assert await balances(engine) == {
        DAY: Balance(50, 600),
        MONTH: Balance(50, 600),
        KEY_DAY: Balance(50, 0),
    }
    await budgets.settle(Reservation("r3", 600), 7)
    assert await open_ids(engine) == {"r3"}, "that is the recorder's business"


async def test_what_a_later_caller_leaves_no_room_for_is_refused_though_less_passes(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    await record(engine, "", {DAY: 900})
    exceeded = await budgets.reserve("large", [SHOP], 101)
    assert exceeded is not None
    assert not exceeded.passing
    assert await budgets.reserve("small", [SHOP], 100) is None


async def test_callers_at_once_share_a_few_transactions_and_are_granted_exactly_what_fits(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    commits: list[object] = []
    event.listen(engine.sync_engine, "commit", commits.append)
    wide = Account("project:shop", daily_budget=37 * 10, monthly_budget=10**9)
    verdicts = await asyncio.gather(*(budgets.reserve(f"r{n}", [wide], 10) for n in range(200)))
    assert [verdict is None for verdict in verdicts] == [True] * 37 + [False] * 163
    assert len(commits) <= 3
    assert await balances(engine) == {DAY: Balance(0, 370), MONTH: Balance(0, 370)}
    assert await open_ids(engine) == {f"r{n}" for n in range(37)}


async def test_workers_that_ask_at_once_never_grant_more_than_there_is(
    engine: AsyncEngine, clock: Clock
) -> None:
    workers = [SqlBudgets(lambda: engine, clock=clock, patience=0) for _ in range(4)]
    projects = [Account(f"project:p{n}", daily_budget=100, monthly_budget=150) for n in range(5)]
    keys = [Account(f"key:k{n}", daily_budget=70) for n in range(5)]
    asks = [
        # In all kinds of orders, so that rows locked as they come would be a deadlock.
        workers[n % 4].reserve(f"r{n}", [projects[n % 5], keys[n % 3]][:: 1 if n % 2 else -1], 10)
        for n in range(400)
    ]
    verdicts = await asyncio.gather(*asks)
    granted = [n for n, verdict in enumerate(verdicts) if verdict is None]
    assert await open_ids(engine) == {f"r{n}" for n in granted}
    found = await balances(engine)
    for slot, balance in found.items():
        mine = [n for n in granted if slot.account in (projects[n % 5].id, keys[n % 3].id)]
        assert balance == Balance(0, 10 * len(mine))
    # All that the three keys have, and nothing above it.
    assert sorted(b.reserved for s, b in found.items() if s.account.startswith("key:")) == [70] * 3
    for worker in workers:
        await worker.close()


async def test_a_request_waits_for_others_to_be_recorded_before_it_is_refused(
    engine: AsyncEngine, clock: Clock
) -> None:
    budgets = SqlBudgets(lambda: engine, clock=clock, patience=10, again=0.01)
    assert await budgets.reserve("first", [SHOP], 900) is None
    second = asyncio.create_task(budgets.reserve("second", [SHOP], 900))
    # The budget is put aside, not spent, so `second` waits; `third` fits and is not held up by it.
    assert await budgets.reserve("third", [SHOP], 100) is None
    await record(engine, "third", {})
    assert not second.done()
    await record(engine, "first", {DAY: 50, MONTH: 50})
    assert await second is None
    assert await balances(engine) == {DAY: Balance(50, 900), MONTH: Balance(50, 900)}
    # Nothing can make room for this one: no waiting.
    async with asyncio.timeout(5):
        assert await budgets.reserve("fourth", [SHOP], 951) is not None
    await budgets.close()


async def test_a_wait_that_was_in_vain_ends_in_a_refusal_that_says_so(
    engine: AsyncEngine, clock: Clock
) -> None:
    budgets = SqlBudgets(lambda: engine, clock=clock, patience=0.05, again=0.01)
    assert await budgets.reserve("first", [SHOP], 900) is None
    exceeded = await budgets.reserve("second", [SHOP], 900)
    assert exceeded is not None
    assert exceeded.passing
    assert exceeded.balance == Balance(0, 900)
    assert await open_ids(engine) == {"first"}
    await budgets.close()


async def test_of_a_caller_that_leaves_nothing_stays_reserved(engine: AsyncEngine, clock: Clock) -> None:
    budgets = SqlBudgets(lambda: engine, clock=clock, patience=0)
    # After each number of steps of the event loop once: before, while and after the database is asked.
    for steps in range(60):
        task = asyncio.create_task(budgets.reserve(f"r{steps}", [SHOP], 10))
        for _ in range(steps):
            await asyncio.sleep(0.0002 if steps % 3 == 0 else 0)
        if not task.cancel():
            assert task.result() is None
            await record(engine, f"r{steps}", {})
            continue
        try:
            assert await task is None
        except asyncio.CancelledError:
            continue
        await record(engine, f"r{steps}", {})
    async with asyncio.timeout(10):
        while await open_ids(engine):
            await asyncio.sleep(0.01)
    assert await balances(engine) == {}
    await budgets.close()


async def test_days_and_months_are_utcs_and_what_was_reserved_before_midnight_belongs_to_yesterday(
    budgets: SqlBudgets, engine: AsyncEngine, clock: Clock
) -> None:
    clock.now = datetime(2026, 11, 30, 23, 59, 59, 900_000, tzinfo=UTC)
    assert await budgets.reserve("late", [SHOP], 1000) is None
    assert await budgets.reserve("too late", [SHOP], 1) is not None
    clock.now += timedelta(seconds=0.2)
    assert await budgets.reserve("early", [SHOP], 800) is None
    november, december = Slot("project:shop", "month", "2026-11"), Slot("project:shop", "month", "2026-12")
    last, first = Slot("project:shop", "day", "2026-11-30"), Slot("project:shop", "day", "2026-12-01")
    # It is recorded after midnight, with the time at which it came.
    await record(engine, "late", {last: 400, november: 400})
    assert await balances(engine) == {
        last: Balance(400, 0),
        november: Balance(400, 0),
        first: Balance(0, 800),
        december: Balance(0, 800),
    }


async def test_a_budget_that_is_made_smaller_refuses_at_once_and_a_larger_one_admits(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    assert await budgets.reserve("r1", [SHOP], 500) is None
    await record(engine, "r1", {DAY: 500, MONTH: 500})
    smaller = Account("project:shop", daily_budget=400)
    exceeded = await budgets.reserve("r2", [smaller], 1)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.balance, exceeded.passing) == (400, Balance(500, 0), False)
    assert await budgets.reserve("r3", [Account("project:shop", daily_budget=501)], 1) is None


class Hindered:
    """Makes an engine's transactions fail in front of, or behind, their commit."""

    def __init__(self, engine: AsyncEngine, *, committed: bool, times: int, error: BaseException) -> None:
        self.left = times
        self._error = error
        target: Any = engine.sync_engine
        if committed:
            original = target.dialect.do_commit

            def commit(connection: Any) -> None:
                original(connection)
                self._fail()

            target.dialect.do_commit = commit
        else:
            event.listen(target, "commit", lambda _: self._fail())

    def _fail(self) -> None:
        if self.left > 0:
            self.left -= 1
            raise self._error


@pytest.mark.parametrize("committed", [False, True])
async def test_after_an_error_around_a_commit_nothing_stays_reserved(
    engine: AsyncEngine, budgets: SqlBudgets, committed: bool
) -> None:
    assert await budgets.reserve("before", [SHOP], 1) is None
    Hindered(engine, committed=committed, times=1, error=ConnectionResetError("canary"))
    with pytest.raises(Unavailable, match=r"^ConnectionResetError$"):
        await budgets.reserve("r1", [SHOP], 999)
    assert await budgets.reserve("r2", [SHOP], 999) is None
    assert await open_ids(engine) == {"before", "r2"}
    assert await balances(engine) == {DAY: Balance(0, 1000), MONTH: Balance(0, 1000)}


async def test_whoever_waits_is_told_when_the_gateway_stops(engine: AsyncEngine, clock: Clock) -> None:
    budgets = SqlBudgets(lambda: engine, clock=clock, patience=60)
    assert await budgets.reserve("first", [SHOP], 1000) is None
    waiting = asyncio.create_task(budgets.reserve("second", [SHOP], 1000))
    await asyncio.sleep(0.05)
    await budgets.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_callers_without_budgets_are_granted_without_a_row(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    accounts: Sequence[Account] = [Account("project:free")]
    assert await budgets.reserve("r", accounts, 10) is None
    assert await open_ids(engine) == set()


async def test_a_reservation_leaves_nothing_to_the_garbage_collector(
    budgets: SqlBudgets, engine: AsyncEngine
) -> None:
    wide = Account("project:shop", daily_budget=10**9)
    assert await budgets.reserve("first", [wide], 1) is None
    await asyncio.sleep(0.05)
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            assert await budgets.reserve(f"r{number}", [wide], 1) is None
        await asyncio.sleep(0.05)
        assert gc.collect() < 20
    finally:
        gc.enable()
