"""``python -m perf.bench``: simulated upstream, nginx and the gateway in one run, on the same cores.

What is measured sits alone on one core, the load generator and the upstream share another. They can be
the bottleneck of a fast proxy, so ratios are taken from *capacity*, 1e6 / CPU-µs per request: that is
the stricter comparison, because it credits nginx with throughput that the load could not draw from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .books import ledger
from .processes import ROOT, Process, cpus, free_port, gateway, nginx, program
from .recorder import Recorder
from .report import judge, table
from .traffic import (
    LOCAL_MODEL,
    messages_through_gateway,
    responses_through_gateway,
    through_gateway,
    to_ollama,
    to_upstream,
)

_PLAIN = "[sim tokens=16]"
_BURST = "[sim tokens=200]"


@dataclass(slots=True, frozen=True)
class Scale:
    """How long things run: seconds, requests, streams of one round; how many rounds."""

    rounds: int
    steady: float
    latency: int
    streams: int
    events_s: int
    open_streams: int
    size_requests: float
    #: With and without the ledger: starts of both, pairs of turns for each load, seconds of a turn.
    starts: int
    pairs: int
    turn: float


FULL = Scale(
    rounds=6,
    steady=1.5,
    latency=300,
    streams=1000,
    events_s=4,
    open_streams=1000,
    size_requests=1.0,
    starts=4,
    pairs=30,
    turn=0.25,
)
QUICK = Scale(
    rounds=2,
    steady=1.0,
    latency=200,
    streams=400,
    events_s=2,
    open_streams=1000,
    size_requests=0.25,
    starts=1,
    pairs=8,
    turn=0.25,
)


@dataclass(slots=True, frozen=True)
class Side:
    """One of what is compared. ``fields(directive, stream)`` is what a load sends to it."""

    name: str
    process: Process
    port: int
    fields: Callable[[str, bool], dict[str, Any]]


class Bench:
    """One run. ``fields`` of a load are those of :class:`perf.bench.load.Load`."""

    def __init__(self, scale: Scale, home: Path) -> None:
        self.scale = scale
        self.measured_cpu, self.load_cpu = cpus()
        self.home = home
        self.upstream_port = free_port()
        self.processes: list[Process] = []

    def start(self) -> tuple[Process, int, float, Process | None, int]:
        """The upstream, the gateway (with its start-up time) and nginx."""
        upstream = self._keep(
            Process(
                [sys.executable, "-m", "perf.simulated", "--port", str(self.upstream_port)],
                cpu=self.load_cpu,
            )
        )
        upstream.wait_for(self.upstream_port)
        times: list[float] = []
        for last in (False, False, True):  # the first start compiles byte code; the median is of three
            port = free_port()
            gate = gateway(self.upstream_port, port, self.measured_cpu, self.home)
            self._keep(gate)
            times.append(gate.wait_for(port, "/live"))
            if not last:
                gate.stop()
                self.processes.remove(gate)
        proxy_port = free_port()
        proxy = nginx(self.upstream_port, proxy_port, self.measured_cpu, self.home)
        if proxy is not None:
            self._keep(proxy).wait_for(proxy_port)
        return gate, port, sorted(times)[1], proxy, proxy_port

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()

    def _keep(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def load(self, port: int, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Run the load generator. Raises ``RuntimeError`` when a request fails."""
        spec = {"host": "127.0.0.1", "port": port, "cpu": self.load_cpu, **fields, **more}
        result = program("load", **spec)
        if result["errors"]:
            raise RuntimeError(f"{result['errors']} failed requests, the first: {result['first_error']}")
        return result

    def costed(self, process: Process, port: int, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A load with what it cost the process: CPU µs per request and per event, capacity of a core."""
        before = process.cpu_seconds()
        result = self.load(port, fields, **more)
        used = process.cpu_seconds() - before
        result["cpu_us"] = used / max(result["requests"], 1) * 1e6
        result["event_us"] = used / max(result["events"], 1) * 1e6
        result["capacity"] = 1e6 / result["cpu_us"] if result["cpu_us"] else 0.0
        result["utilisation"] = used / result["seconds"]
        return result

    def compare(
        self, sides: Sequence[Side], say: Callable[[str], None], *, latency: bool = True
    ) -> dict[str, dict[str, Any]]:
        """What is measured on every side alike, in turns; of each side its quietest round counts.

        Where the machine is shared its speed drifts within seconds, by a factor of two on the one
        this was written on: a side measured in one go is lucky or not. What other tenants do only
        ever adds to a cost, so the lowest of several rounds is the nearest to the truth.
        """
        scale = self.scale
        best: dict[str, dict[str, Any]] = {side.name: {} for side in sides}

        def in_turns(name: str, key: str, measure: Callable[[Side], dict[str, Any]]) -> None:
            for turn in range(1, scale.rounds + 1):
                for side in sides:
                    say(f"{name}, round {turn} of {scale.rounds}, {side.name}")
                    found, known = measure(side), best[side.name].get(name)
                    if known is None or found[key] < known[key]:
                        best[side.name][name] = found

        for side in sides:
            self.load(side.port, side.fields(_PLAIN, False), connections=64, seconds=1.0)  # warm-up
            self.load(side.port, side.fields(_BURST, True), connections=32, requests=200)

        def c64(side: Side) -> dict[str, Any]:
            fields = side.fields(_PLAIN, False)
            return self.costed(side.process, side.port, fields, connections=64, seconds=scale.steady)

        def c1(side: Side) -> dict[str, Any]:
            return self.load(side.port, side.fields(_PLAIN, False), requests=scale.latency, warm_up=50)

        def s200(side: Side) -> dict[str, Any]:
            fields = side.fields(_BURST, True)
            return self.costed(side.process, side.port, fields, connections=32, requests=scale.streams)

        def d5(side: Side) -> dict[str, Any]:
            fields = side.fields("[sim tokens=200 delay_ms=5]", True)
            return self.costed(side.process, side.port, fields, connections=32, requests=32)

        in_turns("c64", "cpu_us", c64)
        if latency:
            in_turns("c1", "p50", c1)
        in_turns("s200", "cpu_us", s200)
        in_turns("d5", "event_us", d5)
        return best

    def events(self, process: Process, port: int) -> dict[str, Any]:
        """Many streams at 50 events/s each: nothing coalesces unless the gateway falls behind."""
        tokens = 50 * self.scale.events_s
        paced = through_gateway(f"[sim tokens={tokens} delay_ms=20]", stream=True)
        figures = self.costed(process, port, paced, connections=600, requests=600)
        figures["rate"] = figures["events"] / figures["seconds"]
        # The upstream's pace is the limit below saturation: then what is left of the core counts.
        figures["capacity"] = figures["rate"] / max(min(figures["utilisation"], 1.0), 0.01)
        figures["events_per_read"] = figures["events"] / max(figures["reads"], 1)
        return figures

    def open_streams(self, process: Process, port: int) -> dict[str, Any]:
        """Memory while ``open_streams`` streams of 10 events/s are open."""
        count = self.scale.open_streams
        paced = through_gateway("[sim tokens=40 delay_ms=100]", stream=True)
        seen: list[tuple[float, float | None]] = []
        running = threading.Event()

        def watch() -> None:
            while not running.wait(0.3):
                seen.append(process.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            result = self.costed(process, port, paced, connections=count, requests=count)
        finally:
            running.set()
            watcher.join()
        rss, pss = max(seen, key=lambda pair: pair[1] or pair[0])
        return {
            "streams": count,
            "mb": pss if pss is not None else rss,
            "kind": "PSS (shared pages once)" if pss is not None else "RSS",
            "rss_mb": rss,
            "utilisation": result["utilisation"],
        }

    def sizes(self, process: Process, port: int, say: Callable[[str], None]) -> dict[str, Any]:
        """CPU per request for growing bodies; ``growth``: cost per KB at 2 MB against that at 200 KB."""
        costs: dict[int, float] = {}
        for size, count in ((2, 3000), (20, 1500), (200, 300), (2000, 60)):
            say(f"{size} KB bodies")
            fields = through_gateway(_PLAIN, stream=False, size=size * 1000)
            wanted = max(int(count * self.scale.size_requests), 16)
            self.load(port, fields, connections=4, requests=max(wanted // 8, 4))
            result = self.costed(process, port, fields, connections=4, requests=wanted)
            costs[size] = result["cpu_us"]
        slope = (costs[200] - costs[2]) / 198
        return {"cpu_us": costs, "growth": (costs[2000] - costs[2]) / 1998 / max(slope, 1e-9)}

    def run(self) -> dict[str, Any]:
        """Everything, as one JSON-ready object."""
        began = time.perf_counter()

        def say(what: str) -> None:
            print(f"  {time.perf_counter() - began:5.1f} s  {what}", flush=True)

        say("starting upstream, gateway and nginx")
        gate, port, start_s, proxy, proxy_port = self.start()
        say("upstream alone")
        plain = to_upstream(_PLAIN)
        direct = self.load(self.upstream_port, plain, requests=self.scale.latency, warm_up=50)
        figures: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "direct": direct}
        figures["pinned"] = self.measured_cpu is not None
        sides = [Side("gateway", gate, port, lambda text, stream: through_gateway(text, stream=stream))]
        if proxy is not None:
            sides.insert(0, Side("nginx", proxy, proxy_port, lambda text, stream: to_upstream(text)))
        figures |= self.compare(sides, say)
        sides = [Side("gateway", gate, port, _local)]
        if proxy is not None:
            sides.insert(0, Side("nginx", proxy, proxy_port, lambda text, stream: to_ollama(text)))
        figures["ollama"] = self.compare(sides, lambda what: say(f"Ollama: {what}"), latency=False)
        sides = [Side(name, gate, port, fields) for name, fields in _DIALECTS.items()]
        if proxy is not None:
            sides.insert(0, Side("nginx", proxy, proxy_port, lambda text, stream: to_upstream(text)))
        figures["dialects"] = self.compare(sides, lambda what: say(f"dialects: {what}"), latency=False)
        say("the rows of all loads before are written")
        Recorder(gate.pid, self.home / f"data-{port}").wait()
        figures["ledger"] = ledger(
            self.upstream_port,
            self.home,
            measured_cpu=self.measured_cpu,
            load_cpu=self.load_cpu,
            starts=self.scale.starts,
            pairs=self.scale.pairs,
            turn=self.scale.turn,
            say=say,
        )
        found: list[dict[str, Any]] = []
        for turn in range(1, min(self.scale.rounds, 3) + 1):
            say(f"gateway, events of 600 streams, round {turn}")
            found.append(self.events(gate, port))
        figures["gateway"]["events"] = max(found, key=lambda one: float(one["capacity"]))
        say(f"gateway, {self.scale.open_streams} open streams")
        figures["gateway"]["open_streams"] = self.open_streams(gate, port)
        figures["sizes"] = self.sizes(gate, port, lambda what: say(f"gateway, {what}"))
        figures["gateway"]["start_s"] = start_s
        figures["seconds"] = time.perf_counter() - began
        return figures


def _messages(directive: str, stream: bool) -> dict[str, Any]:
    return messages_through_gateway(directive, stream=stream)


def _responses(directive: str, stream: bool) -> dict[str, Any]:
    return responses_through_gateway(directive, stream=stream)


_DIALECTS = {"messages": _messages, "responses": _responses}


def _local(directive: str, stream: bool) -> dict[str, Any]:
    return through_gateway(directive, stream=stream, model=f"local:{LOCAL_MODEL}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 40 s, noisier")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--output", type=Path, default=ROOT / "perf" / "results" / "latest.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as home:
        bench = Bench(QUICK if arguments.quick else FULL, Path(home))
        try:
            figures = bench.run()
        except RuntimeError as error:
            print(f"\n{error}", file=sys.stderr)
            for process in bench.processes:
                print(f"\n{process.describe()}", file=sys.stderr)
            return 1
        finally:
            bench.stop()
    verdicts = judge(figures)
    print(f"\n{table(figures)}\n")
    if not figures["pinned"]:
        print("  fewer than two cores to pin to: everything shares them, figures are rough\n")
    for target, met, measured in verdicts:
        word = {True: "PASS", False: "FAIL", None: " n/a"}[met]
        print(f"  {word}  {target}: {measured}")
    print("\n  Ratios to nginx are of capacity (1e6 / CPU µs), not of the wall clock: see perf/README.md.")
    figures["targets"] = [{"target": name, "met": met, "measured": text} for name, met, text in verdicts]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(figures, indent=2))
    print(f"  {figures['seconds']:.0f} s; figures in {arguments.output}")
    return int(arguments.strict and any(met is False for _, met, _ in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
