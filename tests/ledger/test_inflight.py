"""Requests that a worker is in the middle of, and what becomes of them when it dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.ledger.inflight import NAME, SLOT_BYTES, SLOTS, InFlight, records_in
from gw.ledger.journal import Journal
from gw.ledger.recorder import Recorder
from gw.ledger.row import Asked, encode
from gw.ledger.spool import boots, has_work
from gw.settings import Ledger

from .records import MEBIBYTE, asked, begin, new_recorder, record_all, recorded, row, spending, write
from .test_recorder import reserve

pytestmark = pytest.mark.anyio


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
async def recorder(database: Ledger, spool: Path, anyio_backend: str) -> AsyncIterator[Recorder]:
    made = new_recorder(database, spool)
    yield made
    await made.close()


@pytest.fixture
def journal(spool: Path) -> Journal:
    return Journal(spool, 64 * MEBIBYTE)


def slots_of(spool: Path) -> Path:
    (boot,) = boots(spool)
    return boot / NAME


async def test_a_request_is_open_until_its_worker_is_dead(
    recorder: Recorder, journal: Journal, engine: AsyncEngine, spool: Path
) -> None:
    await reserve(engine, "r1", 500, datetime.now(UTC), "project:p")
    assert min(begin(journal, asked("open", reservation="r1"), asked("other"))) >= 0
    assert not has_work(spool)  # nobody is woken for what may yet be answered
    write(journal, row("b"))
    await record_all(recorder)
    assert set(await recorded(engine)) == {"b"}
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (1000, 500)
    journal.close()
    assert has_work(spool)
    await record_all(recorder)
    found = await recorded(engine)
    assert set(found) == {"b", "open", "other"}
    assert (found["open"].aborted, found["open"].estimated) == ("killed", "input,output")
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (1000 + 100 + 100, 0)
    assert recorder.status.rejected == 0
    assert boots(spool) == []


async def test_a_row_stands_where_its_worker_was_killed_before_the_slot_was_free(
    recorder: Recorder, journal: Journal, engine: AsyncEngine
) -> None:
    begin(journal, asked("a"), asked("b"))
    write(journal, row("a", cost_nano=7))
    journal.close()
    await record_all(recorder)
    found = await recorded(engine)
    assert (found["a"].aborted, found["a"].cost_nano) == ("", 7)
    assert found["b"].aborted == "killed"
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (107, 0)


async def test_a_recorder_that_dies_in_between_records_them_once(
    recorder: Recorder, journal: Journal, database: Ledger, engine: AsyncEngine, spool: Path
) -> None:
    begin(journal, *(asked(f"open{number}") for number in range(20)))
    write(journal, *(row(f"n{number}") for number in range(20)))
    slots = slots_of(spool)
    kept = slots.read_bytes()
    journal.close()
    await record_all(recorder)
    # As if it had been killed after its commit, and before it had tidied up.
    slots.parent.mkdir()
    slots.write_bytes(kept)
    again = new_recorder(database, spool)
    await record_all(again)
    await again.close()
    assert len(await recorded(engine)) == 40
    assert (await spending(engine))[("project:p", "day", "2026-11-23")] == (20 * 1000 + 20 * 100, 0)
    assert boots(spool) == []


async def test_a_batch_that_is_full_leaves_none_behind(
    database: Ledger, journal: Journal, engine: AsyncEngine, spool: Path
) -> None:
    begin(journal, *(asked(f"open{number}") for number in range(25)))
    write(journal, *(row(f"n{number}") for number in range(10)))
    journal.close()
    recorder = new_recorder(database, spool, batch=10)
    await record_all(recorder)
    await recorder.close()
    assert len(await recorded(engine)) == 35
    assert boots(spool) == []


async def test_what_has_no_slot_stands_in_the_log(
    recorder: Recorder, journal: Journal, engine: AsyncEngine
) -> None:
    long = asked("long", requested_model="m" * SLOT_BYTES)
    assert begin(journal, long) == [-1]
    slots = begin(journal, *(asked(f"n{number}") for number in range(SLOTS + 3)))
    assert len(set(slots[:SLOTS])) == SLOTS
    assert slots[SLOTS:] == [-1, -1, -1]
    journal.end(slots[5])
    assert begin(journal, asked("later")) == [slots[5]]
    write(journal, row("n5"), row("long"))
    journal.close()
    await record_all(recorder)
    found = await recorded(engine)
    assert len(found) == SLOTS + 5
    assert {name for name, one in found.items() if not one.aborted} == {"n5", "long"}


async def test_a_torn_slot_is_put_aside_and_holds_up_no_others(
    recorder: Recorder, journal: Journal, engine: AsyncEngine, spool: Path
) -> None:
    first, _ = begin(journal, asked("torn"), asked("whole"))
    with slots_of(spool).open("r+b") as file:
        file.seek(first + 20)
        file.write(b"\0" * 30)
    journal.close()
    await record_all(recorder)
    assert set(await recorded(engine)) == {"whole"}
    assert recorder.status.rejected == 1
    assert boots(spool) == []


async def test_money_that_is_put_aside_for_a_long_request_is_not_given_back(
    database: Ledger, journal: Journal, engine: AsyncEngine, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    await reserve(engine, "dead", 500, long_ago, "project:p")
    await reserve(engine, "under way", 70, long_ago, "project:q")
    monkeypatch.setattr("gw.ledger.recorder.SWEEP_EVERY", 0.0)
    recorder = new_recorder(database, spool)
    begin(journal, asked("long", reservation="under way"))
    write(journal, row("b"))
    await record_all(recorder)
    await recorder.record_once()  # when there is nothing else to do
    found = await spending(engine)
    assert found[("project:p", "day", "2026-11-23")] == (1000, 0)
    assert found[("project:q", "day", "2026-11-23")] == (0, 70)
    await recorder.close()
    journal.close()


async def test_a_disk_without_room_for_slots_takes_them_into_the_log(
    recorder: Recorder, engine: AsyncEngine, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: Path) -> InFlight:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gw.ledger.folder.InFlight", full)
    journal = Journal(spool, 64 * MEBIBYTE)
    assert begin(journal, asked("a"), asked("b")) == [-1, -1]
    write(journal, row("b"))
    journal.close()
    await record_all(recorder)
    found = await recorded(engine)
    assert (found["a"].aborted, found["b"].aborted) == ("killed", "")


names = st.text("abcdefgh", min_size=1, max_size=8)


@given(st.lists(st.tuples(names, st.integers(0, 600), st.booleans()), max_size=40))
@settings(deadline=None)
def test_the_slots_hold_those_that_have_begun_and_not_ended(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("boot")
    slots = InFlight(folder)
    under_way: dict[int, bytes] = {}
    for name, length, ends in steps:
        record = encode(Asked(name, 1.0, "r" * length, "p", "k", "chat", "s", "m", "a", True, 1, None))
        slot = slots.begin(record)
        assert (slot < 0) == (len(record) > SLOT_BYTES - 2)
        if slot >= 0:
            under_way[slot] = record
        if ends and under_way:
            slot, _ = under_way.popitem()
            slots.end(slot)
        assert sorted(records_in(folder / NAME)) == sorted(under_way.values())
    slots.close()
