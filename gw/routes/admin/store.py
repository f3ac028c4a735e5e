"""The database behind the admin API: nothing is imported or opened before somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ...settings import Settings

if TYPE_CHECKING:
    from .database import Database

T = TypeVar("T")

#: Seconds for all that one request asks of the database. Beyond it the answer is 503.
PATIENCE_SECONDS = 8.0
#: Requests that may ask the database at the same time: reports never take it away from the traffic.
AT_ONCE = 8
#: Seconds that cancelled work may take to let go of its connection when the worker stops.
LAST_SECONDS = 2.0


class Late(Exception):
    """The database has not answered in time."""


class Busy(Exception):
    """Too many requests to /admin ask the database already."""


class AdminStore:
    """One engine for each worker, opened by the first request to /admin that needs it; ``close`` it in the
    end.

    Importing SQLAlchemy takes half a second and 20 MB: it is done in a thread, and never in a worker that
    nobody asks.
    """

    def __init__(self, settings: Settings, *, patience: float = PATIENCE_SECONDS) -> None:
        self._settings = settings
        self._patience = patience
        self._database: Database | None = None
        self._migrated = False
        self._opening = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """What ``work`` returns or raises, or whatever stands in the way of opening the database. Raises
        :class:`Late` and :class:`Busy`.

        Work that is late is cancelled and left alone: a hung connection may take its time to notice.
        """
        if len(self._running) >= AT_ONCE:
            raise Busy
        task = asyncio.ensure_future(self._work(work))
        self._running.add(task)
        task.add_done_callback(self._finished)
        try:
            await asyncio.wait({task}, timeout=self._patience)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise Late
        return task.result()

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_SECONDS)
        if self._database is not None:
            database, self._database = self._database, None
            await database.engine.dispose()

    async def _work(self, work: Callable[[Database], Awaitable[T]]) -> T:
        async with self._opening:
            if self._database is None:
                self._database = await asyncio.to_thread(self._open)
            if not self._migrated:
                # The recorder does it, too, but not before there is something to record.
                await self._database.migrate()
                self._migrated = True
            database = self._database
        return await work(database)

    def _open(self) -> Database:
        from .database import open_database

        return open_database(self._settings)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has had it; one who went away wants none
