"""The recorder as a process: started, supervised and stopped beside the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from gw.ledger.__main__ import other_pace
from gw.ledger.journal import Journal
from gw.ledger.process import EASE, HURRY, RecorderProcess
from gw.ledger.spool import boots, lock
from gw.ledger.status import read_status
from gw.ledger.task import RecorderTask

from ..databases import ledger_of
from ..e2e.gateway import ADMIN_KEY, KEY, ROOT, clean_environment, running_gateway
from .records import MEBIBYTE, asked, row, until, wait_until, write


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a recorder that is started from here."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_API_KEY", KEY)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("DATABASE_URL", "ENABLE_MULTI_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "spool"


@pytest.fixture
def process(spool: Path) -> Iterator[RecorderProcess]:
    started = RecorderProcess(first_pause=0.05)
    started.start()
    yield started
    started.stop()


def rows_in(folder: Path) -> list[str]:
    file = folder / "gateway.db"
    if not file.exists():
        return []
    with closing(connect(f"file:{file}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT name FROM sqlite_master WHERE name = 'requests'").fetchall()
        return [name for (name,) in database.execute("SELECT id FROM requests")] if found else []


def test_it_records_what_workers_write_and_the_rest_when_it_is_stopped(
    process: RecorderProcess, spool: Path, tmp_path: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    wait_until(lambda: rows_in(tmp_path) == ["a"])
    write(journal, row("b"), asked("c"))
    journal.close()
    process.stop()
    assert sorted(rows_in(tmp_path)) == ["a", "b", "c"]
    assert boots(spool) == []


def test_it_has_written_all_when_it_is_stopped_before_it_has_begun(
    process: RecorderProcess, spool: Path, tmp_path: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    journal.close()
    wait_until(lambda: read_status(spool) is not None or rows_in(tmp_path))
    process.stop()
    assert rows_in(tmp_path) == ["a"]


def test_one_that_is_killed_is_started_again(process: RecorderProcess, spool: Path, tmp_path: Path) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    wait_until(lambda: rows_in(tmp_path) == ["a"])
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    write(journal, row("b"))
    wait_until(lambda: len(rows_in(tmp_path)) == 2)
    assert process.pid not in (None, first)
    journal.close()


def test_control_c_in_a_terminal_does_not_end_it(
    process: RecorderProcess, spool: Path, tmp_path: Path
) -> None:
    wait_until(lambda: read_status(spool) is not None)
    pid = process.pid
    assert pid is not None
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    wait_until(lambda: rows_in(tmp_path) == ["a"])
    assert process.pid == pid
    journal.close()


def test_it_hurries_when_too_much_waits_until_little_does() -> None:
    assert [other_pace(share, hurried=False) for share in (0.0, 0.2, 0.3, 1.0)] == [0, 0, HURRY, HURRY]
    assert [other_pace(share, hurried=True) for share in (1.0, 0.3, 0.2, 0.01)] == [0, 0, 0, EASE]


def test_who_wants_to_hurry_is_started_so_and_at_ease_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\necho "$3." >> {starts}\n'
        f"case $(wc -l < {starts}) in 1) exit {HURRY};; 2) exit {EASE};; *) exec sleep 60;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    process = RecorderProcess(first_pause=0.05)
    process.start()
    try:
        wait_until(lambda: starts.exists() and len(starts.read_text().split()) == 3)
    finally:
        process.stop()
    assert starts.read_text().split() == [".", "hurry.", "."]


def test_two_never_record_at_once(process: RecorderProcess, spool: Path, tmp_path: Path) -> None:
    wait_until(lambda: read_status(spool) is not None)
    assert lock(spool) is None
    other = RecorderProcess()
    other.start()
    try:
        journal = Journal(spool, MEBIBYTE)
        write(journal, row("a"))
        wait_until(lambda: rows_in(tmp_path) == ["a"])
        assert other.pid is not None  # it waits for its turn
        process.stop()
        write(journal, row("b"))
        wait_until(lambda: len(rows_in(tmp_path)) == 2)
        journal.close()
    finally:
        other.stop()
    held = lock(spool)
    assert held is not None
    os.close(held)


PARENT = """
import sys, time
from gw.ledger.process import RecorderProcess
process = RecorderProcess()
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


def test_it_ends_when_its_parent_is_killed_and_writes_what_is_there(spool: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.stdout.close()
    wait_until(lambda: read_status(spool) is not None)
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    journal.close()
    parent.kill()
    parent.wait()
    wait_until(lambda: not runs(pid))
    assert rows_in(tmp_path) == ["a"]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_tables_are_there_at_once_where_projects_have_keys(tmp_path: Path) -> None:
    environment = clean_environment(
        GATEWAY_API_KEY=KEY, DATA_DIR=str(tmp_path), ENABLE_MULTI_PROJECT="1", PYTHONPATH=str(ROOT)
    )
    command = [sys.executable, "-m", "gw.ledger"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:

        def migrated() -> bool:
            if not (tmp_path / "gateway.db").exists():
                return False
            with closing(connect(tmp_path / "gateway.db")) as database:
                return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchall())

        wait_until(migrated)
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.e2e
def test_gw_serve_has_one_for_all_its_workers_and_takes_it_along(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings = {"GATEWAY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY, "WEB_CONCURRENCY": "2"}
    with running_gateway(LEDGER_ENABLED="1", DATA_DIR=str(tmp_path), **settings) as gateway:
        wait_until(lambda: read_status(spool) is not None)
        assert lock(spool) is None
        journal = Journal(spool, 256 * MEBIBYTE)
        write(journal, row("a"))
        wait_until(lambda: "a" in rows_in(tmp_path))
        write(journal, row("b"))
        journal.close()
        assert gateway.stop() == 0
    assert sorted(rows_in(tmp_path)) == ["a", "b"]
    held = lock(spool)
    assert held is not None
    os.close(held)


@pytest.mark.e2e
def test_a_gateway_without_a_ledger_writes_nothing(tmp_path: Path) -> None:
    with running_gateway(GATEWAY_API_KEY=KEY, DATA_DIR=str(tmp_path), LEDGER_ENABLED="0") as gateway:
        assert gateway.stop() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_under_another_server_a_task_of_the_application_records(spool: Path, tmp_path: Path) -> None:
    first, second = RecorderTask(ledger_of(tmp_path)), RecorderTask(ledger_of(tmp_path))
    await first.start()
    await second.start()
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    await until(lambda: rows_in(tmp_path) == ["a"])
    await asyncio.wait_for(second.stop(), 5)  # it has never had its turn
    write(journal, row("b"))
    journal.close()
    await first.stop()
    assert sorted(rows_in(tmp_path)) == ["a", "b"]
    assert boots(spool) == []
