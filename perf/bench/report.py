"""The targets of the project, and how a run compares with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The size at which "linear in body size" is judged: cost per KB at the largest body against the one
#: before it. Below 200 KB the fixed cost of a request hides the slope.
LINEAR_FACTOR = 1.5


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def judge(figures: Mapping[str, Any]) -> list[tuple[str, bool | None, str]]:
    """``(target, met, what was measured)`` for each target; met is None where nginx is needed and missing."""
    gate, proxy = figures["gateway"], figures.get("nginx")
    lines: list[tuple[str, bool | None, str]] = [
        (
            "CPU per translated non-stream request, c=64: at most 300 µs",
            gate["c64"]["cpu_us"] <= 300,
            f"{gate['c64']['cpu_us']:.0f} µs",
        )
    ]
    if proxy is None:
        lines += [(name, None, "nginx is not installed") for name in _AGAINST_NGINX]
    else:
        share = ratio(gate["c64"]["capacity"], proxy["c64"]["capacity"])
        lines.append((_AGAINST_NGINX[0], share >= 0.12, f"{share:.3f}x"))
        share = ratio(gate["s200"]["capacity"], proxy["s200"]["capacity"])
        lines.append((_AGAINST_NGINX[1], share >= 0.25, f"{share:.2f}x"))
        share = ratio(gate["d5"]["event_us"], proxy["d5"]["event_us"])
        lines.append((_AGAINST_NGINX[2], share <= 2.4, f"{share:.2f}x"))
    lines += _judge_ollama(figures["ollama"])
    for label, load in _LEDGER:
        books = figures["ledger"][load]
        measured = f"{books['ratio']:.3f}x without it ({books['low']:.3f} to {books['high']:.3f})"
        lines.append(
            (f"the ledger costs less than 5 % of throughput: {label}", books["ratio"] > 0.95, measured)
        )
    events = gate["events"]
    lines.append(
        (
            "individually arriving events: at least 30,000 /s on one core",
            events["capacity"] >= 30_000,
            f"{events['capacity']:,.0f} /s ({events['rate']:,.0f} /s took {events['utilisation']:.0%} of it)",
        )
    )
    memory = gate["open_streams"]
    lines.append(
        (
            f"{memory['streams']:,} open streams: under 150 MB",
            memory["mb"] < 150,
            f"{memory['mb']:.0f} MB {memory['kind']}, RSS summed {memory['rss_mb']:.0f} MB",
        )
    )
    lines.append(("start-up: under 1 s", gate["start_s"] < 1, f"{gate['start_s']:.2f} s"))
    growth = figures["sizes"]["growth"]
    lines.append(
        (
            f"cost linear in body size: µs per KB at 2 MB at most {LINEAR_FACTOR}x that at 200 KB",
            growth <= LINEAR_FACTOR,
            f"{growth:.2f}x",
        )
    )
    return lines


_LEDGER = (("smallest request, c=64", "smallest"), ("an agent's request, c=64", "agent"))


def _judge_ollama(figures: Mapping[str, Any]) -> list[tuple[str, bool | None, str]]:
    gate, proxy = figures["gateway"], figures.get("nginx")
    cost = gate["c64"]["cpu_us"]
    lines: list[tuple[str, bool | None, str]] = [
        ("Ollama: CPU per translated request, c=64: at most 350 µs", cost <= 350, f"{cost:.0f} µs")
    ]
    name = "Ollama: individually arriving events: at most 2.5x nginx's CPU per event"
    if proxy is None:
        return [*lines, (name, None, "nginx is not installed")]
    share = ratio(gate["d5"]["event_us"], proxy["d5"]["event_us"])
    return [*lines, (name, share <= 2.5, f"{share:.2f}x")]


_AGAINST_NGINX = (
    "throughput, non-stream c=64: at least 0.12x nginx",
    "200 coalesced deltas: at least 0.25x nginx's throughput",
    "individually arriving events: at most 2.4x nginx's CPU per event",
)


_OLLAMA_ROWS = (
    ("Ollama: non-stream c=64: requests/s on the wall clock", "c64", "rps", ",.0f", 1.0),
    ("Ollama: non-stream c=64: CPU µs per request", "c64", "cpu_us", ",.1f", 1.0),
    ("Ollama: s200: CPU µs per stream", "s200", "cpu_us", ",.0f", 1.0),
    ("Ollama: d5: CPU µs per event", "d5", "event_us", ",.1f", 1.0),
)


#: Without targets of their own: what a dialect costs, beside nginx in the same turns.
_DIALECT_ROWS = (
    ("non-stream c=64: CPU µs per request", "c64", "cpu_us", ",.1f"),
    ("s200: CPU µs per stream", "s200", "cpu_us", ",.0f"),
    ("d5: CPU µs per event", "d5", "event_us", ",.1f"),
)


def table(figures: Mapping[str, Any]) -> str:
    """What was measured, a column each for the gateway and nginx."""
    gate, proxy = figures["gateway"], figures.get("nginx") or {}
    direct = figures["direct"]

    def cell(side: Mapping[str, Any], run: str, field: str, form: str, scale: float = 1) -> str:
        return format(side[run][field] * scale, form) if run in side else "-"

    rows: list[tuple[str, str, str]] = [("", "gateway", "nginx")]
    local = figures["ollama"]
    for label, run, field, form, scale in (
        ("non-stream c=64: requests/s on the wall clock", "c64", "rps", ",.0f", 1.0),
        ("non-stream c=64: CPU µs per request", "c64", "cpu_us", ",.1f", 1.0),
        ("non-stream c=64: capacity of one core (1e6/µs)", "c64", "capacity", ",.0f", 1.0),
        ("non-stream c=64: p99 ms", "c64", "p99", ",.2f", 1000.0),
        ("c=1: p50 ms", "c1", "p50", ",.3f", 1000.0),
        ("c=1: p99 ms", "c1", "p99", ",.3f", 1000.0),
        ("s200 (200 deltas in one write): streams/s", "s200", "rps", ",.0f", 1.0),
        ("s200: CPU µs per stream", "s200", "cpu_us", ",.0f", 1.0),
        ("d5 (200 deltas 5 ms apart, 32 streams): CPU µs per event", "d5", "event_us", ",.1f", 1.0),
    ):
        rows.append((label, cell(gate, run, field, form, scale), cell(proxy, run, field, form, scale)))
    for label, run, field, form, scale in _OLLAMA_ROWS:
        near, far = local["gateway"], local.get("nginx") or {}
        rows.append((label, cell(near, run, field, form, scale), cell(far, run, field, form, scale)))
    dialects = figures["dialects"]
    far = dialects.get("nginx") or {}
    for dialect in ("messages", "responses"):
        for label, run, field, form in _DIALECT_ROWS:
            near = cell(dialects[dialect], run, field, form)
            rows.append((f"/v1/{dialect}: {label}", near, cell(far, run, field, form)))
    for rank in ("p50", "p99"):
        left, right = (
            f"{(side['c1'][rank] - direct[rank]) * 1000:.3f}" if "c1" in side else "-"
            for side in (gate, proxy)
        )
        rows.append(
            (f"c=1: added {rank} ms over the upstream alone ({direct[rank] * 1000:.3f})", left, right)
        )
    books = figures["ledger"]
    for what, load in _LEDGER:
        for label, field in (("requests/s on the wall clock", "rps"), ("CPU µs per request", "cpu_us")):
            off, on = books[load][field]
            rows.append((f"with the ledger, and without it: {what}: {label}", f"{on:,.0f}", f"{off:,.0f}"))
    rows.append(
        ("the recorder, until the row is in SQLite: CPU µs per row", f"{books['recorder_us']:,.0f}", "-")
    )
    for size, cost in figures["sizes"]["cpu_us"].items():
        rows.append((f"body of {size:,} KB: CPU µs per request", f"{cost:,.0f}", "-"))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"  {name:<{width}}  {left:>10}  {right:>10}" for name, left, right in rows)
