"""PostgreSQL as it is found: URLs of every host of databases, servers that hang, stop and come back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.engine import is_away, open_engine, reading
from gw.store.postgres import Address
from tests.databases import ledger_of
from tests.services import PASSWORD, Postgres, running_postgres, statement, wheels_postgres

pytestmark = pytest.mark.anyio

only_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


async def one(engine: AsyncEngine, question: str) -> object:
    async with reading(engine) as connection:
        return (await connection.execute(text(question))).scalar()


@only_postgresql
@pytest.mark.parametrize(
    ("query", "application"),
    [
        ("", "claude-gateway"),
        ("?sslmode=prefer&channel_binding=prefer", "claude-gateway"),  # as Neon writes them
        ("?sslmode=disable&connect_timeout=3&application_name=mine", "mine"),
        ("?pgbouncer=true&connection_limit=1&pool_timeout=0&schema=public", "claude-gateway"),  # Prisma's
        ("?options=-c%20search_path%3Dpublic&target_session_attrs=read-write", "claude-gateway"),
        (
            "?keepalives=1&keepalives_idle=30&gssencmode=disable&sslsni=1",
            "claude-gateway",
        ),
    ],
)
async def test_urls_of_every_host_connect(database: Ledger, query: str, application: str) -> None:
    assert database.database is not None
    address = database.database.replace("postgresql://", "postgres://") + query
    engine = open_engine(ledger_of_url(database, address))
    assert await one(engine, "SHOW application_name") == application
    assert await one(engine, "SHOW timezone") == "UTC"
    await engine.dispose()


def ledger_of_url(ledger: Ledger, url: str) -> Ledger:
    return dataclasses.replace(ledger, database=url)


@only_postgresql
async def test_a_password_of_special_characters_connects(database: Ledger, postgres_server: Postgres) -> None:
    password = "a/b@c:d?e#f%g&h=i"
    statement(postgres_server, f"CREATE ROLE special LOGIN PASSWORD '{password}'", database="postgres")
    try:
        assert database.database is not None
        place = database.database.rpartition("@")[2]
        url = f"postgresql://special:{quote(password, safe='')}@{place}"
        engine = open_engine(ledger_of_url(database, url))
        assert await one(engine, "SELECT current_user") == "special"
        await engine.dispose()
    finally:
        statement(postgres_server, "DROP ROLE special", database="postgres")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:canary-secret@host:port/name",
        "postgresql://user:canary-secret@[::1/name",
        "postgresql://user:canary-secret@host/name?connect_timeout=soon",
        "postgresql://user:canary-secret@host/name?novalue",
        "postgresql://user:p#canary@host/name",
        "postgresql://user:1#canary@host/name",
        "postgresql://user:p/canary@host/name",
        "postgresql://user:[canary@host/name",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL cannot be read: postgresql://") as raised:
        Address.parse(url)
    assert "canary" not in str(raised.value) + repr(raised.value.__cause__)


def test_an_address_shows_no_password() -> None:
    assert "canary" not in repr(Address.parse("postgresql://user:canary-secret@host/name"))


@only_postgresql
async def test_a_wrong_password_is_a_database_that_is_away_and_no_secret_is_told(database: Ledger) -> None:
    assert database.database is not None
    engine = open_engine(ledger_of_url(database, database.database.replace(PASSWORD, "canary-wrong")))
    with pytest.raises(Exception) as raised:
        await one(engine, "SELECT 1")
    assert is_away(raised.value)
    assert "canary" not in str(raised.value) + repr(raised.value)
    await engine.dispose()


@only_postgresql
async def test_a_server_that_hangs_costs_no_more_than_a_statement_may(
    database: Ledger, postgres_server: Postgres
) -> None:
    engine = open_engine(database, seconds=1)
    assert await one(engine, "SELECT 1") == 1
    with postgres_server.frozen():
        for _ in range(2):  # on the connection that was there; on a new one
            started = monotonic()
            with pytest.raises(TimeoutError) as raised:
                await one(engine, "SELECT 1")
            assert is_away(raised.value)
            assert monotonic() - started < 10
    assert await one(engine, "SELECT 2") == 2
    await engine.dispose()


@pytest.fixture(scope="module")
def server_of_its_own() -> Iterator[Postgres]:
    """From the wheel, as on a machine without PostgreSQL."""
    with running_postgres(wheels_postgres()) as service:
        yield service


async def test_a_server_that_was_started_again_is_used_without_an_error(
    server_of_its_own: Postgres, tmp_path: Path
) -> None:
    engine = open_engine(ledger_of(tmp_path, server_of_its_own.url), connections=3)
    async with engine.begin() as first, engine.begin() as second:  # two connections for the pool
        await first.execute(text("CREATE TABLE kept (id int)"))
        await second.execute(text("SELECT 1"))
    with server_of_its_own.stopped():
        with pytest.raises(Exception) as raised:
            await one(engine, "SELECT 1")
        assert is_away(raised.value)
    assert await one(engine, "SELECT count(*) FROM kept") == 0
    await engine.dispose()


async def test_connections_that_the_server_has_closed_are_replaced_unseen(
    server_of_its_own: Postgres, tmp_path: Path
) -> None:
    engine = open_engine(ledger_of(tmp_path, server_of_its_own.url))
    pid = await one(engine, "SELECT pg_backend_pid()")
    statement(server_of_its_own, f"SELECT pg_terminate_backend({pid}, 5000)")
    await asyncio.sleep(0.1)  # the event loop has not run meanwhile
    assert await one(engine, "SELECT pg_backend_pid()") != pid
    await engine.dispose()
