"""A worker's journal: records that outlive the process, without a system call for any of them.

A record is copied into a file that is mapped into memory; from then on it is the kernel's, and a worker that
is killed loses nothing. (It is not synced: a machine that loses its power may lose its last seconds.) The
file's blocks are allocated before it is mapped, so that a full disk is an error there, and no SIGBUS here.

Whatever may wait for the disk is done by a thread of the journal's own, ahead of time: the next segment is
ready before the present one is full. Without one, records wait in memory until there is room again.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import threading
from collections import deque
from pathlib import Path
from zlib import adler32

from .folder import Folder, Segment
from .inflight import InFlight

logger = logging.getLogger("gateway")

#: What a worker keeps in memory while its disk takes nothing: some ten thousand requests.
MEMORY_BYTES = 8 * 2**20


class Journal:
    """Opened by a worker after it was forked, and written by one thread.

    ``full`` is true when new requests should be refused: half of the memory is in use, and the rest is for
    the rows of those that run. ``lost`` counts the records that found no place.
    """

    def __init__(
        self,
        spool: Path,
        max_bytes: int,
        *,
        segment_bytes: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
        retry_seconds: float = 1.0,
        patience: float = 0.25,
    ) -> None:
        """``max_bytes`` bounds the segments of all workers of this machine. ``patience`` is how many seconds
        a write waits at most for a segment that is being made. A disk that takes nothing raises nothing:
        it is tried again every ``retry_seconds``."""
        self.full = False
        self.lost = 0
        self._folder = Folder(spool, max_bytes, segment_bytes)
        self._memory_bytes = memory_bytes
        self._retry_seconds = retry_seconds
        self._patience = patience

        self._segment: Segment | None = None
        self._map: mmap.mmap | None = None
        self._end = 0
        #: Where `write` has more to do than to copy: the middle of the segment, later its end.
        self._limit = 0
        self._in_flight: InFlight | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._spare: Segment | None = None
        self._spare_wanted = True
        self._used_up: deque[Segment] = deque()
        self._failing = False

        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._tried = threading.Event()
        self._closing = False
        if self._make_spare():
            self._turn_to_spare()
            self._set_limit()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def in_memory(self) -> tuple[int, int]:
        """How many records wait in memory, and their bytes; none, while the disk takes them."""
        return len(self._waiting), self._waiting_bytes

    def write(self, record: bytes) -> bool:
        """Keep ``record`` (JSON without a newline). False: there was no place left for it."""
        line = b"%d %b\n" % (adler32(record), record)  # `framed`, without the call
        start = self._end
        end = start + len(line)
        if end > self._limit:
            return self._write_slowly(line)
        # Without the lock: while there is a limit the thread leaves these alone.
        self._map[start:end] = line  # type: ignore[index]
        self._end = end
        return True

    def begin(self, record: bytes) -> int:
        """Keep ``record``, of a request whose upstream is about to be asked, until :meth:`end` is called with
        what this returns; -1: it stands among the others. If there is no place for it, and the worker is
        killed, nobody knows of the request."""
        slots = self._in_flight
        if slots is None or (slot := slots.begin(record)) < 0:
            self.write(record)
            return -1
        return slot

    def end(self, slot: int) -> None:
        """The row of the request whose record has ``slot`` is written."""
        if self._in_flight is not None:
            self._in_flight.end(slot)

    def close(self) -> None:
        """Bring what waits in memory to the disk if that takes it, up to twice ``max_bytes``, and leave all
        of it to the recorder."""
        if self._waiting:
            self._folder.make_room()  # before the thread looks for the last time
        self._closing = True
        self._wake.set()
        self._thread.join(5.0)
        with self._lock:
            self._limit = 0
            if self._waiting:
                logger.error("%d usage records are lost: the disk took none", len(self._waiting))
            self.lost += len(self._waiting)
            self._waiting.clear()
            if self._segment is not None:
                self._segment.close(self._end)
                self._segment = self._map = None
            if self._spare is not None:
                self._spare.close(0)
                self._spare = None
            if self._in_flight is not None:
                self._in_flight.close()
                self._in_flight = None
            self._folder.close(self.lost)

    def _write_slowly(self, line: bytes) -> bool:
        with self._lock:
            if len(line) > self._folder.smallest:
                return self._lose()
            if not self._waiting:
                if self._put(line):
                    self._set_limit()
                    return True
                self._await_spare()
                if self._turn_to_spare() and self._put(line):
                    self._set_limit()
                    return True
            if self._waiting_bytes + len(line) > self._memory_bytes:
                return self._lose()
            self._limit = 0
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self.full = self._waiting_bytes > self._memory_bytes // 2
            self._want_spare()
            return True

    def _lose(self) -> bool:
        self.lost += 1
        self._wake.set()  # the thread writes the number down
        return False

    def _put(self, line: bytes) -> bool:
        """Copy ``line`` into the segment. False: it has no room for it."""
        end = self._end + len(line)
        if self._map is None or end > len(self._map):
            return False
        self._map[self._end : end] = line
        self._end = end
        return True

    def _set_limit(self) -> None:
        size = len(self._map) if self._map is not None else 0
        if self._end < size // 2:
            self._limit = size // 2
        else:
            self._limit = size
            self._want_spare()

    def _want_spare(self) -> None:
        if self._spare is None:
            self._spare_wanted = True
            self._wake.set()

    def _await_spare(self) -> None:
        """Give the thread a moment to finish what it should have had ready; none, where the disk fails."""
        if self._spare is None and not self._failing:
            self._tried.clear()
            self._want_spare()
            self._tried.wait(self._patience)

    def _turn_to_spare(self) -> bool:
        if self._spare is None:
            return False
        if self._segment is not None:
            self._used_up.append(self._segment)
        self._segment, self._spare = self._spare, None
        self._map, self._end = self._segment.map, 0
        return True

    def _run(self) -> None:
        while True:
            self._wake.wait(self._retry_seconds if self._spare_wanted else None)
            self._wake.clear()
            closing = self._closing
            while (not self._spare_wanted or self._make_spare()) and self._waiting:
                self._drain()
            self._tried.set()
            while self._used_up:
                self._used_up.popleft().close()
            self._folder.tell_lost(self.lost)
            if closing:
                return

    def _make_spare(self) -> bool:
        """Needs no lock, which a request may wait for: until it is there, nobody else looks at it."""
        try:
            spare = self._folder.new_segment()
        except OSError as error:
            if not self._failing:
                logger.warning(
                    "the spool takes nothing (%s): usage rows wait in memory", error.strerror or error
                )
            self._failing = True
            return False
        if self._failing:
            logger.warning("the spool takes usage rows again")
        self._failing = self._spare_wanted = False
        self._spare = spare
        if self._in_flight is None:
            with contextlib.suppress(OSError):  # without it, everything stands in the segments
                self._in_flight = self._folder.in_flight()
        return True

    def _drain(self) -> None:
        """Copy what waits in memory into the spare segment, as far as it goes."""
        with self._lock:
            while self._waiting:
                line = self._waiting[0]
                if not self._put(line) and not (self._turn_to_spare() and self._put(line)):
                    self._spare_wanted = True
                    break
                self._waiting.popleft()
                self._waiting_bytes -= len(line)
            else:
                self._set_limit()
            self.full = self._waiting_bytes > self._memory_bytes // 2
