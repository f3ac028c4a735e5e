"""How journals stand on the disk: what their writers and the recorder have to agree on.

    <spool>/<boot>/alive             locked (flock) by its worker for as long as that lives
    <spool>/<boot>/000001.journal    records, then zeros
    <spool>/<boot>/inflight          what is known of requests that have no row yet (``inflight.py``)
    <spool>/rejected/                records that the database refused, to be looked at by people
    <spool>/status.json              how the recorder is doing
    <spool>/recorder.lock            locked by the one process that records

A record is one line, ``<Adler-32 of the JSON> <JSON>\\n``: so what is whole is told from what a crash
or a broken disk has torn. (CRC-32 takes twice as long, and 8 KB of the cache.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from zlib import adler32

from ..settings import Ledger
from ..store.place import data_dir

ALIVE = "alive"
SUFFIX = ".journal"
REJECTED = "rejected"
STATUS = "status.json"
LOCK = "recorder.lock"


def spool_dir(ledger: Ledger) -> Path:
    """Where the journals of this machine are. Raises ``DataDirError``."""
    return data_dir(ledger) / "spool"


def framed(record: bytes) -> bytes:
    """``record`` (JSON without a newline) as its line in a segment."""
    return b"%d %b\n" % (adler32(record), record)


def unframed(line: bytes) -> bytes | None:
    """The record of ``line`` (with or without its newline). None: it is not as it was written."""
    checksum, _, record = line.removesuffix(b"\n").partition(b" ")
    return record if checksum == b"%d" % adler32(record) else None


def boots(spool: Path) -> list[Path]:
    """The folders of all workers, living and dead, oldest first. Raises ``OSError``."""
    return sorted(Path(entry.path) for entry in _listed(spool) if _is_boot(entry))


def remove_unborn(spool: Path) -> None:
    """Remove what is left of workers that were killed while they made their folders. Raises ``OSError``."""
    for entry in _listed(spool):
        folder = Path(entry.path)
        unnamed = entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        # Nobody needs a minute from making the folder to locking it.
        if unnamed and entry.stat().st_mtime < time.time() - 60 and not is_alive(folder):
            (folder / ALIVE).unlink(missing_ok=True)
            folder.rmdir()


def segments(boot: Path) -> list[Path]:
    """The journal's files in the order in which they were written. Raises ``OSError``."""
    found = [Path(e.path) for e in _listed(boot) if e.name.endswith(SUFFIX) and e.name[0].isdigit()]
    return sorted(found, key=lambda path: int(path.stem))


def used_bytes(spool: Path) -> int:
    """What all segments take on the disk. Raises ``OSError``."""
    total = 0
    for boot in boots(spool):
        for segment in segments(boot):
            with contextlib.suppress(FileNotFoundError):  # the recorder is done with it
                total += segment.stat().st_size
    return total


def is_alive(boot: Path) -> bool:
    """Whether the worker that writes to ``boot`` still runs. Raises ``OSError``, except where there is no
    lock file: then nobody writes."""
    try:
        file = os.open(boot / ALIVE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not locked(file)
    finally:
        os.close(file)


def locked(file: int) -> bool:
    """Lock ``file`` until it is closed. False: somebody else has it. Raises ``OSError``."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(spool: Path) -> int | None:
    """The right to record, until the descriptor is closed or the process ends. None: another has it, or the
    disk does not even take a name."""
    try:
        spool.mkdir(0o700, exist_ok=True)
        file = os.open(spool / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    if locked(file):
        return file
    os.close(file)
    return None


def has_work(spool: Path) -> bool:
    """Whether there is anything to record, or to tidy up after a worker that is gone."""
    with contextlib.suppress(OSError):
        return any(not is_alive(boot) or any(map(begun, segments(boot))) for boot in boots(spool))
    return True  # let the recorder say what is wrong


def begun(segment: Path) -> bool:
    """Whether anything has been written to ``segment``. Raises ``OSError``."""
    try:
        with segment.open("rb", buffering=0) as file:
            return file.read(1) not in (b"", b"\0")
    except FileNotFoundError:
        return False


def _listed(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _is_boot(entry: os.DirEntry[str]) -> bool:
    # A name with a dot is a folder that its worker has not locked yet.
    return not entry.name.startswith(".") and entry.name != REJECTED and entry.is_dir(follow_symlinks=False)
