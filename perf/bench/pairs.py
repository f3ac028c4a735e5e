"""Two gateways in turns of a fraction of a second: ``python -m perf.bench.pairs``, JSON on stdin and stdout.

A machine that is shared drifts by a third within seconds, so what a feature costs of a few per cent is lost
between two loads of a second each. Here a turn is short, a pair is made of two neighbouring turns, and there
are many pairs. Whoever has no turn is stopped (SIGSTOP), with all that belongs to it: nothing that one side
has left to do, such as recording, is paid by the other.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from math import floor, sqrt
from statistics import median
from typing import Any

from perf.loop import run_fast

from .load import Load, run
from .processes import cpu_seconds, tree

#: Seconds in which a side closes the connections of its turn.
_SETTLE = 0.02


@dataclass(slots=True)
class _Side:
    load: Load
    #: Of all its processes: of the one that was started, and what it has started.
    pids: list[int]

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


async def _turn(side: _Side) -> tuple[float, float]:
    """Requests per second, and CPU seconds per request."""
    side.signal(signal.SIGCONT)
    before = sum(map(cpu_seconds, side.pids))
    tally = await run(side.load)
    if tally.errors:
        raise RuntimeError(f"{tally.errors} failed requests, the first: {tally.first_error}")
    await asyncio.sleep(_SETTLE)
    used = sum(map(cpu_seconds, side.pids)) - before
    side.signal(signal.SIGSTOP)
    count = len(tally.latencies)
    return count / tally.seconds, used / count


async def _pairs(sides: list[_Side], count: int) -> dict[str, Any]:
    """The second side as a share of the first: ``ratios`` of throughput (sorted), the ``low`` and ``high`` of
    their median, the medians of both sides' figures."""
    found: list[list[tuple[float, float]]] = [[], []]
    try:
        for side in sides:
            side.signal(signal.SIGSTOP)
        for number in range(count):
            # The second of a pair finds the machine as the first left it, so they take turns in that, too.
            for which in (0, 1) if number % 2 else (1, 0):
                found[which].append(await _turn(sides[which]))
    finally:
        for side in sides:
            side.signal(signal.SIGCONT)
    ratios = sorted(second[0] / first[0] for first, second in zip(*found, strict=True))
    low, high = interval(ratios)
    return {
        "ratios": ratios,
        "low": low,
        "high": high,
        "rps": [median(rate for rate, _ in side) for side in found],
        "cpu_us": [median(cost for _, cost in side) * 1e6 for side in found],
    }


def interval(ordered: list[float]) -> tuple[float, float]:
    """Between which of the sorted values the median lies with 95 % confidence: whatever their distribution
    is, each is above the median or below like a coin."""
    count = len(ordered)
    # 1.96 standard deviations of the binomial distribution, of which each is sqrt(count) / 2.
    low = max(floor(count / 2 - 0.98 * sqrt(count)), 0)
    return ordered[low], ordered[count - 1 - low]


def main() -> None:
    spec = json.load(sys.stdin)
    cpu = spec["cpu"]
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})
    gc.disable()
    sides = [_Side(Load(**one["load"]), tree(one["pid"])) for one in spec["sides"]]
    print(json.dumps(run_fast(_pairs(sides, spec["pairs"]))))


if __name__ == "__main__":
    main()
