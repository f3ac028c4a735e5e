"""A worker's folder in the spool, and the files of its journal."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import time
from pathlib import Path

from .inflight import InFlight
from .spool import ALIVE, SUFFIX, locked, used_bytes

#: A segment is about a hundredth of the spool, in these bounds: space is given back one segment at a time.
MIN_SEGMENT_BYTES = 64 * 1024
MAX_SEGMENT_BYTES = 2 * 2**20
_ZEROS = memoryview(bytes(MIN_SEGMENT_BYTES))


class Segment:
    """A file of zeros, mapped into memory."""

    def __init__(self, path: Path, size: int) -> None:
        """Raises ``OSError``, and leaves nothing behind, when the disk has no room for all of it."""
        self.path = path
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):  # not in macOS
                os.posix_fallocate(file, 0, size)
            # Pages that are there already cost the first record in them a tenth (0.3 of 3 us in ext4).
            for start in range(0, size, len(_ZEROS)):
                os.pwrite(file, _ZEROS[: size - start], start)
            self.map = mmap.mmap(file, size)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)

    def close(self, used: int | None = None) -> None:
        """Let go of the file, cut to ``used`` bytes (0: it is removed)."""
        self.map.close()
        with contextlib.suppress(OSError):
            if used == 0:
                self.path.unlink()
            elif used is not None:
                os.truncate(self.path, used)


class Folder:
    """The worker's own folder in the spool, made when it is needed first."""

    def __init__(self, spool: Path, max_bytes: int, segment_bytes: int | None) -> None:
        self._spool = spool
        self._max_bytes = max_bytes
        wanted = segment_bytes or min(max(max_bytes // 128, MIN_SEGMENT_BYTES), MAX_SEGMENT_BYTES)
        self._segment_bytes = -(-wanted // mmap.PAGESIZE) * mmap.PAGESIZE
        #: The longest line that any segment takes.
        self.smallest = min(self._segment_bytes, MIN_SEGMENT_BYTES)
        self._path: Path | None = None
        self._alive = -1
        self._number = 0
        self._lost_told = 0

    def new_segment(self) -> Segment:
        """As large as the disk and ``max_bytes`` allow. Raises ``OSError``."""
        self._open()
        assert self._path is not None
        size = self._segment_bytes
        while True:
            if used_bytes(self._spool) + size <= self._max_bytes:
                self._number += 1
                try:
                    segment = Segment(self._path / f"{self._number:06d}{SUFFIX}", size)
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or size <= self.smallest:
                        raise
                else:
                    if used_bytes(self._spool) <= self._max_bytes:
                        return segment
                    segment.close(0)  # another worker made one in the same moment
            if size <= self.smallest:
                raise OSError(errno.ENOSPC, "SPOOL_MAX_BYTES is reached")
            size = max(size // 2 // mmap.PAGESIZE * mmap.PAGESIZE, self.smallest)

    def in_flight(self) -> InFlight:
        """The slots of this worker, beside its first segment. Raises ``OSError``."""
        assert self._path is not None
        return InFlight(self._path)

    def make_room(self) -> None:
        """For what a worker that stops still has in memory: it would be lost, so the bound is doubled."""
        self._max_bytes *= 2

    def tell_lost(self, lost: int) -> None:
        """Write the number where the recorder finds it, also when this process is gone."""
        if lost != self._lost_told and self._alive >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._alive, b"%d" % lost, 0)
                self._lost_told = lost

    def close(self, lost: int) -> None:
        self.tell_lost(lost)
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _open(self) -> None:
        """The folder gets its name when it is locked: or the recorder might take its worker for dead."""
        if self._path is not None and self._path.is_dir():
            return
        self.close(self._lost_told)
        self._spool.mkdir(0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
        hidden = self._spool / f".{name}"
        hidden.mkdir(0o700)
        try:
            self._alive = os.open(hidden / ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            locked(self._alive)
            self._path = hidden.rename(self._spool / name)
        except OSError:
            with contextlib.suppress(OSError):
                (hidden / ALIVE).unlink(missing_ok=True)
                hidden.rmdir()
            raise
