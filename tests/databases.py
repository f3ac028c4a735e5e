"""Real databases for tests: ``database`` and ``engine`` run each test on SQLite and on PostgreSQL.

``database`` is a ``gw.settings.Ledger``, for tests that start processes; ``engine`` is open already, for
tests of coroutines. Both are empty and at the newest schema, and nobody else's. For one kind alone::

    @pytest.mark.parametrize("database", ["postgresql"], indirect=True)

The server of this run is ``postgres_server``: whoever freezes or stops it lets it go on afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gw.settings import Ledger

from .services import Postgres, running_postgres, statement

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

#: SQLite's and PostgreSQL's database that all others are copied from.
_TEMPLATE = "template"
_numbers = itertools.count(1)


def ledger_of(folder: Path, url: str | None = None) -> Ledger:
    """A ledger with everything in ``folder`` but the database, if that has a ``url``."""
    return Ledger(
        enabled=True,
        data_dir=str(folder),
        database=url,
        spool_max_bytes=64 * 2**20,
        refuse_when_full=True,
        prices_file=None,
    )


def environment_of(ledger: Ledger) -> dict[str, str]:
    """What a process needs to use ``ledger``."""
    assert ledger.data_dir is not None
    found = {"LEDGER_ENABLED": "1", "DATA_DIR": ledger.data_dir}
    return found if ledger.database is None else {**found, "DATABASE_URL": ledger.database}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run."""
    with running_postgres() as service:
        yield service


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that is migrated and empty."""
    statement(postgres_server, f"CREATE DATABASE {_TEMPLATE}", database="postgres")
    _migrate(ledger_of(tmp_path_factory.mktemp("postgres"), _url(postgres_server, _TEMPLATE)))
    return _TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is migrated and empty."""
    folder = tmp_path_factory.mktemp("sqlite")
    _migrate(ledger_of(folder))
    (found,) = folder.glob("*.db")
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A database for this test alone. Its files are in ``tmp_path / "ledger"``."""
    folder = tmp_path / "ledger"
    folder.mkdir(mode=0o700)
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder)
        yield ledger_of(folder)
        return
    template: str = request.getfixturevalue("postgres_template")
    with created(request.getfixturevalue("postgres_server"), template) as url:
        yield ledger_of(folder, url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A database without tables, for this test alone."""
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)
    if request.param == "sqlite":
        yield ledger_of(folder)
        return
    with created(request.getfixturevalue("postgres_server"), "template1") as url:
        yield ledger_of(folder, url)


@pytest.fixture
async def engine(database: Ledger, anyio_backend: str) -> AsyncIterator[AsyncEngine]:
    from gw.store.engine import open_engine

    opened = open_engine(database)
    yield opened
    await opened.dispose()


@contextmanager
def created(server: Postgres, template: str) -> Iterator[str]:
    """The URL of a database that is a copy of ``template``."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    statement(server, f"CREATE DATABASE {name} TEMPLATE {template}", database="postgres")
    yield _url(server, name)
    statement(server, f"DROP DATABASE {name} WITH (FORCE)", database="postgres")


def _url(server: Postgres, name: str) -> str:
    return server.url.rpartition("/")[0] + f"/{name}"


def _migrate(ledger: Ledger) -> None:
    from gw.store.engine import open_engine
    from gw.store.migrate import migrate

    async def run() -> None:
        opened = open_engine(ledger)
        await migrate(opened)
        await opened.dispose()

    asyncio.run(run())
