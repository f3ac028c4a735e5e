"""Records as workers write them, and what is to be seen of them afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gw.ledger.journal import Journal
from gw.ledger.recorder import Recorder
from gw.ledger.row import Asked, Row, encode, killed
from gw.ledger.spool import boots, segments
from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.schema import budget_periods, requests

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

#: 2026-11-23 23:59:50 UTC
LATE = 1795478390.0
MEBIBYTE = 2**20


def asked(name: str, **more: Any) -> Asked:
    plain = Asked(name, LATE, f"req-{name}", "p", "k", "chat", "sonnet", "m", "anthropic", True, 10, 100)
    return plain._replace(**more)


def row(name: str, **more: Any) -> Row:
    finished = {
        "status": 200,
        "aborted": "",
        "estimated": "",
        "output_tokens": 5,
        "cost_nano": 1000,
        "savings": [],
    }
    return killed(asked(name))._replace(**{**finished, **more})


def write(journal: Journal, *records: Asked | Row) -> None:
    for record in records:
        assert journal.write(encode(record))


def begin(journal: Journal, *records: Asked) -> list[int]:
    return [journal.begin(encode(record)) for record in records]


def new_recorder(ledger: Ledger, spool: Path, **options: Any) -> Recorder:
    """Its engine gives up a statement after half a second."""
    return Recorder(lambda: open_engine(ledger, seconds=0.5), spool, **options)


async def record_all(recorder: Recorder) -> None:
    """Whatever is in the spool, now."""
    await recorder.record_once()
    while recorder.behind:
        await recorder.record_once()


async def recorded(engine: AsyncEngine) -> dict[str, Any]:
    """Every row of the table by its id."""
    async with engine.connect() as connection:
        return {found.id: found for found in await connection.execute(select(requests))}


async def spending(engine: AsyncEngine) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Spent and put aside, by account, period and start."""
    async with engine.connect() as connection:
        found = await connection.execute(select(budget_periods))
        return {(r.account, r.period, r.start): (r.spent_nano, r.reserved_nano) for r in found}


def left_in(spool: Path) -> list[Path]:
    return [segment for boot in boots(spool) for segment in segments(boot)]


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
