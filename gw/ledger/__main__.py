"""The recorder's process: ``python -m gw.ledger``, started by :class:`gw.ledger.process.RecorderProcess`.

It needs 14 MB of its own until there is something to record: only then SQLAlchemy is loaded (55 MB).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path
from types import FrameType

from ..settings import Settings, load
from .process import EASE, HURRY
from .spool import has_work, lock, spool_dir
from .status import Status, read_status, write_status

#: Where it cannot step aside altogether: a seventieth of a core that is busy (sched(7)).
NICENESS = 19
#: Shares of SPOOL_MAX_BYTES that wait when it gets into a hurry, and when that is over.
_TOO_MUCH, _LITTLE = 1 / 4, 1 / 64
#: Seconds between two looks for something to record, and between two signs of life, while there is nothing.
_LOOK_EVERY, _STATUS_EVERY = 0.25, 2.0


class _Stop:
    """Whether somebody has asked for the end: by SIGTERM, or by closing the pipe that is standard input."""

    def __init__(self) -> None:
        self.asked = False
        self.pipe = stat.S_ISFIFO(os.fstat(0).st_mode)
        signal.signal(signal.SIGTERM, self._ask)

    def wait(self, seconds: float) -> bool:
        if self.pipe and not self.asked:
            readable, _, _ = select.select([0], [], [], seconds)
            if readable:
                self.read()
        elif not self.asked:
            time.sleep(seconds)
        return self.asked

    def read(self) -> None:
        """Call it when standard input is readable."""
        if not os.read(0, 4096):
            self.asked = True

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


def main() -> int:
    """Record until it is told to stop. 1: there is no place for a spool. ``HURRY``, ``EASE``: it wants to be
    started again, with the argument ``hurry`` or without."""
    # From a terminal it comes to everybody at once, also where the parent could give us no group of our own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = _Stop()
    hurried = sys.argv[1:] == ["hurry"]
    settings = load(os.environ)
    if not hurried:
        _step_aside(waited_for=settings.looks_at_database)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("gateway").setLevel(settings.server.log_level.upper())
    spool = spool_dir(settings.ledger)
    while (held := lock(spool)) is None:
        if stop.wait(1.0):
            return 0
    try:
        if settings.looks_at_database or _something_to_record(spool, stop):
            return _record(settings, spool, stop, hurried=hurried)
    finally:
        os.close(held)
    return 0


def _step_aside(*, waited_for: bool) -> None:
    """Traffic comes first, until too much waits for the recorder.

    A worker is a batch thread (see ``gw/server.py``) and interrupts nobody who is merely nice, only who has
    said that it runs when nobody else does (measured on one core: the recorder took a ninth of it from a
    busy worker at nice 19, and nothing as idle). But where workers look at the database, too
    (``waited_for``), one that has no turn in the middle of a transaction would keep them waiting.
    """
    with contextlib.suppress(AttributeError, OSError):  # not in macOS; forbidden in some sandboxes
        if not waited_for:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


def other_pace(share: float, *, hurried: bool) -> int:
    """The exit code of a recorder that should go on in another way; 0: it is right as it is. ``share`` of
    what may wait does."""
    if hurried:
        return EASE if share < _LITTLE else 0
    return HURRY if share > _TOO_MUCH else 0


def _something_to_record(spool: Path, stop: _Stop) -> bool:
    """Wait for it. False: there is nothing, and it is time to stop."""
    status = read_status(spool) or Status()
    said_at = -_STATUS_EVERY
    while not has_work(spool):
        if stop.wait(_LOOK_EVERY):
            return has_work(spool)  # what the workers wrote in the meantime
        if time.monotonic() - said_at > _STATUS_EVERY:
            said_at = time.monotonic()
            status.at = time.time()
            write_status(spool, status)
    return True


def _record(settings: Settings, spool: Path, stop: _Stop, *, hurried: bool) -> int:
    """The exit code."""
    import asyncio

    from .recorder import Recorder
    from .task import migrated_engine

    async def run() -> int:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def look() -> None:
            stop.read()
            if stop.asked:
                loop.remove_reader(0)
                ended.set()

        loop.add_signal_handler(signal.SIGTERM, ended.set)
        if stop.pipe:
            loop.add_reader(0, look)
        if stop.asked:
            ended.set()
        open_engine, migrate = migrated_engine(settings.ledger)
        recorder = Recorder(open_engine, spool, migrate=migrate, eager=settings.looks_at_database)
        work = asyncio.create_task(recorder.run(ended))
        code = 0
        while not code and not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _STATUS_EVERY)
            # A database that takes nothing takes no more in a hurry.
            if not ended.is_set() and recorder.status.error is None:
                share = recorder.status.backlog_bytes / settings.ledger.spool_max_bytes
                code = other_pace(share, hurried=hurried)
        ended.set()
        await work
        return code

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
