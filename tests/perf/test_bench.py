"""The benchmark counts what it says it counts."""

from __future__ import annotations

import sys
import time
from typing import Any

import orjson
import pytest

from perf.bench.books import together
from perf.bench.load import Load, percentile, run
from perf.bench.processes import Process, free_port
from perf.bench.report import judge, table
from perf.bench.traffic import (
    messages_through_gateway,
    responses_through_gateway,
    through_gateway,
    to_ollama,
    to_upstream,
)
from perf.simulated import SimulatedUpstream, check

pytestmark = pytest.mark.anyio


def load(sim: SimulatedUpstream, directive: str, **more: Any) -> Load:
    return Load(host=sim.host, port=sim.port, **to_upstream(directive), **more)


async def test_the_load_counts_requests_events_and_reads() -> None:
    async with SimulatedUpstream() as sim:
        burst = await run(load(sim, "[sim tokens=20]", connections=3, requests=9))
        paced = await run(load(sim, "[sim tokens=20 delay_ms=2]", connections=2, requests=2))
        assert len(sim.requests) == 11
    assert len(burst.latencies) == 9
    # message_start, block start, ping, block stop, message_delta, message_stop and the deltas
    assert burst.events == 9 * 26
    assert burst.reads == 9
    assert paced.events == 2 * 26
    assert paced.reads > 26
    assert burst.errors == paced.errors == 0


async def test_lines_are_events_where_the_load_says_so() -> None:
    async with SimulatedUpstream() as sim:
        lines = await run(Load(host=sim.host, port=sim.port, **to_ollama("[sim tokens=20]"), requests=2))
    assert lines.errors == 0, lines.first_error
    assert lines.events == 2 * 21  # the tokens, and the line that ends the answer


async def test_the_load_leaves_out_its_warm_up_and_ends_in_time() -> None:
    async with SimulatedUpstream() as sim:
        warmed = await run(load(sim, "[sim tokens=1]", requests=10, warm_up=4))
        timed = await run(load(sim, "[sim tokens=1]", connections=2, seconds=0.1))
    assert len(warmed.latencies) == 6
    assert len(timed.latencies) > 2
    assert timed.seconds < 2


async def test_a_failed_request_is_counted_and_shown() -> None:
    async with SimulatedUpstream() as sim:
        sim.script({"status": 529}, {"fault": "drop"})
        refused = await run(load(sim, "hello", requests=1))
        dropped = await run(load(sim, "hello", requests=1))
    assert (refused.errors, refused.latencies) == (1, [])
    assert refused.first_error.startswith("529")
    assert dropped.errors == 1
    assert "connection lost" in dropped.first_error


@pytest.mark.parametrize("size", [1500, 20_000, 300_000])
def test_the_traffic_is_what_the_api_accepts_and_as_large_as_it_says(size: int) -> None:
    fields = to_upstream("[sim tokens=1]", size=size)
    assert check(orjson.loads(fields["body"]), fields["headers"]) is None
    assert abs(len(fields["body"]) - size) < size * 0.1 + 400
    turns = orjson.loads(through_gateway("[sim tokens=1]", stream=True, size=size)["body"])["messages"]
    assert turns[1:] == orjson.loads(fields["body"])["messages"]


async def test_every_dialect_asks_the_same_of_the_upstream() -> None:
    messages = messages_through_gateway("[sim tokens=1]", stream=False)
    body = orjson.loads(messages["body"])
    assert body == {**orjson.loads(to_upstream("[sim tokens=1]")["body"]), "stream": False}
    assert check(body, to_upstream("[sim tokens=1]")["headers"]) is None
    responses = orjson.loads(responses_through_gateway("[sim tokens=1]", stream=True)["body"])
    assert responses["input"] == body["messages"]
    assert responses["max_output_tokens"] == body["max_tokens"]


def test_a_process_is_charged_for_itself_and_its_children() -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    burn += "time.sleep(30)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    process = Process([sys.executable, "-c", parent])
    try:
        for _ in range(400):
            if process.cpu_seconds() >= 0.2:
                break
            time.sleep(0.02)
        assert process.cpu_seconds() >= 0.2
        assert process.memory()[0] > 5
    finally:
        process.stop()


def test_a_process_that_ends_at_once_says_what_it_printed() -> None:
    process = Process([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
    try:
        with pytest.raises(RuntimeError, match=r"ended with 3(.|\n)*the reason"):
            process.wait_for(free_port())
    finally:
        process.stop()


def test_percentiles_are_of_the_sorted_list() -> None:
    values = [float(value) for value in range(100)]
    assert (percentile(values, 50), percentile(values, 99), percentile([], 50)) == (50, 99, 0)


def figures(cost: float) -> dict[str, Any]:
    """A run in which the gateway costs ``cost`` times 100 µs, and nginx 20 µs."""

    def side(micros: float) -> dict[str, Any]:
        one = {"cpu_us": micros, "capacity": 1e6 / micros, "event_us": micros, "rps": 1, "p50": 1, "p99": 1}
        return {"c64": one, "c1": one, "s200": one, "d5": one}

    gate = side(100 * cost)
    gate["events"] = {"capacity": 40_000 / cost, "rate": 1.0, "utilisation": 0.5}
    gate["open_streams"] = {"streams": 1000, "mb": 100 * cost, "kind": "RSS", "rss_mb": 100 * cost}
    gate["start_s"] = 0.5 * cost
    sizes = {"cpu_us": {2: 1.0, 2000: 2.0}, "growth": cost}
    local = {"gateway": side(100 * cost), "nginx": side(50)}
    run = {"gateway": gate, "nginx": side(50), "ollama": local, "sizes": sizes}
    dialects = {"messages": side(70 * cost), "responses": side(130 * cost), "nginx": side(50)}
    one = {"ratio": 0.97 / cost, "low": 0.9, "high": 1.0, "rps": [100.0, 97.0], "cpu_us": [100.0, 103.0]}
    books = {"smallest": one, "agent": one, "recorder_us": 30.0}
    return {**run, "dialects": dialects, "ledger": books, "direct": {"p50": 1.0, "p99": 1.0}}


def test_targets_are_met_or_missed_by_their_figures() -> None:
    assert all(met for _, met, _ in judge(figures(1)))
    assert not any(met for _, met, _ in judge(figures(5)))


def test_without_nginx_its_targets_are_neither_met_nor_missed() -> None:
    alone = {name: value for name, value in figures(1).items() if name != "nginx"}
    alone["ollama"] = {"gateway": alone["ollama"]["gateway"]}
    del alone["dialects"]["nginx"]
    assert [met for _, met, _ in judge(alone)].count(None) == 4
    assert "gateway" in table(alone)


def test_starts_of_a_side_are_one_figure_and_the_interval_holds_for_all_of_them() -> None:
    def part(ratios: list[float], rps: list[float]) -> dict[str, Any]:
        return {"ratios": ratios, "low": ratios[0], "high": ratios[-1], "rps": rps, "cpu_us": rps}

    parts = [part([0.9, 0.92], [100, 91]), part([0.95, 0.97, 0.99], [120, 118]), part([0.94], [110, 103])]
    found = together(parts)
    assert (found["ratio"], found["low"], found["high"], found["pairs"]) == (0.945, 0.9, 0.99, 6)
    assert found["rps"] == [110, 103]
