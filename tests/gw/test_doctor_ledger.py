"""The doctor's look at the ledger: where it is, what waits in it, who records, whose tables they are."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import column, table, update

from gw.doctor import Finding, examine
from gw.ledger.journal import Journal
from gw.ledger.spool import REJECTED, spool_dir
from gw.ledger.status import Status, write_status
from gw.settings import Ledger
from gw.store.place import _temporary
from tests.databases import environment_of, ledger_of

from .doctor_answers import KEY

MIB = 2**20


def found(ledger: Ledger, **environ: str) -> list[Finding]:
    report = examine({"GATEWAY_API_KEY": KEY, **environment_of(ledger), **environ}, only=["ledger"])
    (section,) = [s for s in report.sections if s.name == "ledger"]
    return section.findings


def one(findings: list[Finding], status: str) -> Finding:
    (finding,) = [f for f in findings if f.status == status]
    return finding


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return ledger_of(tmp_path / "data")


def spool_with(ledger: Ledger, **status: Any) -> Path:
    spool = spool_dir(ledger)
    spool.mkdir(exist_ok=True)
    write_status(spool, Status(**{"at": time.time(), **status}))
    return spool


def test_a_ledger_that_is_off_is_not_looked_at(ledger: Ledger) -> None:
    (finding,) = found(ledger, LEDGER_ENABLED="0")
    assert finding.status == "skip"


def test_before_the_first_start_everything_is_ready_and_nothing_is_made(ledger: Ledger) -> None:
    findings = found(ledger)
    assert {f.status for f in findings} == {"ok", "skip"}
    assert any("is made when the first request is recorded" in f.text for f in findings)
    assert list(Path(ledger.data_dir or "").iterdir()) == []


def test_the_tables_of_this_version_are_known(database: Ledger) -> None:
    assert any("has the tables of this version" in f.text for f in found(database))


@pytest.mark.parametrize("version", ["0000", "9999"])
@pytest.mark.anyio
async def test_tables_of_another_version_are_told_with_what_to_do(
    engine: Any, database: Ledger, version: str
) -> None:
    versions = table("alembic_version", column("version_num"))
    async with engine.begin() as connection:
        await connection.execute(update(versions).values(version_num=version))
    findings = await asyncio.to_thread(found, database)
    finding = one(findings, "warn" if version == "0000" else "fail")
    assert version in finding.text
    assert ("gw migrate" if version == "0000" else "Run the version") in finding.fix


def test_a_file_that_is_no_database_is_told(ledger: Ledger) -> None:
    data = Path(ledger.data_dir or "")
    data.mkdir()
    (data / "gateway.db").write_bytes(b"no database" * 1000)
    assert "cannot be read" in one(found(ledger), "fail").text


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = one(found(ledger_of(tmp_path / "file" / "data")), "fail")
    assert "DATA_DIR" in finding.text
    assert finding.fix


def test_a_place_beside_temporary_files_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null")
    report = examine({"GATEWAY_API_KEY": KEY}, only=["ledger"])
    finding = one(report.sections[0].findings, "warn")
    assert str(_temporary()) in finding.text
    assert "DATA_DIR" in finding.fix


def test_a_recorder_that_runs_is_well(ledger: Ledger) -> None:
    spool_with(ledger, rows_total=12_345, last_commit_at=time.time())
    assert any("The recorder runs; 12,345 rows" in f.text for f in found(ledger))


def test_a_database_that_takes_no_rows_is_a_failure_that_says_what_waits(ledger: Ledger) -> None:
    spool_with(ledger, error="OperationalError", backlog_bytes=4096)
    assert "OperationalError" in one(found(ledger), "fail").text
    assert "4,096 bytes wait" in one(found(ledger), "fail").text


def test_workers_without_a_recorder_are_a_failure_and_no_gateway_at_all_is_none(ledger: Ledger) -> None:
    spool = spool_with(ledger, at=time.time() - 3600, backlog_bytes=100)
    assert "No gateway runs here, and 100 bytes" in one(found(ledger), "warn").text
    journal = Journal(spool, 8 * MIB)
    try:
        assert "1 workers write to the spool" in one(found(ledger), "fail").text
    finally:
        journal.close()


def test_a_clock_that_was_set_back_is_told(ledger: Ledger) -> None:
    spool_with(ledger, at=time.time() + 3600)
    assert "in the future" in one(found(ledger), "fail").text


@pytest.mark.parametrize(("segments", "status"), [(1, "ok"), (3, "warn"), (4, "fail")])
def test_a_spool_that_fills_up_is_told_before_it_is_full(ledger: Ledger, segments: int, status: str) -> None:
    boot = spool_with(ledger) / "00000000000000000001-1-aaaaaaaa"
    boot.mkdir()
    for number in range(segments):
        with (boot / f"{number + 1:06d}.journal").open("wb") as file:
            file.truncate(MIB)
    findings = found(ledger, SPOOL_MAX_BYTES=str(4 * MIB))
    assert [f.status for f in findings if "spool" in f.text.lower()][:1] == [status]


def test_what_was_lost_or_put_aside_is_told(ledger: Ledger) -> None:
    spool = spool_with(ledger, lost=7)
    (spool / REJECTED).mkdir()
    (spool / REJECTED / "a.json").write_text("{}")
    texts = [f.text for f in found(ledger) if f.status == "warn"]
    assert any(text.startswith("1 records are put aside") for text in texts)
    assert any(text.startswith("7 records were lost") for text in texts)
