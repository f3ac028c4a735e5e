"""Brings the journals of all workers of this machine into the database: every row, once.

There is one recorder for a spool (see ``process.py``). It may be killed at any time: what it had read and not
committed is read again, and what it had committed is not counted again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ..store.engine import error_name
from .rejects import Rejects
from .row import Asked, Row, encode, killed
from .spool import boots, remove_unborn
from .status import Status, read_status, write_status
from .tail import Pending, Tail

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger("gateway")

#: Rows that one transaction writes.
BATCH = 1000
#: Seconds between two looks at the journals: so long may a row take to be seen.
INTERVAL = 0.15
#: Seconds that a transaction may take, and the longest pause after one that failed.
TRANSACTION_SECONDS = 15.0
LONGEST_PAUSE = 5.0
#: Seconds for the last pass, when the gateway stops; what is left then stays in the spool.
LAST_PASS_SECONDS = 5.0
STATUS_EVERY = 2.0
#: Seconds after which money is given back that was put aside for a request without a row, and between two
#: looks for such.
STALE_AFTER = 3600.0
SWEEP_EVERY = 600.0
#: Errors of the gateway's own, whose messages say what to do and carry no secret.
_OUR_OWN = frozenset({"MigrationError", "DataDirError"})


class Recorder:
    """Whoever runs one holds the spool's lock.

    ``open_engine`` is called when there is something to record, since SQLAlchemy takes 40 MB and half a
    second to load; the engine is disposed of when :meth:`run` ends. ``migrate`` brings a database to the
    schema before it is written; ``eager``: at once, and not only when there is something to write.
    """

    def __init__(
        self,
        open_engine: Callable[[], AsyncEngine],
        spool: Path,
        *,
        migrate: Callable[[AsyncEngine], Awaitable[object]] | None = None,
        eager: bool = False,
        batch: int = BATCH,
        interval: float = INTERVAL,
        timeout: float = TRANSACTION_SECONDS,
    ) -> None:
        self.status = read_status(spool) or Status()
        self._open_engine = open_engine
        self._spool = spool
        self._migrate = migrate
        self._eager = eager
        self._batch = batch
        self._interval = interval
        self._timeout = timeout
        self._engine: AsyncEngine | None = None
        self._tails: dict[Path, Tail] = {}
        self._turn = 0
        self._pending: deque[tuple[Tail, Pending]] = deque()
        #: Rows of the next transaction: fewer after one that took too long.
        self._size = batch
        self._rejects = Rejects(spool)
        #: There is more in the journals than has been written: the last look did not come to their ends.
        self.behind = True
        self._failures = 0
        self._sweep_at = time.monotonic() + SWEEP_EVERY
        self._status_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Record until ``stop`` is set, and then what is left, for a few seconds at most. Raises nothing: a
        database or a disk that is away is tried again."""
        work = asyncio.create_task(self._work(stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({work}, timeout=LAST_PASS_SECONDS)
        finally:
            work.cancel()
            stopped.cancel()
            await asyncio.wait({work, stopped}, timeout=LAST_PASS_SECONDS)
            self._write_status()
            await self.close()

    async def close(self) -> None:
        """Close the database, as :meth:`run` does at its end."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await engine.dispose()

    async def prepare(self) -> None:
        """Open the database and migrate it, if that has not been done. Raises what keeps it from that."""
        if self._engine is not None:
            return
        # In a thread, since other work may be waiting for this event loop.
        await asyncio.to_thread(_load)
        engine = self._open_engine()
        try:
            if self._migrate is not None:
                await self._migrate(engine)
        except BaseException:
            await engine.dispose()
            raise
        self._engine = engine

    async def record_once(self) -> int:
        """Write one transaction of what the journals hold. Returns how many rows were new; raises what keeps
        it from writing, and writes the same again the next time."""
        unreadable = self._read()
        new = 0
        if self._pending or self._eager:
            await self.prepare()
        if self._pending:
            before = self.status.rows_total
            batch = [self._pending[at] for at in range(min(self._size, len(self._pending)))]
            try:
                await self._post([pending.row for _, pending in batch])
            except TimeoutError:
                self._size = max(1, self._size // 4)
                raise
            self._size = min(self._batch, self._size * 2)
            for tail, pending in batch:
                self._pending.popleft()
                tail.settled(pending)
            self.behind = self.behind or bool(self._pending)
            new = self.status.rows_total - before
        elif self._engine is not None and time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
            await self._sweep(self._engine)
        self._clean()
        if unreadable is not None:
            raise unreadable
        return new

    async def _work(self, stop: asyncio.Event) -> None:
        with suppress(OSError):
            remove_unborn(self._spool)
        while not stop.is_set():
            await self._attempt()
            pause = min(self._interval * 2**self._failures, LONGEST_PAUSE)
            if self._failures or not self.behind:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
        await self._attempt()  # what came after the last look
        while self.behind or (self._failures and self._pending):
            await asyncio.sleep(self._interval if self._failures else 0.0)
            await self._attempt()

    async def _attempt(self) -> None:
        try:
            await self.record_once()
        except Exception as error:  # noqa: BLE001 - whatever it is, giving up would lose rows
            name = error_name(error)
            if self.status.error is None:
                # Messages of drivers may carry the address, and what they were asked to write.
                said = f"{name}: {error}" if name in _OUR_OWN else name
                logger.warning("usage rows wait in the spool, the database does not take them (%s)", said)
            self._failures += 1
            changed = self.status.error != name
            self.status.error = name
        else:
            changed = self.status.error is not None
            if changed:
                logger.warning("usage rows are recorded again")
            self._failures = 0
            self.status.error = None
        if changed or time.monotonic() >= self._status_at:
            self._write_status()

    def _read(self) -> OSError | None:
        """Fill up what is pending. Returns what kept a journal from being read. Raises ``OSError``."""
        unreadable = None
        for boot in boots(self._spool):
            if boot not in self._tails:
                self._tails[boot] = Tail(boot, self._damaged)
        tails = list(self._tails.values())
        # Each has its turn to be the first, or a busy worker would keep the others from being read.
        self._turn += 1
        for at in range(len(tails)):
            tail = tails[(at + self._turn) % len(tails)]
            try:
                found = tail.read(self._batch - len(self._pending))
            except OSError as error:
                unreadable = error
            else:
                self._pending.extend((tail, pending) for pending in found)
        self.behind = len(self._pending) >= self._batch
        return unreadable

    def _clean(self) -> None:
        for boot, tail in list(self._tails.items()):
            tail.clean()
            if tail.removed:
                del self._tails[boot]
                self.status.lost_before += tail.lost
        self.status.lost = self.status.lost_before + sum(tail.lost for tail in self._tails.values())

    async def _post(self, rows: list[Row]) -> None:
        """Write ``rows``; one that the database takes in no way is put aside. Raises what makes it take
        nothing at all."""
        from ..store.engine import is_away
        from .posting import post

        assert self._engine is not None
        try:
            async with asyncio.timeout(self._timeout), self._engine.begin() as connection:
                new = await post(connection, rows)
        except Exception as error:
            if is_away(error):
                raise
            if len(rows) > 1:
                half = len(rows) // 2
                await self._post(rows[:half])
                await self._post(rows[half:])
                return
            await self._check()
            self._reject(encode(rows[0]), type(error).__name__)
        else:
            self.status.rows_total += new
            self.status.last_commit_at = time.time()

    async def _check(self) -> None:
        """Whether the database takes a row of which nothing is odd. Raises why it does not: the fault is not
        in the rows then, but in the tables, say."""
        from .posting import post

        assert self._engine is not None
        asked = Asked(
            uuid4().hex, time.time(), "check", "check", "", "chat", "", "", "", False, 0, 0, "check"
        )
        row = killed(asked)._replace(savings=[("check", 1, 1)])
        async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
            await post(connection, [row])
            await connection.rollback()

    async def _sweep(self, engine: AsyncEngine) -> None:
        from .posting import release_older

        under_way = {name for tail in self._tails.values() for name in tail.reservations()}
        before = datetime.now(UTC) - timedelta(seconds=STALE_AFTER)
        async with asyncio.timeout(self._timeout), engine.begin() as connection:
            count = await release_older(connection, before, under_way - {""})
        if count:
            logger.warning("%d reservations are given back whose requests never had a row", count)

    def _damaged(self, line: bytes) -> None:
        self._reject(line, "damaged")

    def _reject(self, record: bytes, why: str) -> None:
        if self._rejects.keep(record, why):
            self.status.rejected += 1

    def _write_status(self) -> None:
        status = self.status
        self._status_at = time.monotonic() + STATUS_EVERY
        status.at = time.time()
        with suppress(OSError):
            unread = sum(tail.unread_bytes() for tail in self._tails.values())
            status.backlog_bytes = unread + sum(pending.size for _, pending in self._pending)
        write_status(self._spool, status)


def _load() -> None:
    """The modules that take long to load."""
    from . import posting as posting
