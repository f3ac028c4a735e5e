"""How the recorder is doing, for metrics, ``/health`` and the doctor: a small file that it keeps."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from .spool import STATUS


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
        found: dict[str, Any] = orjson.loads((spool / STATUS).read_bytes())
        return Status(**{f.name: found[f.name] for f in fields(Status) if f.name in found})
    except (OSError, ValueError, TypeError):
        return None


def write_status(spool: Path, status: Status) -> None:
    """Readers see the old one or the new one. A disk that is full keeps the old one."""
    new = spool / f".{STATUS}"
    with contextlib.suppress(OSError):
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(file, "wb") as out:  # noqa: PTH123 - a descriptor has no path
            out.write(orjson.dumps(asdict(status)))
        new.replace(spool / STATUS)
