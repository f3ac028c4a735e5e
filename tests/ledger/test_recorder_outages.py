"""The database is away, the recorder is killed, the workers are killed: no row is lost, none counts twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.ledger.journal import Journal
from gw.ledger.recorder import Recorder
from gw.ledger.spool import boots
from gw.ledger.status import read_status
from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.schema import requests

from ..databases import environment_of, ledger_of
from ..e2e.gateway import KEY, ROOT, clean_environment
from ..services import Postgres
from .records import (
    MEBIBYTE,
    asked,
    new_recorder,
    record_all,
    recorded,
    row,
    spending,
    until,
    write,
)

pytestmark = pytest.mark.anyio
POSTGRES = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@asynccontextmanager
async def recording(ledger: Ledger, spool: Path) -> AsyncIterator[Recorder]:
    recorder = new_recorder(ledger, spool, interval=0.02, timeout=1.0)
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    try:
        yield recorder
    finally:
        stop.set()
        await running


async def all_are_there(engine: AsyncEngine, count: int) -> None:
    """Once each, and their money too."""
    found = await recorded(engine)
    assert set(found) == {f"n{number}" for number in range(count)}
    assert (await spending(engine))[("project:p", "month", "2026-11")] == (1000 * count, 0)


async def count_of(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(requests)) or 0)


def error_of(spool: Path) -> str | None:
    status = read_status(spool)
    return None if status is None else status.error


@POSTGRES
async def test_rows_wait_for_a_server_that_is_stopped(
    database: Ledger, engine: AsyncEngine, spool: Path, postgres_server: Postgres
) -> None:
    journal = Journal(spool, 64 * MEBIBYTE)
    async with recording(database, spool) as recorder:
        write(journal, *(row(f"n{number}") for number in range(100)))
        await until(lambda: recorder.status.rows_total == 100)
        postgres_server.stop()
        try:
            write(journal, *(row(f"n{number}") for number in range(100, 900)))
            await until(lambda: error_of(spool) is not None)
            assert journal.lost == 0
        finally:
            postgres_server.start()
        await until(lambda: recorder.status.rows_total == 900)
        assert error_of(spool) is None
    await all_are_there(engine, 900)
    journal.close()


@POSTGRES
async def test_rows_wait_for_a_server_that_hangs_in_the_middle(
    database: Ledger, engine: AsyncEngine, spool: Path, postgres_server: Postgres
) -> None:
    journal = Journal(spool, 64 * MEBIBYTE)
    names = itertools.count()

    def write_some() -> None:
        write(journal, *(row(f"n{next(names)}") for _ in range(300)))

    async with recording(database, spool) as recorder:
        write_some()
        await until(lambda: recorder.status.rows_total == 300)
        for _ in range(3):
            write_some()
            await asyncio.sleep(random.uniform(0.0, 0.05))  # somewhere within a transaction, or beside it
            with postgres_server.frozen():
                write_some()
                await until(lambda: error_of(spool) is not None)
            await until(lambda: error_of(spool) is None)
        total = next(names)
        await until(lambda: recorder.status.backlog_bytes == 0 and recorder.status.error is None)
    assert len(await recorded(engine)) == total
    await all_are_there(engine, total)
    journal.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_rows_wait_for_a_file_that_another_program_has_locked(
    database: Ledger, engine: AsyncEngine, spool: Path
) -> None:
    assert database.data_dir is not None
    journal = Journal(spool, MEBIBYTE)
    async with recording(database, spool) as recorder:
        other = sqlite3.connect(Path(database.data_dir) / "gateway.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        write(journal, *(row(f"n{number}") for number in range(50)))
        await until(lambda: error_of(spool) == "SQLITE_BUSY")
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: recorder.status.rows_total == 50)
    await all_are_there(engine, 50)
    journal.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes for the database alone."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems may not be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_rows_wait_for_a_disk_that_is_full(full_disk: Path, spool: Path, sqlite_template: Path) -> None:
    (full_disk / "gateway.db").write_bytes(sqlite_template.read_bytes())
    ledger = ledger_of(full_disk)
    filler = full_disk / "filler"
    filler.write_bytes(bytes(1_600_000))
    journal = Journal(spool, 64 * MEBIBYTE)
    write(journal, *(row(f"n{number}") for number in range(3000)))
    async with recording(ledger, spool) as recorder:
        await until(lambda: error_of(spool) == "SQLITE_FULL")
        assert recorder.status.rows_total < 3000
        filler.unlink()
        await until(lambda: recorder.status.rows_total == 3000)
    engine = open_engine(ledger)
    await all_are_there(engine, 3000)
    await engine.dispose()
    journal.close()


async def test_a_recorder_that_is_killed_loses_no_row_and_counts_none_twice(
    database: Ledger, engine: AsyncEngine, tmp_path: Path
) -> None:
    assert database.data_dir is not None
    spool = Path(database.data_dir) / "spool"
    count = 12_000  # most of a second: it is killed long before the end
    journal = Journal(spool, 64 * MEBIBYTE)
    for number in range(count):
        write(journal, asked(f"n{number}"), row(f"n{number}"))
    chance = random.Random(5)
    environment = clean_environment(
        GATEWAY_API_KEY=KEY,
        PYTHONPATH=str(ROOT),
        ENABLE_MULTI_PROJECT="1",
        KEY_PEPPER=KEY,
        **environment_of(database),
    )
    seen = []
    for _ in range(4):
        before = await count_of(engine)
        command = [sys.executable, "-m", "gw.ledger"]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
        # Until it has come to its first transaction.
        while await count_of(engine) == before and before < count:
            await asyncio.sleep(0.02)
        await asyncio.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        seen.append(await count_of(engine))
    assert seen[0] < count  # it was killed in the middle of it
    journal.close()
    await record_all(recorder := new_recorder(database, spool))
    await recorder.close()
    await all_are_there(engine, count)
    assert boots(spool) == []


async def test_a_worker_that_is_killed_loses_no_row(
    database: Ledger, engine: AsyncEngine, spool: Path
) -> None:
    chance = random.Random(7)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.writer", str(spool), str(64 * 1024), f"w{number}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(6)
    ]
    said: dict[int, bytes] = {}
    async with recording(database, spool) as recorder:
        for number, worker in enumerate(workers):
            assert worker.stdout is not None
            started = time.monotonic()
            for_seconds = chance.uniform(0.001, 0.2)
            said[number] = await asyncio.to_thread(os.read, worker.stdout.fileno(), 65536)
            while time.monotonic() < started + for_seconds:
                said[number] += await asyncio.to_thread(os.read, worker.stdout.fileno(), 65536)
            worker.send_signal(signal.SIGKILL)
            said[number] += await asyncio.to_thread(worker.stdout.read)
            worker.stdout.close()
            worker.wait()
        await until(lambda: boots(spool) == [])
        assert recorder.status.rejected == 0
    found = await recorded(engine)
    total = 0
    for number, lines in said.items():
        taken = {line.partition(" ")[2] for line in lines.decode().splitlines()}
        total += len(taken)
        written = {name for name in found if name.startswith(f"w{number}-")}
        assert taken <= written
        assert len(written - taken) <= 1  # taken, and killed before it could say so
    assert total > 100
    for name, one in found.items():
        answered = f"row {name}\n".encode() in said[int(name[1])]
        assert one.aborted == ("killed" if name.endswith("0") else "" if answered else one.aborted)
    money = sum(one.cost_nano for one in found.values())
    assert (await spending(engine))[("project:p", "day", "1970-01-01")] == (money, 0)
