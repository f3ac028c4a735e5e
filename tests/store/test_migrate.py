"""Every database comes to the schema of this program, whoever else is at it."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.engine import is_away, open_engine
from gw.store.migrate import HEAD, MigrationError, downgrade, migrate, version_of
from gw.store.schema import metadata

pytestmark = pytest.mark.anyio

#: Forks many processes, which have loaded everything, and lets them go at the same moment.
_AT_ONCE = """
import asyncio, os, sys
import alembic.command, sqlalchemy.dialects.postgresql.asyncpg, sqlalchemy.dialects.sqlite.aiosqlite
from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.migrate import migrate

async def run(ledger):
    engine = open_engine(ledger)
    changed = await migrate(engine)
    await engine.dispose()
    return changed

start, go = os.pipe()
pids = []
for _ in range(int(sys.argv[3])):
    if (pid := os.fork()) == 0:
        os.close(go)
        os.read(start, 1)
        os._exit(10 + asyncio.run(run(Ledger(True, sys.argv[1], sys.argv[2] or None, 0, True, None))))
    pids.append(pid)
os.close(go)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.fixture
async def empty_engine(empty_database: Ledger, anyio_backend: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(empty_database)
    yield opened
    await opened.dispose()


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "gw.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_migrations_and_schema_agree(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return found

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        await connection.execute(text("DROP INDEX ix_requests_at"))
        assert len(await connection.run_sync(differences)) == 1


async def test_an_empty_database_is_brought_to_head_once(empty_engine: AsyncEngine) -> None:
    assert await version_of(empty_engine) is None
    assert await migrate(empty_engine)
    assert await version_of(empty_engine) == HEAD
    assert not await migrate(empty_engine)


async def test_there_and_back_again(engine: AsyncEngine) -> None:
    assert await downgrade(engine, "base")
    assert await version_of(engine) is None
    async with engine.connect() as connection:
        left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert left == ["alembic_version"]
    assert await migrate(engine)
    await test_migrations_and_schema_agree(engine)


def test_ten_processes_migrate_at_once(empty_database: Ledger) -> None:
    folder = empty_database.data_dir or ""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _AT_ONCE, folder, empty_database.database or "", "10"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # One had something to do, and nobody failed.
    assert (done.stdout.strip(), done.stderr) == (str([10] * 9 + [11]), "")


async def test_many_engines_of_one_process_migrate_at_once(empty_database: Ledger) -> None:
    engines = [open_engine(empty_database) for _ in range(4)]
    changed = await asyncio.gather(*(migrate(one) for one in engines))
    assert sorted(changed) == [False, False, False, True]
    for one in engines:
        await one.dispose()


async def test_a_database_that_is_newer_than_this_program_is_left_alone(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MigrationError, match=r"revision 9999.*up to 0001.*newer gateway"):
        await migrate(engine)
    assert await version_of(engine) == "9999"


async def test_a_migration_that_fails_leaves_nothing_behind(empty_engine: AsyncEngine) -> None:
    async with empty_engine.begin() as connection:
        await connection.execute(text("CREATE TABLE savings (id INTEGER)"))  # the last one that is made
    with pytest.raises(Exception, match="already exists"):
        await migrate(empty_engine)
    async with empty_engine.connect() as connection:
        left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert left == ["savings"]
    assert await version_of(empty_engine) is None


async def test_nobody_waits_for_ever_for_somebody_else_who_migrates(empty_engine: AsyncEngine) -> None:
    async with empty_engine.begin() as other:  # SQLite: it may write alone
        if empty_engine.dialect.name == "postgresql":
            lock = int.from_bytes(b"gwstore")
            await other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
        with pytest.raises(Exception) as raised:
            await migrate(empty_engine, patience=0.3)
    assert is_away(raised.value)
    assert await migrate(empty_engine)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_that_is_current_costs_no_alembic(database: Ledger) -> None:
    program = (
        "import asyncio, sys; from gw.settings import Ledger; from gw.store.engine import open_engine;"
        "from gw.store.migrate import migrate;"
        "e = open_engine(Ledger(True, sys.argv[1], None, 0, True, None));"
        "print(asyncio.run(migrate(e)), [m for m in sys.modules if m.startswith(('alembic', 'mako'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, database.data_dir or ""], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False []", done.stderr


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_database_that_cannot_be_written_is_said_to_be_away(database: Ledger) -> None:
    missing = dataclasses.replace(database, database=f"sqlite:///{database.data_dir}/missing/file.db")
    engine = open_engine(missing)
    with pytest.raises(Exception) as raised:
        await migrate(engine)
    assert is_away(raised.value)
    assert not Path(database.data_dir or "", "missing").exists()
    await engine.dispose()
