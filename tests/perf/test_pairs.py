"""Pairs of short turns tell what a side costs, and whoever has no turn does nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from statistics import median
from typing import Any

import pytest

from perf.bench.pairs import interval
from perf.bench.processes import ROOT, Process, free_port
from perf.bench.traffic import to_upstream

#: A simulated upstream; ``busy``: one with a child that never rests.
_SERVE = (
    "import sys; from perf.simulated.__main__ import main; sys.argv[1:] = ['--port', sys.argv[1]]; main()"
)
_BUSY = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while True: pass']); " + _SERVE


def side(code: str) -> tuple[Process, dict[str, Any]]:
    port = free_port()
    process = Process([sys.executable, "-c", code, str(port)])
    process.wait_for(port)
    load = {"host": "127.0.0.1", "port": port, "connections": 4, "seconds": 0.1}
    return process, {"pid": process.pid, "load": load}


def paired(
    first: dict[str, Any], second: dict[str, Any], directive: str = "[sim tokens=1]"
) -> dict[str, Any]:
    for one, words in ((first, "[sim tokens=1]"), (second, directive)):
        one["load"] |= to_upstream(words)
    done = subprocess.run(
        [sys.executable, "-m", "perf.bench.pairs"],
        cwd=ROOT,
        input=json.dumps({"cpu": None, "pairs": 6, "sides": [first, second]}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_side_that_answers_late_has_a_small_share_of_the_others_throughput() -> None:
    fast, first = side(_SERVE)
    slow, second = side(_SERVE)
    try:
        found = paired(first, second, "[sim tokens=1 hold_ms=40]")
        assert len(found["ratios"]) == 6
        assert found["low"] <= median(found["ratios"]) <= found["high"] < 0.5
        assert found["rps"][1] < found["rps"][0]
        assert min(found["cpu_us"]) > 0
        assert paired(second, first, "[sim tokens=1]")["low"] > 0.1  # both go on afterwards
    finally:
        fast.stop()
        slow.stop()


def test_whoever_has_no_turn_is_stopped_with_its_children() -> None:
    quiet, first = side(_SERVE)
    busy, second = side(_BUSY)
    try:
        before, began = busy.cpu_seconds(), time.perf_counter()
        found = paired(first, second)
        used, seconds = busy.cpu_seconds() - before, time.perf_counter() - began
        # Its child never rests, but had only half of the turns; and nobody else was charged for it.
        assert 0.1 < used < 0.9 * seconds
        assert found["cpu_us"][1] > found["cpu_us"][0]
        before = busy.cpu_seconds()
        while busy.cpu_seconds() < before + 0.05:  # it goes on afterwards
            assert time.perf_counter() < began + 60
    finally:
        quiet.stop()
        busy.stop()


def test_the_interval_holds_the_median_nineteen_times_of_twenty() -> None:
    chance = random.Random(1)
    held = 0
    for _ in range(1000):
        low, high = interval(sorted(chance.lognormvariate(0, 1) for _ in range(40)))
        held += low <= 1.0 <= high
    assert 920 <= held <= 990


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_interval_of_a_few_is_all_of_them(count: int) -> None:
    values = [float(number) for number in range(count)]
    low, high = interval(values)
    assert low <= median(values) <= high
    assert (low, high) == (values[0], values[-1])
