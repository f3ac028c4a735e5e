"""``python -m tests.clients.report``: run every client, write the tables of README.md and docs/clients.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from .catalog import CLIENTS
from .client import Client, Column

ROOT = Path(__file__).parents[2]
README, DOCUMENT = ROOT / "README.md", ROOT / "docs" / "clients.md"

#: Headers that say nothing of a client: HTTP's own, and the key.
_COMMON = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "sec-fetch-mode",
        "user-agent",
        "x-api-key",
    }
)


def table(clients: Sequence[Client], held: Iterable[str] | None = None) -> str:
    """The table of what clients do. ``held``: the cells that a run has proven; without it, all."""
    proven = None if held is None else set(held)
    head = ("client", "version", "asks", "chat", "tools", "thinking", "cache markers")
    rows = [
        (c.name, c.version, f"`{c.endpoint}`", *(_cell(c, column, proven) for column in get_args(Column)))
        for c in clients
    ]
    return _markdown([head, ("---",) * 3 + (":-:",) * 4, *rows])


def _cell(client: Client, column: Column, proven: set[str] | None) -> str:
    if proven is not None and f"{client.slug} {column}" not in proven:
        return "**fails**"
    return str(getattr(client.shows, column))


def sent(clients: Sequence[Client], seen: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of what clients send when they edit a project; ``seen`` is by slug."""
    rows = [
        (client.name, _code(seen[client.slug]["fields"]), _code(seen[client.slug]["headers"]))
        for client in clients
        if client.slug in seen
    ]
    return _markdown([("client", "body", "headers of its own"), ("---",) * 3, *rows])


def described(headers: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
    """What ``sent`` shows of one request."""
    number = {name: f"{name} ({len(body[name])})" for name in ("tools",) if body.get(name)}
    known = {name: f"{name}: {body[name]}" for name in ("max_tokens", "temperature") if name in body}
    fields = [{**number, **known}.get(name, name) for name in sorted(body)]
    return {"fields": fields, "headers": sorted(headers.keys() - _COMMON - _stainless(headers))}


def _stainless(headers: Mapping[str, str]) -> set[str]:
    """What the official SDKs tell of the machine."""
    return {name for name in headers if name.startswith("x-stainless-")}


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the comments ``<!-- name:begin -->`` and ``<!-- name:end -->``."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no {begin} … {end}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def between(text: str, name: str) -> str:
    """What stands between these comments."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"\n<!-- {name}:end -->")[0]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "none"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


class Outcomes:
    """A pytest plugin that collects what the tests have recorded of themselves."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.seen: dict[str, dict[str, Any]] = {}
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)
        if report.when != "call" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == "client":
                self.held.append(str(value))
            elif name == "sends":
                slug, _, told = str(value).partition(" ")
                self.seen[slug] = json.loads(told)


def main() -> int:
    """Run, and write the tables if every client was there; the exit code of the run."""
    outcomes = Outcomes()
    ignored = "ignore::pytest.PytestAssertRewriteWarning"
    folder = str(Path(__file__).parent)
    # The last table may be of another version: this run is what makes it right.
    command = ["-q", "-p", "no:cacheprovider", "-W", ignored, "--durations=10", folder]
    code = int(pytest.main([*command, f"--ignore={folder}/test_table.py"], [outcomes]))
    if outcomes.skipped:
        print(f"no table was written: {len(outcomes.skipped)} tests were skipped", file=sys.stderr)
        return code or 1
    if code:
        print("no table was written: not every test has passed.", file=sys.stderr)
        return code
    proven = table(CLIENTS, outcomes.held)
    README.write_text(replaced(README.read_text(), "clients", proven))
    document = replaced(DOCUMENT.read_text(), "clients", proven)
    DOCUMENT.write_text(replaced(document, "sent", sent(CLIENTS, outcomes.seen)))
    print(f"{README.name}, {DOCUMENT.name}: {len(CLIENTS)} clients, {len(outcomes.held)} cells")
    return code


if __name__ == "__main__":
    sys.exit(main())
