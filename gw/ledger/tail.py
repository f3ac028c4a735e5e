"""Reads one worker's journal while it is written, and after its worker's death."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .inflight import NAME, records_in
from .row import Asked, Row, decode, killed
from .spool import ALIVE, begun, is_alive, segments, unframed

#: What is read at once: more than the longest line.
CHUNK_BYTES = 128 * 1024
#: Seconds after which nobody waits for the row of a request any more: its worker lives, and has lost it.
FORGOTTEN_AFTER = 24 * 3600.0


@dataclass(slots=True, eq=False)
class Segment:
    path: Path
    #: What stands before it has been read.
    offset: int = 0
    #: Nothing will be added any more.
    sealed: bool = False
    finished: bool = False
    #: Rows that are read and not committed, requests that were asked and have no row.
    unsettled: int = 0


class Pending(NamedTuple):
    """A row on its way to the database, and where it comes from."""

    row: Row
    #: 0 for the row of a killed worker's request, which stands nowhere.
    size: int
    segments: tuple[Segment, ...]


class _Open(NamedTuple):
    asked: Asked
    segment: Segment
    #: As ``time.monotonic`` counts.
    since: float


class Tail:
    """``reject`` is given what stands in the journal and is no record. ``lost`` is what the worker says that
    it had no place for."""

    def __init__(self, boot: Path, reject: Callable[[bytes], None]) -> None:
        self.boot = boot
        self.lost = 0
        #: The journal and its folder are gone.
        self.removed = False
        self._reject = reject
        self._dead = False
        #: What a dead worker was in the middle of is among `_open`.
        self._all_open = False
        self._segments: list[Segment] = []
        self._open: dict[str, _Open] = {}

    def reservations(self) -> set[str]:
        """Those of requests that are under way. Raises ``OSError``."""
        found = {found.asked.reservation for found in self._open.values()}
        if not self._all_open:
            found.update(asked.reservation for asked in self._in_flight(lambda _: None))
        return found

    def read(self, limit: int) -> list[Pending]:
        """Up to ``limit`` rows that have not been read before. Raises ``OSError``."""
        self._look()
        found: list[Pending] = []
        for segment in self._segments:
            if not segment.finished:
                try:
                    segment.finished = self._read(segment, found, limit) and segment.sealed
                except FileNotFoundError:  # its worker had made it ahead, and has had no use for it
                    segment.finished = True
            if not segment.finished:
                break
        else:
            if self._dead:
                self._open_in_flight()
                self._give_up(found, limit, 0.0)
        self._give_up(found, limit, FORGOTTEN_AFTER)
        return found

    def settled(self, pending: Pending) -> None:
        """Its row is in the database, or never will be."""
        for segment in pending.segments:
            segment.unsettled -= 1

    def clean(self) -> None:
        """Remove what has been recorded. Raises ``OSError``."""
        for segment in [s for s in self._segments if s.finished and not s.unsettled]:
            segment.path.unlink(missing_ok=True)
            self._segments.remove(segment)
        if self._dead and not self._segments and not segments(self.boot):
            (self.boot / ALIVE).unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.boot.rmdir()
            self.removed = True

    def unread_bytes(self) -> int:
        """What the worker has written and nobody has read yet."""
        return sum(_written(s) - s.offset for s in self._segments if not s.finished)

    def _look(self) -> None:
        """What is sealed: asked before anything is read, so that it is read to its end."""
        dead = self._dead or not is_alive(self.boot)
        if not self._dead:
            known = {segment.path for segment in self._segments}
            self._segments += [Segment(path) for path in segments(self.boot) if path not in known]
        for segment, following in zip(self._segments, self._segments[1:], strict=False):
            # A worker makes the next segment long before it writes to it.
            segment.sealed = segment.sealed or begun(following.path)
        if dead:
            self._dead = True
            for segment in self._segments:
                segment.sealed = True
        with contextlib.suppress(OSError, ValueError):
            self.lost = int((self.boot / ALIVE).read_bytes() or b"0")

    def _read(self, segment: Segment, found: list[Pending], limit: int) -> bool:
        """Whether all that is there has been read."""
        with segment.path.open("rb", buffering=0) as file:
            while len(found) < limit:
                file.seek(segment.offset)
                chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    return True
                if (end := chunk.rfind(b"\n") + 1) == 0:
                    if not segment.sealed:
                        return True
                    # The zeros at the end, or a line that was torn.
                    self._take(segment, chunk, None, found)
                    segment.offset += len(chunk)
                start = 0
                while start < end and len(found) < limit:
                    stop = chunk.index(b"\n", start) + 1
                    line = chunk[start:stop]
                    record = unframed(line)
                    if record is None and not segment.sealed and not chunk[stop:].strip(b"\0"):
                        return True  # it may be in the middle of being written
                    self._take(segment, line, record, found)
                    segment.offset += stop - start
                    start = stop
        return False

    def _take(self, segment: Segment, line: bytes, record: bytes | None, found: list[Pending]) -> None:
        if record is None:
            written = line.strip(b"\0")
            if not written:
                return
            record = unframed(written) or b""
        try:
            taken = decode(record)
        except ValueError:
            self._reject(line.strip(b"\0"))
            return
        if isinstance(taken, Row):
            opened = self._open.pop(taken.id, None)
            segment.unsettled += 1
            origins = (segment,) if opened is None else (segment, opened.segment)
            found.append(Pending(taken, len(line), origins))
        elif taken.id not in self._open:
            segment.unsettled += 1
            self._open[taken.id] = _Open(taken, segment, time.monotonic())

    def _open_in_flight(self) -> None:
        """Once all of a dead worker's segments are read. One that was killed after it had written a row still
        has the request here: that row comes first, and the database takes no other with its id."""
        if self._all_open:
            return
        slots = Segment(self.boot / NAME, sealed=True, finished=True)
        for asked in self._in_flight(self._reject):
            if asked.id not in self._open:
                slots.unsettled += 1
                self._open[asked.id] = _Open(asked, slots, time.monotonic())
        self._segments.append(slots)
        self._all_open = True

    def _in_flight(self, reject: Callable[[bytes], None]) -> Iterator[Asked]:
        for record in records_in(self.boot / NAME):
            try:
                taken = decode(record)
            except ValueError:
                reject(record)
            else:
                if isinstance(taken, Asked):
                    yield taken

    def _give_up(self, found: list[Pending], limit: int, after: float) -> None:
        """Rows for requests that were asked ``after`` seconds ago and more, and will have no other."""
        now = time.monotonic()
        while self._open and len(found) < limit:
            oldest = next(iter(self._open.values()))
            if now - oldest.since < after:
                return
            del self._open[oldest.asked.id]
            found.append(Pending(killed(oldest.asked), 0, (oldest.segment,)))


def _written(segment: Segment) -> int:
    """Where the zeros begin, which go on to the end: found by halves."""
    low = segment.offset
    try:
        with segment.path.open("rb", buffering=0) as file:
            high = os.fstat(file.fileno()).st_size
            while low < high:
                middle = (low + high) // 2
                if os.pread(file.fileno(), 1, middle) == b"\0":
                    high = middle
                else:
                    low = middle + 1
    except FileNotFoundError:
        pass
    return low
