"""What everybody relies on who uses the database: nothing waits for ever, nothing fails for a text."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.engine import clean_text, data_dir, is_away, open_engine, reading, reopen
from gw.store.schema import directory_version, projects, reservations
from tests.databases import ledger_of
from tests.store.rows import AT

pytestmark = pytest.mark.anyio

only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)

#: A statement that no database finishes.
_ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(3600)",
}


@only_sqlite
async def test_sqlite_is_set_up_for_many_readers_and_one_writer(engine: AsyncEngine) -> None:
    found = {}
    async with engine.connect() as connection:
        for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"):
            found[pragma] = (await connection.execute(text(f"PRAGMA {pragma}"))).scalar()
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 5000}


async def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    engine = open_engine(ledger_of(tmp_path / "new"))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE one (id INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    await engine.dispose()
    assert modes == {"gateway.db": 0o600, "gateway.db-wal": 0o600, "gateway.db-shm": 0o600}


async def test_sqlite_by_url_is_the_file_that_it_names(tmp_path: Path) -> None:
    engine = open_engine(ledger_of(tmp_path, f"sqlite:///{tmp_path}/other name.db"))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE one (id INTEGER)"))
    await engine.dispose()
    assert (tmp_path / "other name.db").exists()
    assert not (tmp_path / "gateway.db").exists()


async def test_transactions_that_read_and_then_write_never_collide(database: Ledger) -> None:
    engines = [open_engine(database), open_engine(database)]  # as two processes have
    async with engines[0].begin() as connection:
        await connection.execute(insert(directory_version).values(id=1, version=0))

    async def count_up(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            chosen = select(directory_version.c.version).with_for_update()  # SQLite knows no such words
            version = (await connection.execute(chosen)).scalar_one()
            await asyncio.sleep(0.001)
            await connection.execute(update(directory_version).values(version=version + 1))

    await asyncio.gather(*(count_up(engines[i % 2]) for i in range(40)))
    async with reading(engines[0]) as connection:
        assert (await connection.execute(select(directory_version.c.version))).scalar() == 40
    for engine in engines:
        await engine.dispose()


async def test_readers_wait_for_no_writer_and_see_one_state(engine: AsyncEngine) -> None:
    one = {"id": 1, "version": 1}
    async with reading(engine) as reader:
        assert (await reader.execute(select(directory_version))).all() == []
        async with engine.begin() as writer:
            await writer.execute(insert(directory_version).values(one))
            async with reading(engine) as other:
                assert (await other.execute(select(directory_version))).all() == []
        assert (await reader.execute(select(directory_version))).all() == []
    async with reading(engine) as reader:
        assert (await reader.execute(select(directory_version))).all() == [(1, 1)]


@only_postgresql
async def test_nobody_writes_while_reading(engine: AsyncEngine) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        async with reading(engine) as connection:
            await connection.execute(insert(directory_version).values(id=1, version=1))
    async with engine.begin() as connection:  # the same connection, which may write again
        await connection.execute(insert(directory_version).values(id=1, version=1))


async def test_a_statement_that_takes_too_long_is_stopped(database: Ledger) -> None:
    engine = open_engine(database, connections=1, seconds=1)
    started = monotonic()
    with pytest.raises(TimeoutError) as raised:
        async with reading(engine) as connection:
            await connection.execute(text(_ENDLESS[engine.dialect.name]))
    assert monotonic() - started < 10  # and not an hour
    assert is_away(raised.value)
    async with reading(engine) as connection:  # the pool's only one: it is free again, or made anew
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    if engine.dialect.name == "postgresql":
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE :like"
        async with reading(engine) as connection:
            assert (await connection.execute(text(active), {"like": "%sleep(3600)"})).scalar() == 0
    await engine.dispose()


async def test_waiting_for_a_connection_has_an_end(database: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gw.store.engine.POOL_SECONDS", 0.1)
    engine = open_engine(database, connections=1)
    async with engine.connect():
        with pytest.raises(Exception) as raised:
            async with engine.connect():
                pass
    assert is_away(raised.value)
    await engine.dispose()


async def test_another_engine_on_the_same_database_may_take_its_time(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(directory_version).values(id=1, version=7))
    other = reopen(engine, seconds=60)
    async with reading(other) as connection:
        assert (await connection.execute(select(directory_version.c.version))).scalar() == 7
    await other.dispose()


async def test_what_is_wrong_is_not_taken_for_a_database_that_is_away(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(directory_version).values(id=1, version=1))
        with pytest.raises(IntegrityError) as twice:
            await connection.execute(insert(directory_version).values(id=1, version=1))
        await connection.rollback()
    assert not is_away(twice.value)
    assert not is_away(ValueError("cursor"))


@pytest.mark.parametrize("number", [2**63, 2**70])
async def test_a_number_that_no_column_holds_is_not_taken_for_a_database_that_is_away(
    engine: AsyncEngine, number: int
) -> None:
    async with engine.connect() as connection:
        with pytest.raises(Exception) as raised:
            await connection.execute(insert(directory_version).values(id=1, version=number))
    assert not is_away(raised.value)


async def test_a_file_that_is_no_database_is_away(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"no database" * 1000)
    engine = open_engine(ledger_of(tmp_path))
    with pytest.raises(Exception) as raised:
        async with reading(engine) as connection:
            await connection.execute(select(directory_version))
    assert is_away(raised.value)
    await engine.dispose()


async def test_a_statement_that_nobody_waits_for_is_stopped(database: Ledger) -> None:
    engine = open_engine(database, connections=1, seconds=3600)

    async def read() -> None:
        async with reading(engine) as connection:
            await connection.execute(text(_ENDLESS[engine.dialect.name]))

    task = asyncio.create_task(read())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with reading(engine) as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()


@only_postgresql
async def test_a_mistake_in_a_query_is_not_taken_for_a_database_that_is_away(engine: AsyncEngine) -> None:
    with pytest.raises(ProgrammingError) as wrong:
        async with reading(engine) as connection:
            await connection.execute(text("SELEKT 1"))
    assert not is_away(wrong.value)


async def test_a_database_without_tables_is_away(empty_database: Ledger) -> None:
    engine = open_engine(empty_database)
    with pytest.raises(Exception) as raised:
        async with reading(engine) as connection:
            await connection.execute(select(directory_version))
    assert is_away(raised.value)
    await engine.dispose()


async def test_no_text_makes_a_row_fail(engine: AsyncEngine) -> None:
    odd = "a\0b\ud800c\udfff\U0001f600" + "x" * 300
    row = {"id": odd, "name": odd, "created_at": AT, "updated_at": AT}
    async with engine.begin() as connection:
        await connection.execute(insert(projects).values(row))
    async with reading(engine) as connection:
        chosen = select(projects.c.id, projects.c.name)
        assert (await connection.execute(chosen)).one() == (clean_text(odd, 256), clean_text(odd))
        assert len((await connection.execute(chosen.where(projects.c.id == odd))).all()) == 1


@given(st.text(st.characters(codec=None)), st.none() | st.integers(0, 5))
def test_cleaning_changes_what_cannot_be_kept_and_nothing_else(given_text: str, length: int | None) -> None:
    cleaned = clean_text(given_text, length)
    cut = given_text[:length]
    assert len(cleaned) == len(cut)
    for was, is_now in zip(cut, cleaned, strict=True):
        assert is_now == ("\ufffd" if was == "\0" or "\ud800" <= was <= "\udfff" else was)


async def test_times_without_a_zone_are_refused(engine: AsyncEngine) -> None:
    row = {"id": "1", "at": AT.replace(tzinfo=None), "nano": 1, "slots": "[]"}
    with pytest.raises(Exception, match="carry their zone"):
        async with engine.begin() as connection:
            await connection.execute(insert(reservations).values(row))


def test_the_default_is_a_file_in_the_data_directory(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "data")
    engine = open_engine(ledger)
    assert engine.url.database == str(data_dir(ledger) / "gateway.db")
