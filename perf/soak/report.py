"""What a soak has found, for the terminal and for ``docs/soak.md``."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from .rows import Row, Tokens
from .run import Report

_ABOUT = """\
Mixed traffic (chat completions, messages, responses, completions, embeddings; Claude, Bedrock, Ollama and
a server of OpenAI's API; whole and streamed, with tools and prompt caches; several keys) with clients
that leave at random bytes, every fault that the simulated upstreams know, a database that goes away
twice, a worker that is killed, and a SIGTERM. Then the database is compared with the upstreams' own bill,
request by request: one row for each, every class of tokens, the cost (computed a second time from prices
of the soak's own), and what the budgets believe was spent. Rows whose provider could not tell its usage
any more carry a flag."""
#: Lines of a list that is meant to be empty.
_SHOWN = 40


def text(report: Report, *, flagged: int = 20) -> str:
    """For the terminal: figures, differences, and the first ``flagged`` rows with estimates."""
    found, plan = report.findings, report.plan
    lines = [f"{plan.kind}: {plan.requests} requests in {report.seconds:.0f} s, outages of {plan.outage:g} s"]
    lines += [f"  {name:<34}{value}" for name, value in _figures(report)]
    lines += [f"  {line}" for line in report.events]
    lines.append("  " + ", ".join(f"{name}: {count}" for name, count in sorted(report.statuses.items())))
    if found.flagged:
        lines.append(f"  rows with estimates, {min(flagged, len(found.flagged))} of {len(found.flagged)}:")
        lines += [f"    {_flagged(*entry)}" for entry in found.flagged[:flagged]]
    lines += [f"  DIFFERENCE {what}" for what in found.differences[:_SHOWN]]
    if len(found.differences) > _SHOWN:
        lines.append(f"  … and {len(found.differences) - _SHOWN} more")
    return "\n".join(lines)


def document(reports: Sequence[Report]) -> str:
    """The page. ``reports`` are those of one machine."""
    today = datetime.now(UTC).date().isoformat()
    lines = [
        "# The ledger under faults",
        "",
        _ABOUT,
        "",
        f"Written by `python -m perf.soak --write` on {today}, on {_machine()}.",
    ]
    for report in reports:
        found = report.findings
        lines += ["", f"## {report.plan.kind}", "", "| | |", "|---|--:|"]
        lines += [f"| {name} | {value} |" for name, value in _figures(report)]
        lines += ["", *(f"- {' '.join(event.split())}" for event in report.events)]
        lines += ["", "Rows with estimates, by what went wrong:", ""]
        lines += ["| what | rows | estimated | input: recorded / billed | output: the same | median error |"]
        lines += ["|---|--:|---|--:|--:|--:|", *_by_cause(report)]
        if found.differences:
            lines += ["", "**Differences:**", "", *(f"- {what}" for what in found.differences[:_SHOWN])]
    return "\n".join([*lines, ""])


def _figures(report: Report) -> list[tuple[str, str]]:
    found = report.findings
    return [
        ("requests", f"{report.plan.requests:,}"),
        ("requests of the upstreams", f"{found.lines:,}"),
        ("rows", f"{found.rows:,}"),
        ("rows without estimates", f"{found.exact:,}"),
        ("their tokens, recorded", f"{_sum(found.recorded):,}"),
        ("their tokens, billed", f"{_sum(found.billed):,}"),
        ("rows with estimates", f"{len(found.flagged):,}"),
        ("dollars, as computed twice", f"{found.cost_nano / 1e9:,.6f}"),
        ("differences", f"{len(found.differences):,}"),
    ]


def _sum(tokens: Tokens) -> int:
    return sum(tokens) - tokens.reasoning  # which is part of the output


def _flagged(row: Row, used: Tokens, why: str) -> str:
    differences = [
        f"{name} {mine} / {theirs}"
        for name, mine, theirs in zip(Tokens._fields, row.tokens, used, strict=True)
        if mine != theirs
    ]
    said = ", ".join(differences) or "as billed"
    return f"{row.request_id} {row.model} {why}: {','.join(sorted(row.estimated))} estimated; {said}"


def _by_cause(report: Report) -> list[str]:
    groups: dict[tuple[str, str], list[tuple[Tokens, Tokens]]] = defaultdict(list)
    for row, used, why in report.findings.flagged:
        why = "worker killed" if row.aborted == "killed" else why
        groups[why, ", ".join(sorted(row.estimated))].append((row.tokens, used))
    lines = []
    for (why, estimated), pairs in sorted(groups.items()):
        sums = [(_prompt(mine), _prompt(theirs), mine.output, theirs.output) for mine, theirs in pairs]
        told, billed, said, paid = (sum(column) for column in zip(*sums, strict=True))
        error = median(abs(mine.output - theirs.output) for mine, theirs in pairs)
        shown = f"{told:,} / {billed:,} | {said:,} / {paid:,} | {error:g}"
        lines.append(f"| {why} | {len(pairs):,} | {estimated} | {shown} |")
    return lines


def _prompt(tokens: Tokens) -> int:
    return tokens.input + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h


def _machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
