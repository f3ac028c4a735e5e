"""How the recorder is doing, for metrics, ``/health`` and the doctor: a small file that it keeps.

The file is written over and over in its place, since a disk that is full has no room for a new one. It has
two slots, each with a record as journals have them, and its turn: the newer one stays while the older one is
overwritten. So whatever a reader sees of the one that is being written, the other is whole.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from .spool import STATUS, framed, unframed

#: Bytes of a slot, of which a record takes some 250.
SLOT = 1024


@dataclass(slots=True)
class Status:
    """Times are Unix seconds; counts go on from where an earlier recorder of this spool left off."""

    #: When this was written. A recorder that runs does so every few seconds.
    at: float = 0.0
    last_commit_at: float | None = None
    #: New rows in the database.
    rows_total: int = 0
    #: Bytes of records that are on the disk and not in the database yet.
    backlog_bytes: int = 0
    #: Records that found no place, in the memory of a worker either.
    lost: int = 0
    #: Those among them of workers that are gone.
    lost_before: int = 0
    #: Records that were damaged, or that the database takes in no way: see ``rejected/`` in the spool.
    rejected: int = 0
    #: The class of the error that keeps the recorder from writing; None: nothing does.
    error: str | None = None


def read_status(spool: Path) -> Status | None:
    """None, where nothing was ever recorded, or what is there cannot be read."""
    try:
        found = _newest((spool / STATUS).read_bytes())
        return Status(**{f.name: found[f.name] for f in fields(Status) if f.name in found}) if found else None
    except (OSError, ValueError, TypeError):
        return None


def write_status(spool: Path, status: Status) -> None:
    """Readers see the old one or the new one. There is one writer: whoever holds the spool's lock. A disk
    that was full before there was any status, or that cannot be written, keeps it as it is."""
    with contextlib.suppress(OSError):
        file = os.open(spool / STATUS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            newest = _newest(os.pread(file, 2 * SLOT, 0))
            turn = newest["turn"] + 1 if newest else 0
            record = framed(orjson.dumps({"turn": turn, **asdict(status)}))
            # The first takes the room of both: later it may be gone.
            os.pwrite(file, record.ljust(SLOT if turn else 2 * SLOT), turn % 2 * SLOT)
        finally:
            os.close(file)


def _newest(file: bytes) -> dict[str, Any] | None:
    """The newer record of those that are whole. Turns are counted, since clocks are set back."""
    lines = (file[at : at + SLOT].partition(b"\n")[0] for at in (0, SLOT))
    records = (orjson.loads(record) for line in lines if (record := unframed(line)))
    return max(records, key=lambda record: int(record["turn"]), default=None)
