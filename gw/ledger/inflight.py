"""What a worker is about to ask an upstream, until the row of it stands in the journal.

A file of slots, mapped into memory; nobody reads it before the worker is dead, and then only those slots that
are in use: these are the requests it has died in the middle of. A slot is used again by the next request, so
that it is warm, and a request that ends leaves nothing for the recorder to read.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

NAME = "inflight"
#: Bytes of a slot, and how many a worker has. What is longer, or one too many, stands in the journal instead.
SLOT_BYTES = 512
SLOTS = 1024
_IN_USE = 1


class InFlight:
    """The slots of one worker, written by one thread. Raises ``OSError``: the disk has no room for them."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Blocks of their own: a disk that is full is an error here, and no SIGBUS later.
            os.pwrite(file, bytes(SLOTS * SLOT_BYTES), 0)
            self._map = mmap.mmap(file, SLOTS * SLOT_BYTES)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)
        #: Where the free ones begin; the last is the warmest.
        self._free = list(range((SLOTS - 1) * SLOT_BYTES, -1, -SLOT_BYTES))

    def begin(self, record: bytes) -> int:
        """Keep ``record`` (JSON) until :meth:`end` is called with what this returns; -1: it has no place."""
        if len(record) > SLOT_BYTES - 2 or not self._free:
            return -1
        slot = self._free.pop()
        table = self._map
        table[slot + 1 : slot + 2 + len(record)] = record + b"\n"
        # Only now, so that no reader ever sees half of it: a worker may be killed between any two lines.
        table[slot] = _IN_USE
        return slot

    def end(self, slot: int) -> None:
        """The row of it is written."""
        self._map[slot] = 0
        self._free.append(slot)

    def close(self) -> None:
        self._map.close()


def records_in(path: Path) -> Iterator[bytes]:
    """What stands in the slots that are in use, of a living worker or a dead one. Raises ``OSError``."""
    try:
        slots = path.read_bytes()
    except FileNotFoundError:
        return
    for start in range(0, len(slots), SLOT_BYTES):
        if slots[start] == _IN_USE:
            yield slots[start + 1 : start + SLOT_BYTES].partition(b"\n")[0]
