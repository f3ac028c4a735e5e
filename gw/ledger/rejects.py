"""Records that cannot be brought into the database are put aside, so that they hold up no others."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from pathlib import Path

from .spool import REJECTED

logger = logging.getLogger("gateway")

#: Files that are kept; more are counted only.
MOST_FILES = 1000
_SAY_EVERY = 60.0


class Rejects:
    """Keeps each record in a file of its own, in ``rejected/`` of the spool."""

    def __init__(self, spool: Path) -> None:
        self._folder = spool / REJECTED
        self._said_at: float | None = None

    def keep(self, record: bytes, why: str) -> bool:
        """Put ``record`` aside. False: it had been before (a recorder that starts anew reads it again)."""
        path = self._folder / f"{hashlib.sha256(record).hexdigest()[:32]}.json"
        now = time.monotonic()
        try:
            if path.exists():
                return False
            self._folder.mkdir(0o700, exist_ok=True)
            if sum(1 for _ in self._folder.iterdir()) < MOST_FILES:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with contextlib.closing(os.fdopen(file, "wb")) as out:
                    out.write(record)
        except OSError:
            path.unlink(missing_ok=True)  # the disk is full: it is counted, and said
        if self._said_at is None or now - self._said_at > _SAY_EVERY:
            self._said_at = now
            logger.error("a usage record is put aside in the spool's `rejected` folder (%s)", why)
        return True
