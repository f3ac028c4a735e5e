"""Budgets that every worker and every machine shares: what is spent and put aside stands in the database.

Putting aside is decided here; what was spent is written by the recorder, together with the request's row, and
gives the reservation back in the same transaction. So the two never count a request twice, nor not at all.

Requests that arrive at the same time are decided together: one transaction locks the rows of their accounts
(in the order of the primary key, as the recorder does), decides one after the other in Python and writes the
outcome. 200 callers at once are a transaction or two, whatever the number of their projects.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import bindparam, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleware._state import Account, Reservation
from middleware.policy.budget import Balance, Exceeded, Slot, check, limits
from middleware.stores.budgets import utc_now

from .engine import is_away
from .schema import budget_periods, reservations

#: Requests that one transaction decides about.
_BATCH = 500
#: Times that a transaction is tried which the database itself has given up (a deadlock, a busy file).
_ATTEMPTS = 3
#: Reservations to take back that are remembered while the database is away; the recorder finds the others.
_MAX_UNDO = 10_000
_SLOWEST_RETRY = 5.0
#: https://www.postgresql.org/docs/current/errcodes-appendix.html: serialization_failure, deadlock_detected
_GIVEN_UP = frozenset({"40001", "40P01"})

_KEY = (budget_periods.c.account, budget_periods.c.period, budget_periods.c.start)
# Made once: a statement costs more than its execution, and leaves cycles for the garbage collector.
_ADD = (
    update(budget_periods)
    .where(*(column == bindparam(f"slot_{column.name}") for column in _KEY))
    .values(reserved_nano=budget_periods.c.reserved_nano + bindparam("more"))
)
_LOCKED = (
    select(*_KEY, budget_periods.c.spent_nano, budget_periods.c.reserved_nano)
    .where(tuple_(*_KEY).in_(bindparam("slots", expanding=True)))
    .with_for_update()
)
_ROWS = {
    # "C": as Python sorts, whatever the database's language.
    "postgresql": _LOCKED.order_by(*(column.collate("C") for column in _KEY)),
    "sqlite": _LOCKED,
}
_NEW = {
    "postgresql": postgresql.insert(budget_periods).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(budget_periods).on_conflict_do_nothing(),
}
_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """Nothing could be put aside: the database did not answer. The message names the error's class only."""


@dataclass(slots=True, eq=False)
class _Ask:
    """A request that waits for its decision. ``patient_until`` is in the event loop's seconds."""

    id: str
    accounts: Sequence[Account]
    nano: int
    patient_until: float
    answer: asyncio.Future[Exceeded | None]


