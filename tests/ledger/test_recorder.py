from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.ledger.journal import Journal
from gw.ledger.recorder import Recorder
from gw.ledger.row import encode
from gw.ledger.spool import boots, framed
from gw.ledger.status import read_status
from gw.settings import Ledger
from gw.store.schema import budget_periods, reservations, savings

from ..databases import ledger_of
from .records import LATE, MEBIBYTE, asked, left_in, new_recorder, record_all, recorded, row, spending, write

NewRecorder = Callable[..., Recorder]
pytestmark = pytest.mark.anyio


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
async def recorder_of(database: Ledger, anyio_backend: str) -> AsyncIterator[Callable[..., Recorder]]:
    """Makes recorders on the database of this test."""
    made = []

    def make(spool: Path, *, ledger: Ledger = database, **options: Any) -> Recorder:
        made.append(new_recorder(ledger, spool, **options))
        return made[-1]

    yield make
    for recorder in made:
        await recorder.close()


async def reserve(engine: AsyncEngine, name: str, nano: int, at: datetime, *accounts: str) -> None:
    slots = [[account, "day", "2026-11-23"] for account in accounts]
    async with engine.begin() as connection:
        await connection.execute(
            insert(reservations),
            {"id": name, "at": at, "nano": nano, "slots": str(slots).replace("'", '"')},
        )
        for account, period, start in slots:
            await connection.execute(
                insert(budget_periods),
                {"account": account, "period": period, "start": start, "reserved_nano": nano},
            )


async def count_of(engine: AsyncEngine, table: Any) -> int:
    async with engine.connect() as connection:
        return len((await connection.execute(select(table))).all())


