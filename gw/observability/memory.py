"""What waits in the workers' memory, because their disk takes nothing: told by each, added up for all.

A worker that is killed takes it with it, so somebody should know.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from middleware._metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client import Gauge

#: Seconds between two looks of a worker at its journal.
EVERY_SECONDS = 1.0
_RECORDS, _BYTES = "gateway_ledger_memory_records", "gateway_ledger_memory_bytes"
#: How prometheus_client names a process's file of gauges that are added up.
_FILES = "gauge_livesum_*.db"


class Waiting(NamedTuple):
    """Records (two for each request) and their bytes."""

    records: int = 0
    bytes: int = 0


class Memory:
    """Call it for what waits in all processes that share their metrics. One process for each machine needs
    none for that; several that have none (PROMETHEUS_ENABLED=0) know of themselves alone."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._own = Waiting()
        self._gauges: tuple[Gauge, Gauge] | None = None
        self._shared: Path | None = None
        if metrics is None:
            return
        from prometheus_client import Gauge

        if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            self._shared = Path(directory)
            self._forget_the_dead()
        self._gauges = (
            Gauge(
                _RECORDS,
                "Records in the workers' memory, because the disk or SPOOL_MAX_BYTES has no room for them",
                multiprocess_mode="livesum",
                registry=metrics.registry,
            ),
            Gauge(
                _BYTES,
                "The bytes of those records",
                multiprocess_mode="livesum",
                registry=metrics.registry,
            ),
        )

    def tell(self, waiting: Waiting) -> None:
        """Say what waits in this process."""
        if waiting == self._own:
            return
        self._own = waiting
        if self._gauges is not None:
            for gauge, value in zip(self._gauges, waiting, strict=True):
                gauge.set(value)

    async def follow(self, read: Callable[[], tuple[int, int]]) -> None:
        """Tell what ``read`` gives, until it is cancelled."""
        while True:
            self.tell(Waiting(*read()))
            await asyncio.sleep(EVERY_SECONDS)

    def __call__(self) -> Waiting:
        if self._shared is None:
            return self._own
        from prometheus_client.multiprocess import MultiProcessCollector

        files = [str(file) for file in self._shared.glob(_FILES)]
        found = {
            sample.name: int(sample.value)
            for metric in MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
            for sample in metric.samples
        }
        return Waiting(found.get(_RECORDS, 0), found.get(_BYTES, 0))

    def _forget_the_dead(self) -> None:
        """Done by the worker that takes a killed one's place: what that had in memory is gone."""
        assert self._shared is not None
        for file in self._shared.glob(_FILES):
            with contextlib.suppress(ValueError, OSError):
                if not _runs(int(file.stem.rpartition("_")[2])):
                    file.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
