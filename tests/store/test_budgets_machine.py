"""Budgets under any order of reserving, recording, leaving and time passing, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.budgets import SqlBudgets
from gw.store.engine import open_engine
from gw.store.schema import budget_periods, reservations
from middleware._state import Account
from middleware.policy.budget import Balance, Slot, limits

from .test_budgets import balances, open_ids, record

ACCOUNTS = st.lists(st.sampled_from(["project:a", "project:b", "key:a", "key:b"]), unique=True, max_size=3)
LIMIT = st.none() | st.integers(0, 120)
NANO = st.integers(1, 60)


class Shop(RuleBasedStateMachine):
    """Two workers on one database, and beside them what ought to stand in it."""

    runner: asyncio.Runner
    engine: AsyncEngine

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 30, 22, tzinfo=UTC)
        self.limits: dict[str, tuple[int | None, int | None]] = {}
        self.spent: dict[Slot, int] = {}
        self.open: dict[str, tuple[datetime, list[str], dict[Slot, int]]] = {}
        self.number = 0
        self.workers = [self._run(self._worker()) for _ in range(2)]
        self._run(self._empty())

    def _run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _worker(self) -> SqlBudgets:
        return SqlBudgets(lambda: self.engine, clock=lambda: self.now, patience=0, again=0.001)

    async def _empty(self) -> None:
        async with self.engine.begin() as connection:
            for table in (budget_periods, reservations):
                await connection.execute(delete(table))

    @rule(account=st.sampled_from(["project:a", "project:b", "key:a", "key:b"]), daily=LIMIT, monthly=LIMIT)
    def change_budget(self, account: str, daily: int | None, monthly: int | None) -> None:
        self.limits[account] = daily, monthly

    @rule(seconds=st.sampled_from([1, 3600, 3 * 3600, 86_400]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(asks=st.lists(st.tuples(ACCOUNTS, NANO, st.booleans()), min_size=1, max_size=8))
    def reserve(self, asks: list[tuple[list[str], int, bool]]) -> None:
        """All at once, by both workers; some callers leave again."""
        self._run(self._reserve(asks))

    async def _reserve(self, asks: list[tuple[list[str], int, bool]]) -> None:
        tasks = []
        before = await balances(self.engine)
        for names, nano, leaves in asks:
            self.number += 1
            accounts = [self._account(name) for name in names]
            worker = self.workers[self.number % 2]
            task = asyncio.create_task(worker.reserve(f"r{self.number}", accounts, nano))
            tasks.append((f"r{self.number}", names, limits(accounts, self.now), nano, leaves, task))
        await asyncio.sleep(0)
        for *_, leaves, task in tasks:
            if leaves:
                task.cancel()
        for name, names, budgets, nano, _, task in tasks:
            try:
                exceeded = await task
            except asyncio.CancelledError:
                continue
            if exceeded is None:
                self.open[name] = self.now, names, dict.fromkeys(budgets, nano)
                continue
            # Refused for a reason: it is over what stood there plus what was granted meanwhile.
            slot = exceeded.slot
            assert budgets[slot] == exceeded.limit < sum(exceeded.balance) + nano
            assert before.get(slot, Balance()).spent == exceeded.balance.spent
        async with asyncio.timeout(5):
            while await open_ids(self.engine) - set(self.open):  # of those who left
                await asyncio.sleep(0.001)
        for slot, balance in (await balances(self.engine)).items():
            # Whatever was granted now fits into the budget as it is now.
            if balance.reserved > before.get(slot, Balance()).reserved:
                limit = limits([self._account(slot.account)], self.now)[slot]
                assert balance.spent + balance.reserved <= limit

    @rule(data=st.data(), share=st.sampled_from([0, 0.4, 1]))
    def finish(self, data: st.DataObject, share: float) -> None:
        """The recorder writes the row of a request, whatever the time is by now."""
        if not self.open:
            return
        name = data.draw(st.sampled_from(sorted(self.open)))
        at, names, held = self.open.pop(name)
        cost = int(share * max(held.values(), default=0))
        spent = dict.fromkeys(limits([Account(n, daily_budget=0, monthly_budget=0) for n in names], at), cost)
        self._run(record(self.engine, name, spent))
        for slot, nano in spent.items():
            self.spent[slot] = self.spent.get(slot, 0) + nano

    @invariant()
    def the_sums_agree(self) -> None:
        reserved: dict[Slot, int] = {}
        for *_, held in self.open.values():
            for slot, nano in held.items():
                reserved[slot] = reserved.get(slot, 0) + nano
        expected = {
            slot: Balance(self.spent.get(slot, 0), reserved.get(slot, 0)) for slot in {*self.spent, *reserved}
        }
        found = self._run(balances(self.engine))
        assert found == {slot: balance for slot, balance in expected.items() if balance != (0, 0)}
        assert self._run(open_ids(self.engine)) <= set(self.open)

    def teardown(self) -> None:
        for worker in self.workers:
            self._run(worker.close())

    def _account(self, name: str) -> Account:
        daily, monthly = self.limits.get(name, (100, 300))
        return Account(name, daily_budget=daily, monthly_budget=monthly)


def test_the_sums_always_agree_and_nothing_is_granted_above_a_limit(database: Ledger) -> None:
    engine = open_engine(database)
    with asyncio.Runner() as runner:
        machine = type("Machine", (Shop,), {"runner": runner, "engine": engine})
        examples = settings(max_examples=max(settings().max_examples // 8, 1), stateful_step_count=20)
        try:
            run_state_machine_as_test(machine, settings=examples)
        finally:
            runner.run(engine.dispose())
