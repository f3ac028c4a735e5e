"""The soak itself: traffic at an even pace, while the database goes away twice and a worker is killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .client import Outcome, play
from .compare import Findings, compare
from .rows import read_database
from .stage import Stage, stage, wait_for
from .traffic import Ask, asks

#: Requests under way at a time, at most.
_AT_ONCE = 64
#: When what happens, as parts of the traffic. (Outages last as long as they are told to.)
_FIRST_OUTAGE, _KILL, _SECOND_OUTAGE = 0.12, 0.50, 0.58
#: The traffic takes so many times as long as one outage: two of them, and time to recover.
_STRETCH = 4.0
#: Seconds for the recorder to catch up behind the last request.
_CATCH_UP = 120.0

Say = Callable[[str], None]


@dataclass(slots=True, frozen=True)
class Plan:
    """``outage``: seconds that the database is away, twice. ``kind``: postgresql or sqlite."""

    kind: str
    requests: int
    outage: float
    seed: int = 1
    projects: int = 2

    @property
    def seconds(self) -> float:
        return _STRETCH * self.outage


@dataclass(slots=True)
class Report:
    """What has come out. ``events``: what was done to the gateway, and when."""

    plan: Plan
    findings: Findings
    seconds: float
    statuses: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)


async def run(plan: Plan, folder: Path, say: Say) -> Report:
    """Play ``plan`` with its files in ``folder``. Raises ``RuntimeError`` and ``TimeoutError`` for what does
    not start, or does not end."""
    with stage(plan.kind, folder, plan.projects) as here:
        return await _Soak(plan, here, say).play()


class _Soak:
    def __init__(self, plan: Plan, here: Stage, say: Say) -> None:
        self._plan = plan
        self._stage = here
        self._say = say
        self._asked: list[tuple[Ask, Outcome]] = []
        self._events: list[str] = []
        self._began = time.monotonic()

    async def play(self) -> Report:
        plan, here = self._plan, self._stage
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as under_way:
            troubles = asyncio.create_task(self._troubles())
            await self._traffic(under_way)
            await troubles
            took = time.monotonic() - self._began
            self._note(f"SIGTERM, with {plan.requests - len(self._asked)} requests under way")
            code = await asyncio.to_thread(here.stop_gateway)
            if code != 0:
                raise RuntimeError(f"the gateway ended with {code}")
            self._note("stopped")
        # Once more, as after a deployment: what the last pass of the recorder left is written by the next.
        since = time.time()
        await asyncio.to_thread(here.start_gateway)
        self._note("started again")
        await asyncio.to_thread(wait_for, lambda: here.recorded(since), _CATCH_UP, "the end of the backlog")
        self._note("nothing is left in the spool")
        await asyncio.to_thread(here.stop_gateway)
        rows, spent = await read_database(here.database.address)
        found = compare(self._asked, rows, here.bill(), projects=here.projects, spent=spent)
        statuses = Counter(f"{outcome.status or 'none'} {outcome.ended}" for _, outcome in self._asked)
        return Report(plan, found, took, statuses, self._events)

    async def _traffic(self, under_way: asyncio.TaskGroup) -> None:
        plan, here = self._plan, self._stage
        room = asyncio.Semaphore(_AT_ONCE)
        pace = plan.seconds / plan.requests
        shown = self._began
        for ask in asks(plan.requests, seed=plan.seed, keys=len(here.keys)):
            await asyncio.sleep(max(self._began + ask.number * pace - time.monotonic(), 0))
            await room.acquire()
            under_way.create_task(self._one(ask, room))
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                self._say(f"{ask.number} of {plan.requests} asked, {len(self._asked)} over")

    async def _one(self, ask: Ask, room: asyncio.Semaphore) -> None:
        try:
            outcome = await play(self._stage.port, self._stage.keys[ask.key], ask)
        finally:
            room.release()
        self._asked.append((ask, outcome))

    async def _troubles(self) -> None:
        (first, second), plan = self._stage.database.outages, self._plan
        await self._outage(first, _FIRST_OUTAGE)
        await self._until(_KILL)
        worker = self._stage.kill_worker()
        self._note(f"worker {worker} killed")
        await self._outage(second, _SECOND_OUTAGE)
        await self._until(min(_SECOND_OUTAGE + plan.outage / plan.seconds, 1.0))

    async def _outage(self, name: str, part: float) -> None:
        await self._until(part)
        outage = self._stage.database.outages[name]()
        await asyncio.to_thread(outage.__enter__)
        self._note(f"database {name} for {self._plan.outage:g} s")
        try:
            await asyncio.sleep(self._plan.outage)
        finally:
            await asyncio.to_thread(outage.__exit__, None, None, None)
            self._note("database back")

    async def _until(self, part: float) -> None:
        await asyncio.sleep(max(self._began + part * self._plan.seconds - time.monotonic(), 0))

    def _note(self, what: str) -> None:
        line = f"{time.monotonic() - self._began:6.1f} s  {what}"
        self._events.append(line)
        self._say(line)
