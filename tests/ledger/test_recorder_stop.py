"""The end of a recorder whose database is away: it waits for it only where there is something to write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gw.ledger import recorder as module
from gw.ledger.journal import Journal
from gw.ledger.recorder import Recorder

from .records import row, write

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

pytestmark = pytest.mark.anyio


async def attempts_after_a_stop(spool: Path) -> int:
    attempts = 0

    def refused() -> AsyncEngine:
        nonlocal attempts
        attempts += 1
        raise ConnectionRefusedError

    stop = asyncio.Event()
    stop.set()
    await Recorder(refused, spool, eager=True, interval=0.01).run(stop)
    return attempts


async def test_nothing_to_write_is_nothing_to_wait_for(tmp_path: Path) -> None:
    assert await attempts_after_a_stop(tmp_path / "spool") == 1


async def test_rows_that_wait_are_tried_until_there_is_no_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_PASS_SECONDS", 0.5)
    journal = Journal(tmp_path / "spool", 2**23)
    write(journal, row("one"))
    journal.close()
    assert await attempts_after_a_stop(tmp_path / "spool") > 1
