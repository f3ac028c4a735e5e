"""The two sides of the comparison: rows of the database, lines of the upstreams' bill."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Tokens(NamedTuple):
    """Classes are disjoint, but ``reasoning`` is part of ``output``."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    reasoning: int

    def plus(self, other: Tokens) -> Tokens:
        return Tokens(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Tokens(0, 0, 0, 0, 0, 0)


@dataclass(slots=True, frozen=True)
class Row:
    """A row of ``requests``, and what its savings and budgets are not about."""

    request_id: str
    project: str
    dialect: str
    model: str
    provider: str
    status: int
    stream: bool
    tokens: Tokens
    cost_nano: int | None
    attempts: int
    aborted: str
    estimated: frozenset[str]
    upstream_request_id: str


@dataclass(slots=True, frozen=True)
class Billed:
    """A line of the bill: see :class:`perf.simulated.bills.Line`."""

    request_id: str
    tag: str
    path: str
    outcome: str
    tokens: Tokens
    geo: str = ""


def row_of(found: Mapping[str, Any]) -> Row:
    """From the columns of the table."""
    names = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning")
    return Row(
        found["request_id"],
        found["project"],
        found["dialect"],
        found["model"],
        found["provider"],
        found["status"],
        bool(found["stream"]),
        Tokens(*(int(found[f"{name}_tokens"]) for name in names)),
        None if found["cost_nano"] is None else int(found["cost_nano"]),
        found["attempts"],
        found["aborted"],
        frozenset(name for name in found["estimated"].split(",") if name),
        found["upstream_request_id"],
    )


def billed_of(line: Mapping[str, Any]) -> Billed:
    """From a line of ``/_sim/ledger``."""
    tokens = Tokens(*(line[name] for name in Tokens._fields))
    return Billed(line["request_id"], line["tag"], line["path"], line["outcome"], tokens, line["geo"])


_ROWS = "SELECT * FROM requests"
_SPENT = "SELECT account, spent_nano, reserved_nano FROM budget_periods WHERE period = 'month'"


async def read_database(url: str) -> tuple[list[Row], dict[str, tuple[int, int]]]:
    """The rows, and of each account what it has spent and put aside this month. ``url``: a PostgreSQL's, or
    the path of an SQLite file. The database's own drivers, nothing of the gateway's."""
    if url.startswith("postgresql:"):
        import asyncpg  # type: ignore[import-untyped]

        connection = await asyncpg.connect(url, timeout=10, command_timeout=60)
        try:
            rows, spent = await connection.fetch(_ROWS), await connection.fetch(_SPENT)
        finally:
            await connection.close()
    else:
        file = sqlite3.connect(f"file:{Path(url)}?mode=ro", uri=True, timeout=10)
        file.row_factory = sqlite3.Row
        try:
            rows, spent = file.execute(_ROWS).fetchall(), file.execute(_SPENT).fetchall()
        finally:
            file.close()
    accounts: dict[str, tuple[int, int]] = {}
    for account, nano, reserved in spent:
        before = accounts.get(account, (0, 0))  # the soak may have run over the end of a month
        accounts[account] = (before[0] + int(nano), before[1] + int(reserved))
    return [row_of(row) for row in rows], accounts
