"""Lines for a log, collected and written a few times a second instead of one system call each."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import stat
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

#: Bytes that a pipe takes without blocking once it is writable (PIPE_BUF on Linux, POSIX says >= 512).
_ATOMIC = 4096 if not hasattr(select, "PIPE_BUF") else select.PIPE_BUF


class Soon:
    """Calls ``work`` when called itself, but at most every ``seconds``: later calls wait until then, and
    are answered all at once.

    Without a running event loop nothing waits. A loop that was closed in between is noticed.
    """

    __slots__ = ("_again", "_loop", "_seconds", "_work")

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        self._seconds = seconds
        self._work = work
        self._again = False  # called since the work was done
        #: Where the timer runs; None when the work was done long ago.
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._work()
            return
        if loop is self._loop:
            self._again = True
            return
        self._loop = loop
        self._again = False
        loop.call_later(self._seconds, self._over)
        self._work()

    def _over(self) -> None:
        self._loop = None
        if self._again:
            self()


class LineWriter:
    """Writes lines to the file descriptor ``fd``, in order; for one thread.

    A line is written at once, or ``seconds`` after the last writing, or when ``batch`` characters have
    come together. Writing never
    waits for a slow reader: what it does not take is kept, up to ``keep`` bytes, and what comes then is
    dropped; so is what cannot be written at all (descriptor closed, disk full). Dropping is logged when
    it begins and, with the number of lines, when it is over. :meth:`close` waits for the reader; lines
    that come after it are written at once.
    """

    def __init__(
        self, fd: int = 1, *, seconds: float = 0.1, batch: int = 64 * 1024, keep: int = 4 * 1024 * 1024
    ) -> None:
        self._fd = fd
        self._batch = batch
        self._keep = keep
        self._lines: list[str] = []
        self._size = 0
        self._unwritten = b""
        self._lost = 0
        self._closed = False
        self._soon = Soon(seconds, self.flush)
        try:
            self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            self._is_file = False

    def __call__(self, line: str) -> None:
        """Write ``line``, which has no line end."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._batch or self._closed:
            self.flush()
        else:
            self._soon()

    def flush(self) -> None:
        """Write as much as is taken without waiting. Never raises."""
        self._write(0.0)
        if self._unwritten and not self._closed:
            self._soon()

    def close(self, seconds: float = 1.0) -> None:
        """Write everything; a reader that takes nothing is waited for up to ``seconds``."""
        self._closed = True
        self._write(seconds)
        self._drop(self._unwritten)
        self._unwritten = b""
        if self._lost:
            self._report()

    def _write(self, seconds: float) -> None:
        data = self._collect()
        done, until = 0, time.monotonic() + seconds
        try:
            while done < len(data) and self._is_writable(max(until - time.monotonic(), 0.0)):
                end = len(data) if self._is_file else done + _ATOMIC
                done += os.write(self._fd, memoryview(data)[done:end])
        except BlockingIOError:
            pass  # somebody else who writes there was quicker
        except OSError:
            self._drop(data[done:])
            done = len(data)
        else:
            if self._lost and done == len(data):
                self._report()
        self._unwritten = data[done:]

    def _collect(self) -> bytes:
        if not self._lines:
            return self._unwritten
        data = "\n".join(self._lines).encode("utf-8", "backslashreplace") + b"\n"
        self._lines.clear()
        self._size = 0
        if len(self._unwritten) + len(data) > self._keep:
            self._drop(data)
            return self._unwritten
        return self._unwritten + data

    def _drop(self, data: bytes) -> None:
        if data and not self._lost:
            _log.warning("log lines cannot be written and are dropped")
        self._lost += data.count(b"\n")

    def _report(self) -> None:
        _log.warning("%d log lines were dropped", self._lost)
        self._lost = 0

    def _is_writable(self, seconds: float) -> bool:
        if self._is_file or not hasattr(select, "poll"):
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