class SqlBudgets:
    """See :class:`middleware.budget.Budgets`; for one event loop.

    ``open_engine`` is called once, when the first request asks; who gives it closes the engine, after
    :meth:`close`. A row follows its answer by about 0.2 s, so a request for which only the reservations of
    others leave no room waits up to ``patience`` seconds, and looks each ``again`` seconds. No transaction
    takes longer than ``timeout``, and no answer longer than ``patience`` and two of them. Reservations whose
    requests never have a row (a worker is killed before it could journal one) the recorder gives back, when
    they are old.
    """

    def __init__(
        self,
        open_engine: Callable[[], AsyncEngine],
        *,
        patience: float = 2.0,
        again: float = 0.1,
        timeout: float = 3.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._open_engine = open_engine
        self._engine: AsyncEngine | None = None
        self._patience = patience
        self._again = again
        self._timeout = timeout
        self._clock = clock
        self._asks: list[_Ask] = []
        self._undo: deque[str] = deque(maxlen=_MAX_UNDO)
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def reserve(self, reservation_id: str, accounts: Sequence[Account], nano: int) -> Exceeded | None:
        """See :meth:`middleware.budget.Budgets.reserve`. Raises :class:`Unavailable` or ``TimeoutError``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        ask = _Ask(reservation_id, accounts, nano, until, loop.create_future())
        self._asks.append(ask)
        self._wake()
        try:
            async with asyncio.timeout(self._patience + 2 * self._timeout):
                return await ask.answer
        except (asyncio.CancelledError, TimeoutError):
            # Left in the instant in which it was answered: before that, the round takes it back.
            answer = ask.answer
            if not answer.cancelled() and answer.exception() is None and answer.result() is None:
                self._undo.append(ask.id)
                self._wake()
            raise

    async def settle(self, reservation: Reservation, cost_nano: int | None) -> None:
        """Nothing: the recorder settles, when it writes the row of the request."""

    async def close(self) -> None:
        """Stop, after the transaction that is under way. Who still waits is refused: :class:`Unavailable`."""
        self._closed = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._timeout)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._refuse(self._asks, "closed")

    def _wake(self) -> None:
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="budgets")

    async def _run(self) -> None:
        """Rounds, for as long as anybody waits or anything has to be taken back."""
        pause = self._again
        while (self._asks or self._undo) and not self._closed:
            self._news.clear()
            pause = self._again if await self._round() else min(2 * pause, _SLOWEST_RETRY)
            if (self._asks or self._undo) and not self._closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()

    async def _round(self) -> bool:
        """Answer whom the database lets answer. False: it did not."""
        waiting = [ask for ask in self._asks if not ask.answer.done()]
        asks, self._asks = waiting[:_BATCH], waiting[_BATCH:]
        if self._asks:
            self._news.set()
        try:
            verdicts = await self._persistently(asks)
        except asyncio.CancelledError:
            self._refuse(asks, "closed")
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers are told and the next round tries
            # Of an error that is no database's trouble, where it happened; never the values.
            _log.warning("nothing can be put aside: %s", type(error).__name__, exc_info=not is_away(error))
            self._refuse(asks, type(error).__name__)
            return False
        now = asyncio.get_running_loop().time()
        patient = []
        for ask, verdict in zip(asks, verdicts, strict=True):
            if ask.answer.done():  # cancelled
                if verdict is None:
                    self._undo.append(ask.id)
            elif verdict is not None and verdict.passing and now < ask.patient_until:
                patient.append(ask)
            else:
                ask.answer.set_result(verdict)
        # Whoever came first is asked first, as long as there is room for the others.
        self._asks = self._asks + patient if len(asks) == _BATCH else patient + self._asks
        return True

    @staticmethod
    def _refuse(asks: Iterable[_Ask], why: str) -> None:
        for ask in asks:
            if not ask.answer.done():
                ask.answer.set_exception(Unavailable(why))

    async def _persistently(self, asks: list[_Ask]) -> list[Exceeded | None]:
        """:meth:`_decide`, again when the database has given it up for a reason that passes."""
        for attempt in range(_ATTEMPTS):
            if self._undo:
                await self._release(undo := list(self._undo))
                for _ in undo:
                    self._undo.popleft()
            try:
                return await self._decide(asks)
            except DBAPIError as error:
                if attempt + 1 == _ATTEMPTS or not _passes(error):
                    raise
                # At once, we might take again what the other one waits for.
                await asyncio.sleep(self._again * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError("unreachable")

    async def _decide(self, asks: list[_Ask]) -> list[Exceeded | None]:
        now = self._clock()
        wanted = [limits(ask.accounts, now) for ask in asks]
        slots = sorted({slot for budgets in wanted for slot in budgets})
        if not slots:
            return [None] * len(asks)
        verdicts: list[Exceeded | None] = []
        granted: list[tuple[_Ask, str]] = []
        more = dict.fromkeys(slots, 0)
        try:
            async with self._transaction() as connection:
                balances = await _locked(connection, slots)
                for ask, budgets in zip(asks, wanted, strict=True):
                    verdict = check(budgets, balances, ask.nano)
                    verdicts.append(verdict)
                    if verdict is None and budgets:
                        granted.append((ask, orjson.dumps([[*slot] for slot in budgets]).decode()))
                        for slot in budgets:
                            spent, reserved = balances[slot]
                            balances[slot] = Balance(spent, reserved + ask.nano)
                            more[slot] += ask.nano
                if granted:
                    await _add(connection, more)
                    rows = [
                        {"id": ask.id, "at": now, "nano": ask.nano, "slots": held} for ask, held in granted
                    ]
                    await connection.execute(insert(reservations), rows)
        except BaseException:
            # Perhaps it was committed all the same.
            self._undo.extend(ask.id for ask, _ in granted)
            raise
        return verdicts

    async def _release(self, ids: list[str]) -> None:
        """Give back those that are still there."""
        freed: dict[Slot, int] = {}
        async with self._transaction() as connection:
            gone = delete(reservations).where(reservations.c.id.in_(ids))
            found = await connection.execute(gone.returning(reservations.c.nano, reservations.c.slots))
            for nano, slots in found.all():
                for slot in orjson.loads(slots):
                    freed[Slot(*slot)] = freed.get(Slot(*slot), 0) - nano
            if freed:
                await _add(connection, freed)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            self._engine = self._open_engine()
        # SQLite works in a thread, which cannot be cancelled: it bounds its own waiting.
        seconds = None if self._engine.dialect.name == "sqlite" else self._timeout
        async with asyncio.timeout(seconds), self._engine.begin() as connection:
            yield connection


async def _locked(connection: AsyncConnection, slots: list[Slot]) -> dict[Slot, Balance]:
    """What stands in the rows of ``slots`` (sorted), which nobody else changes until the transaction ends."""
    found = await _look(connection, slots)
    missing = [slot._asdict() for slot in slots if slot not in found]
    if missing:  # of a new day, or a new account
        await connection.execute(_NEW[connection.dialect.name], missing)
        found = await _look(connection, slots)
    return found


async def _look(connection: AsyncConnection, slots: list[Slot]) -> dict[Slot, Balance]:
    rows = await connection.execute(_ROWS[connection.dialect.name], {"slots": slots})
    return {Slot(*row[:3]): Balance(*row[3:]) for row in rows}


async def _add(connection: AsyncConnection, more: dict[Slot, int]) -> None:
    """Change what is put aside in each slot by so much; in the order in which everybody locks."""
    changes = [
        {"slot_account": slot.account, "slot_period": slot.period, "slot_start": slot.start, "more": nano}
        for slot, nano in sorted(more.items())
        if nano
    ]
    await connection.execute(_ADD, changes)


def _passes(error: DBAPIError) -> bool:
    """Whether it may succeed at once: others were in the way, or the connection was an old one."""
    state = getattr(error.orig, "sqlstate", None)
    busy = str(getattr(error.orig, "sqlite_errorname", ""))
    return state in _GIVEN_UP or busy.startswith("SQLITE_BUSY") or error.connection_invalidated
