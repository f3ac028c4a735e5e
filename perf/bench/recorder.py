"""The recorder of a gateway under measurement: what it has written, and what that took."""

from __future__ import annotations

import time
from pathlib import Path

from gw.ledger.status import Status, read_status

from .processes import command, cpu_seconds, tree


class Recorder:
    """That of the gateway ``pid``, whose data directory is ``home``. Raises ``RuntimeError``: it has none."""

    def __init__(self, pid: int, home: Path) -> None:
        self._spool = home / "spool"
        found = [one for one in tree(pid) if "gw.ledger" in command(one)]
        if not found:
            raise RuntimeError("the gateway has no recorder")
        self._pid = found[0]

    def rows(self) -> int:
        return self._status().rows_total

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._pid)

    def wait(self, seconds: float = 120.0) -> None:
        """Until it has written everything. Raises ``RuntimeError`` when it does not."""
        deadline = time.monotonic() + seconds
        asked = time.time()
        while (status := self._status()).at < asked or status.backlog_bytes:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the recorder still has {status.backlog_bytes} bytes to write")
            time.sleep(0.1)

    def _status(self) -> Status:
        return read_status(self._spool) or Status()
