"""How the ledger stands, in a word for ``/health`` and in series for a scrape.

Both come from the file that the recorder keeps, so that any worker can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from ..ledger.spool import spool_dir
from ..ledger.status import Status, read_status
from ..settings import Ledger
from ..store.place import DataDirError
from .memory import Memory, Waiting

if TYPE_CHECKING:
    from prometheus_client import Metric

#: A recorder that runs says so every two seconds; one that is silent for so long is not there.
SILENT_SECONDS = 30.0
#: Seconds for which an answer is remembered: anybody may ask for /health, as often as he likes.
FRESH_SECONDS = 1.0

State = Literal["off", "ok", "behind", "stopped"]


def state_of(status: Status | None, now: float, memory: Waiting = Waiting()) -> State:  # noqa: B008 - a tuple
    """``ok``; ``behind``: the database does not take rows, or the disk does not, and they wait in ``memory``;
    ``stopped``: nobody records. ``now`` is Unix seconds."""
    if status is None or now - status.at > SILENT_SECONDS:
        return "stopped"
    return "ok" if status.error is None and not memory.records else "behind"


class LedgerHealth:
    """The ledger's state when called. A recorder that has just been started is given time to begin."""

    def __init__(
        self, ledger: Ledger, memory: Memory | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
        self._memory = memory or Memory()
        self._clock = clock
        self._began = clock()
        self._state: State = "off"
        self._until = 0.0

    def __call__(self) -> State:
        if not self._ledger.enabled:
            return "off"
        now = self._clock()
        if not self._until - FRESH_SECONDS <= now < self._until:
            self._state, self._until = self._read(now), now + FRESH_SECONDS
        return self._state

    def _read(self, now: float) -> State:
        memory = self._memory()
        state = state_of(_status(self._ledger), now, memory)
        if state == "stopped" and now - self._began < SILENT_SECONDS:
            return "behind" if memory.records else "ok"
        return state


class LedgerCollector:
    """The series of the ledger, for :meth:`middleware._metrics.Metrics.add`."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: the file need not be there yet when the collector is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found = _status(self._ledger)
        state = state_of(found, self._clock())
        status = found or Status()
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        yield gauge(
            "gateway_ledger_up",
            "1 while this machine's recorder runs and the database takes its rows",
            value=float(state == "ok"),
        )
        yield gauge(
            "gateway_ledger_recorder_up",
            "1 while this machine's recorder runs",
            value=float(state != "stopped"),
        )
        yield gauge(
            "gateway_ledger_backlog_bytes",
            "Records on this machine's disk that are not in the database yet",
            value=float(status.backlog_bytes),
        )
        yield gauge(
            "gateway_ledger_last_commit_timestamp_seconds",
            "When this machine's recorder has last written rows, in Unix time (0: never)",
            value=status.last_commit_at or 0.0,
        )
        yield counter(
            "gateway_ledger_rows_total",
            "Rows that this machine has brought into the database, also before it was restarted",
            value=float(status.rows_total),
        )
        yield counter(
            "gateway_ledger_lost_total",
            "Records that found no place on the disk, nor in a worker's memory",
            value=float(status.lost),
        )
        yield counter(
            "gateway_ledger_rejected_total",
            "Records put aside in the spool: damaged, or such that the database takes them in no way",
            value=float(status.rejected),
        )


def _status(ledger: Ledger) -> Status | None:
    try:
        return read_status(spool_dir(ledger))
    except DataDirError:
        return None