async def test_a_row_arrives_with_all_that_is_known_of_it(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    whole = row("a", ttft_ms=1.5, cache_hit=True, route="auto", cost_nano=None, savings=[["limits", 7, 70]])
    journal = Journal(spool, MEBIBYTE)
    write(journal, asked("a"), whole, row("b", savings=[["x", 1, 2], ["x", 3, None], ["y", 1, 1]]))
    await record_all(recorder_of(spool))
    found = await recorded(engine)
    assert set(found) == {"a", "b"}
    a = found["a"]
    assert a.at == datetime.fromtimestamp(LATE, UTC)
    assert (a.ttft_ms, a.cache_hit, a.stream, a.route, a.cost_nano) == (1.5, True, True, "auto", None)
    async with engine.connect() as connection:
        saved = (await connection.execute(select(savings))).all()
    assert sorted((s.request, s.layer, s.tokens, s.saved_nano, s.project, s.key_id) for s in saved) == [
        ("a", "limits", 7, 70, "p", "k"),
        ("b", "x", 4, None, "p", "k"),
        ("b", "y", 1, 1, "p", "k"),
    ]
    journal.close()


async def test_spending_is_kept_by_account_and_by_the_day_of_the_request(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(
        journal,
        row("a", cost_nano=1),
        row("b", cost_nano=10, key_id="l"),
        row("c", cost_nano=100, at=LATE + 60),
        row("d", cost_nano=1000, at=LATE + 9 * 86400),
        row("e", cost_nano=None),
        row("f", cost_nano=7, project="q"),
    )
    await record_all(recorder_of(spool))
    assert await spending(engine) == {
        ("project:p", "day", "2026-11-23"): (11, 0),
        ("project:p", "day", "2026-11-24"): (100, 0),
        ("project:p", "day", "2026-12-02"): (1000, 0),
        ("project:p", "month", "2026-11"): (111, 0),
        ("project:p", "month", "2026-12"): (1000, 0),
        ("project:q", "day", "2026-11-23"): (7, 0),
        ("project:q", "month", "2026-11"): (7, 0),
        ("key:k", "day", "2026-11-23"): (8, 0),
        ("key:k", "day", "2026-11-24"): (100, 0),
        ("key:k", "day", "2026-12-02"): (1000, 0),
        ("key:k", "month", "2026-11"): (108, 0),
        ("key:k", "month", "2026-12"): (1000, 0),
        ("key:l", "day", "2026-11-23"): (10, 0),
        ("key:l", "month", "2026-11"): (10, 0),
    }
    journal.close()


async def test_what_is_recorded_again_changes_nothing(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path, tmp_path: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, *(row(f"n{number}", savings=[["limits", 1, 1]]) for number in range(50)), row("n3"))
    journal.close()
    shutil.copytree(spool, tmp_path / "again")
    await record_all(recorder_of(spool))
    before = await spending(engine)
    # Beside an older journal, new rows.
    journal = Journal(tmp_path / "again", MEBIBYTE)
    write(journal, row("new"))
    recorder = recorder_of(tmp_path / "again", batch=7)
    await record_all(recorder)
    while left_in(tmp_path / "again") and len(boots(tmp_path / "again")) > 1:
        await recorder.record_once()
    assert len(await recorded(engine)) == 51
    assert before[("project:p", "day", "2026-11-23")] == (50_000, 0)
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (51_000, 0)
    assert recorder.status.rows_total == 1
    journal.close()


async def test_a_reservation_is_given_back_with_the_row_and_counts_where_the_cost_is_unknown(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    now = datetime.now(UTC)
    await reserve(engine, "r1", 500, now, "project:p")
    await reserve(engine, "r2", 70, now, "project:q")
    await reserve(engine, "r3", 9, now, "project:other")
    journal = Journal(spool, MEBIBYTE)
    write(
        journal,
        row("a", cost_nano=40, reservation="r1"),
        row("b", cost_nano=None, reservation="r2", project="q"),
        row("c", cost_nano=5, reservation="was never made"),
    )
    await record_all(recorder_of(spool))
    found = await spending(engine)
    assert found[("project:p", "day", "2026-11-23")] == (45, 0)
    assert found[("project:q", "day", "2026-11-23")] == (70, 0)
    assert found[("project:q", "month", "2026-11")] == (70, 0)
    assert found[("project:other", "day", "2026-11-23")] == (0, 9)
    assert await count_of(engine, reservations) == 1
    journal.close()


async def test_money_put_aside_by_a_worker_that_died_at_once_is_given_back_after_an_hour(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    await reserve(engine, "dead", 500, now - timedelta(hours=2), "project:p")
    await reserve(engine, "under way", 70, now - timedelta(hours=2), "project:q")
    await reserve(engine, "young", 9, now, "project:r")
    monkeypatch.setattr("gw.ledger.recorder.SWEEP_EVERY", 0.0)
    journal = Journal(spool, MEBIBYTE)
    write(journal, asked("long", reservation="under way"), row("b"))
    recorder = recorder_of(spool)
    await record_all(recorder)
    await recorder.record_once()  # when there is nothing else to do
    found = await spending(engine)
    assert found[("project:p", "day", "2026-11-23")] == (1000, 0)
    assert found[("project:q", "day", "2026-11-23")] == (0, 70)
    assert found[("project:r", "day", "2026-11-23")] == (0, 9)
    journal.close()


async def test_a_request_whose_worker_was_killed_has_a_row_that_says_so(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    await reserve(engine, "r1", 500, datetime.now(UTC), "project:p")
    journal = Journal(spool, 64 * MEBIBYTE, segment_bytes=64 * 1024)
    write(journal, asked("open", reservation="r1"))
    # Its row would be some segments further on, as those of others are.
    write(journal, asked("long"), *(row(f"n{number}") for number in range(600)), row("long", cost_nano=2))
    recorder = recorder_of(spool)
    await record_all(recorder)
    assert "open" not in await recorded(engine)  # its worker lives: it may yet be answered
    journal.close()  # as its end closes the lock
    await record_all(recorder)
    found = await recorded(engine)
    assert len(found) == 602
    assert found["long"].cost_nano == 2
    given_up = found["open"]
    assert (given_up.aborted, given_up.estimated, given_up.status) == ("killed", "input,output", 500)
    assert given_up.cost_nano == 100
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (600 * 1000 + 2 + 100, 0)


async def test_segments_go_when_they_are_done_and_no_sooner(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    journal = Journal(spool, 64 * MEBIBYTE, segment_bytes=64 * 1024)
    write(journal, asked("open"), *(row(f"n{number}") for number in range(900)))
    recorder = recorder_of(spool)
    await record_all(recorder)
    await recorder.record_once()
    kept = {path.name for path in left_in(spool)}
    # The first waits for the row of a request, the last two are in use or will be.
    assert "000001.journal" in kept
    assert "000002.journal" not in kept
    assert len(kept) <= 3
    write(journal, row("open"))
    await record_all(recorder)
    await recorder.record_once()
    assert "000001.journal" not in {path.name for path in left_in(spool)}
    journal.close()
    await record_all(recorder)
    assert boots(spool) == []


async def test_rows_that_the_database_does_not_take_hold_up_no_others(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd: Any = None
    journal = Journal(spool, MEBIBYTE)
    write(
        journal,
        row("before"),
        row("nul", request_id="a\0b", error_code="x" * 5000, project="p\0"),
        row("no project", project=odd),
        row("no time", at=1e300),
        row("text for a number", status="many", stream="perhaps"),
        row("after"),
    )
    assert journal.write(b'{"not": "a record"}')
    assert journal.write(b"[2]")
    assert journal.write(b'[2,"short","of"]')
    write(journal, row("last"))
    recorder = recorder_of(spool)
    await record_all(recorder)
    assert set(await recorded(engine)) == {"before", "nul", "after", "last"}
    assert recorder.status.rejected == 6
    kept = [path.read_bytes() for path in (spool / "rejected").iterdir()]
    assert encode(row("no time", at=1e300)) in kept
    assert len(kept) == 6
    journal.close()
    await record_all(recorder)
    assert boots(spool) == []


async def test_a_record_that_was_put_aside_is_not_counted_again(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    odd: Any = None
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a", project=odd), row("b"))
    for _ in range(2):  # a recorder that was killed starts from the beginning of the segment
        recorder = recorder_of(spool)
        await record_all(recorder)
        assert recorder.status.rejected == (1 if _ == 0 else 0)
    journal.close()


async def test_no_row_is_put_aside_when_the_fault_is_in_the_tables(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, *(row(f"n{number}", savings=[["limits", 1, 1]]) for number in range(5)))
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE savings RENAME COLUMN layer TO renamed"))
    recorder = recorder_of(spool)
    with pytest.raises(Exception, match="layer"):
        await recorder.record_once()
    assert recorder.status.rejected == 0
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE savings RENAME COLUMN renamed TO layer"))
    await record_all(recorder)
    assert len(await recorded(engine)) == 5
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (5000, 0)
    journal.close()


async def test_a_busy_worker_does_not_keep_the_rows_of_others_waiting(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    busy, quiet = Journal(spool, MEBIBYTE), Journal(spool, MEBIBYTE)
    write(quiet, row("quiet"))
    recorder = recorder_of(spool, batch=10)
    for turn in range(3):
        write(busy, *(row(f"busy{turn}-{number}") for number in range(50)))
        await recorder.record_once()
    assert "quiet" in await recorded(engine)
    busy.close()
    quiet.close()


async def test_an_older_or_newer_version_left_its_rows_in_the_spool(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    boot = spool / "1"
    boot.mkdir(parents=True)
    line = encode(row("newer"))
    shorter = encode(row("older")).rpartition(b',"",')[0] + b"]"
    (boot / "000001.journal").write_bytes(framed(line[:-1] + b',"more"]') + framed(shorter))
    await record_all(recorder_of(spool))
    assert set(await recorded(engine)) == {"newer", "older"}


async def test_the_status_tells_how_it_goes_and_goes_on_from_the_last(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"), row("b"))
    assert not journal.write(encode(row("c", route_reason="x" * 100_000)))
    journal.close()
    stop = asyncio.Event()
    stop.set()
    await recorder_of(spool).run(stop)
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("d"))
    journal.close()
    recorder = recorder_of(spool)
    await recorder.run(stop)
    status = read_status(spool)
    assert status is not None
    assert (status.rows_total, status.lost, status.rejected, status.backlog_bytes) == (3, 1, 0, 0)
    assert status.error is None
    assert status.last_commit_at is not None
    assert status.at >= status.last_commit_at


async def test_a_request_of_a_living_worker_is_given_up_after_a_day(
    recorder_of: NewRecorder, engine: AsyncEngine, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(spool, MEBIBYTE)
    write(journal, asked("a"), row("b"))
    recorder = recorder_of(spool)
    await record_all(recorder)
    assert set(await recorded(engine)) == {"b"}
    monkeypatch.setattr("gw.ledger.tail.FORGOTTEN_AFTER", 0.0)
    await record_all(recorder)
    assert set(await recorded(engine)) == {"a", "b"}
    journal.close()


async def test_the_log_says_once_that_rows_wait_and_nothing_secret(
    recorder_of: NewRecorder, spool: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = "postgresql://gateway:canary-password@127.0.0.1:9/gateway"
    journal = Journal(spool, MEBIBYTE)
    write(journal, row("a"))
    recorder = recorder_of(spool, ledger=ledger_of(tmp_path, url), interval=0.01)
    stop = asyncio.Event()
    with caplog.at_level(logging.DEBUG, "gateway"):
        running = asyncio.create_task(recorder.run(stop))
        await asyncio.sleep(0.3)
        status = read_status(spool)
        assert status is not None
        assert status.error == "ConnectionRefusedError"
        assert status.backlog_bytes == len(framed(encode(row("a"))))
        running.cancel()
        await asyncio.wait({running})
    said = [record.getMessage() for record in caplog.records if "wait" in record.getMessage()]
    assert len(said) == 1
    assert "canary" not in caplog.text
    journal.close()
