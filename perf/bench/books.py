"""What the ledger costs: the gateway with and without it in turns, on one core.

Two loads: the smallest of requests, where what each request costs weighs most, and one as coding agents send
them (of the recorded sessions that we measure on, the median request is 30 KB in one and 370 KB in another).
A process has luck of its own with where its memory lies: 2 to 3 % from one start to the next
(docs/decisions/007-speed.md). So there are several of each side, and an interval that holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from .processes import free_port, gateway, program
from .recorder import Recorder
from .traffic import through_gateway

#: What is asked, whether streamed, and with a prompt of how many characters.
LOADS = {
    "smallest": ("[sim tokens=16]", False, 1_500),
    "agent": ("[sim tokens=200]", True, 40_000),
}
_CONNECTIONS = 64


def ledger(
    upstream_port: int,
    home: Path,
    *,
    measured_cpu: int | None,
    load_cpu: int | None,
    starts: int,
    pairs: int,
    turn: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """``starts`` times both sides, ``pairs`` pairs of turns of ``turn`` seconds for each load.

    Of each load: ``ratio``, the median of throughput with the ledger over that without it in all pairs;
    ``low`` and ``high``, between which each start's median lies with 95 % confidence; ``rps`` and ``cpu_us``
    per request, without and with it. The recorder leaves a core that is busy to the traffic, so what it
    costs until every row is written counts by itself: ``recorder_us`` of CPU for a row.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in LOADS}
    recorded: list[float] = []
    for start in range(starts):
        sides = []
        try:
            for kept in (False, True):
                port = free_port()
                sides.append((gateway(upstream_port, port, measured_cpu, home, ledger=kept), port))
                sides[-1][0].wait_for(port, "/live")
            recorder = Recorder(sides[1][0].pid, home / f"data-{sides[1][1]}")
            cpu = rows = 0.0
            for name, (directive, stream, size) in LOADS.items():
                fields = through_gateway(directive, stream=stream, size=size)
                say(f"ledger, {name} request: {pairs} pairs of turns, start {start + 1} of {starts}")
                loads = [
                    {"host": "127.0.0.1", "port": port, "connections": _CONNECTIONS, **fields}
                    for _, port in sides
                ]
                for load in loads:
                    program("load", cpu=load_cpu, seconds=1.0, **load)
                recorder.wait()
                if not rows:  # its start is none of their cost
                    cpu, rows = recorder.cpu_seconds(), recorder.rows()
                turns = [
                    {"pid": process.pid, "load": {**load, "seconds": turn}}
                    for (process, _), load in zip(sides, loads, strict=True)
                ]
                found[name].append(program("pairs", cpu=load_cpu, pairs=pairs, sides=turns))
            recorder.wait()
            recorded.append((recorder.cpu_seconds() - cpu) / (recorder.rows() - rows) * 1e6)
        finally:
            for process, _ in sides:
                process.stop()
    return {
        **{name: together(parts) for name, parts in found.items()},
        "starts": starts,
        "recorder_us": median(recorded),
    }


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several starts of both sides as one."""
    return {
        "ratio": median(ratio for part in parts for ratio in part["ratios"]),
        "low": min(part["low"] for part in parts),
        "high": max(part["high"] for part in parts),
        "pairs": sum(len(part["ratios"]) for part in parts),
        **{key: [median(part[key][side] for part in parts) for side in (0, 1)] for key in ("rps", "cpu_us")},
    }
