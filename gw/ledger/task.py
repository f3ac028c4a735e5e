"""The recorder as a task of the application, where nobody keeps a process for it: other ASGI servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..settings import Ledger
from .recorder import Recorder
from .spool import lock, spool_dir

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

#: Rows of a transaction: requests wait for the event loop while it is put together.
_BATCH = 100
#: Seconds between two looks whether the process that records is gone.
_TURN_EVERY = 2.0


class RecorderTask:
    """Every worker of such a server has one; the first records, the others wait until it is gone.

    ``eager``: the database is migrated at once, and not only when there is something to record.
    """

    def __init__(self, ledger: Ledger, *, eager: bool = False) -> None:
        self._ledger = ledger
        self._eager = eager
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises ``DataDirError`` when there is no place for a spool."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    async def stop(self) -> None:
        """Record what is left, for some seconds at most. The worker's journal is closed before."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        spool = spool_dir(self._ledger)
        while (held := lock(spool)) is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TURN_EVERY)
            if self._stop.is_set():
                return
        open_engine, migrate = migrated_engine(self._ledger)
        recorder = Recorder(open_engine, spool, migrate=migrate, eager=self._eager, batch=_BATCH)
        try:
            await recorder.run(self._stop)
        finally:
            os.close(held)


def migrated_engine(
    ledger: Ledger,
) -> tuple[Callable[[], AsyncEngine], Callable[[AsyncEngine], Awaitable[object]]]:
    """How a recorder opens the database of ``ledger``, and how it migrates it."""

    def open_engine() -> AsyncEngine:
        from ..store.engine import open_engine

        return open_engine(ledger, connections=1)

    async def migrate(engine: AsyncEngine) -> None:
        from ..store.migrate import migrate

        await migrate(engine)

    return open_engine, migrate
