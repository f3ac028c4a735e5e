"""Whatever comes as a credential is a value, never a part of a statement: on real databases, with the
server's own log read afterwards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.projects.directory import Directory
from gw.projects.keys import mint
from gw.projects.types import NotFound
from gw.projects.verifier import Verifier
from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.migrate import migrate
from gw.store.schema import metadata
from middleware.auth import AuthMiddleware
from tests.databases import ledger_of
from tests.middleware.asgi import call
from tests.services import Postgres, running_postgres, statement

from .workers import PEPPER, Questions, ask, is_remembered, new_key, until, worker

#: What is tried against doors like this one: comments, stacked statements, unions, waits, encodings.
INJECTIONS = (
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "'; DROP TABLE keys; --",
    "'; DELETE FROM projects; --",
    "1; UPDATE keys SET revoked_at = NULL --",
    "') OR ('1'='1",
    "' UNION SELECT digest FROM keys --",
    "' UNION ALL SELECT NULL,NULL,NULL --",
    "' AND 1=CAST((SELECT version()) AS int) --",
    "'||(SELECT pg_sleep(5))||'",
    "'; SELECT pg_sleep(5); --",
    "' AND (SELECT 1 FROM pg_sleep(5)) IS NOT NULL --",
    "'; COPY keys TO PROGRAM 'id'; --",
    "$$; DROP TABLE keys; $$",
    "\\'; DROP TABLE keys; --",
    "%27%20OR%201=1--",
    "/**/OR/**/1=1",
    "%' OR id LIKE '%",
    "_" * 60,
    "%",
    "$1",
    ":id",
    "?",
    "{0}",
    "%s",
    "%(id)s",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "(SELECT 1)",
    "0x27",
    "E'\\\\x27'",
    "'; ATTACH DATABASE '/tmp/x' AS x; --",
    "'; PRAGMA writable_schema=1; --",
)
TABLES = set(metadata.tables)


@pytest.fixture(scope="module")
def logging_postgres() -> Iterator[Postgres]:
    """A server that writes down every statement that fails."""
    with running_postgres() as server:
        for setting in ("logging_collector = on", "log_min_error_statement = error", "log_directory = 'log'"):
            statement(server, f"ALTER SYSTEM SET {setting}", database="postgres")
        server.stop()
        server.start()
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Ledger, Postgres | None]:
    """A migrated database, and the server whose log is to stay clean."""
    server = request.getfixturevalue("logging_postgres") if request.param == "postgresql" else None
    ledger = ledger_of(tmp_path, None if server is None else server.url)
    asyncio.run(_prepared(ledger))
    return ledger, server


async def _prepared(ledger: Ledger) -> None:
    engine = open_engine(ledger)
    await migrate(engine)
    await engine.dispose()


def errors_in(server: Postgres) -> list[str]:
    """The errors that the server has written down so far."""
    mark = f"mark-{secrets.token_hex(8)}"
    statement(server, f"DO $$ BEGIN RAISE LOG '{mark}'; END $$")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # another process of the server's writes the log
        logs = "".join(file.read_text(errors="replace") for file in (server.data / "log").iterdir())
        if mark in logs:
            return [line for line in logs.splitlines() if "ERROR:" in line or "PANIC:" in line]
        time.sleep(0.02)
    raise AssertionError("the server does not write its log")


class Gate:
    """The verifier behind the door that callers use, and proof that nothing has come of it."""

    def __init__(self, verifier: Verifier, engine: AsyncEngine, questions: Questions) -> None:
        self.verifier = verifier
        self.questions = questions
        self.engine = engine

    async def try_everywhere(self, credential: bytes) -> None:
        for header, value in (
            (b"authorization", b"Bearer " + credential),
            (b"authorization", credential),
            (b"x-api-key", credential),
            (b"api-key", credential),
        ):
            answer = await call(AuthMiddleware(_nobody, verify=self.verifier), headers=[(header, value)])
            assert answer.status == 401, (header, credential, answer.status)

    async def check(self, token: str) -> None:
        assert self.questions.errors == [], "no statement has failed"
        async with self.engine.connect() as connection:
            found = MetaData()
            await connection.run_sync(found.reflect)
            assert set(found.tables) >= TABLES
            counts = {
                name: (
                    await connection.execute(select(func.count()).select_from(metadata.tables[name]))
                ).scalar()
                for name in ("keys", "projects")
            }
        assert counts == {"keys": 1, "projects": 1}
        assert is_remembered(self.verifier, token)


@asynccontextmanager
async def gate(ledger: Ledger) -> AsyncIterator[tuple[Gate, str]]:
    """With one key in the table, which is known."""
    engine = open_engine(ledger)
    async with engine.begin() as connection:
        for name in ("audit_log", "keys", "projects"):
            await connection.execute(metadata.tables[name].delete())
    made = await new_key(Directory(engine, PEPPER))
    questions = Questions(ledger)
    # Nothing is remembered as absent: every well-formed stranger is a question of its own.
    async with worker(questions, absent_seconds=0.0) as verifier:

        async def known() -> bool:
            return await ask(verifier, made.token) is not None and is_remembered(verifier, made.token)

        await until(known)
        yield Gate(verifier, engine, questions), made.token
    await engine.dispose()


def shapes_of(payload: str) -> Iterator[bytes]:
    """``payload`` alone, and wherever a key could carry it."""
    raw = payload.encode("utf-8", "surrogatepass")
    ours = mint(PEPPER)  # well-formed, and not in the table
    yield raw
    yield f"gw_{ours.id}_".encode() + raw
    yield b"gw_" + raw + b"_" + b"0" * 64
    yield b"gw_" + raw[:18].ljust(18, b"0") + b"_" + raw[:64].ljust(64, b"0")
    yield ours.token.encode() + raw
    yield raw + ours.token.encode()
    yield raw + b"\0" + raw
    yield raw * 200


def test_injections_through_every_header_are_401_and_leave_no_trace(
    watched: tuple[Ledger, Postgres | None],
) -> None:
    ledger, server = watched
    before = [] if server is None else errors_in(server)

    async def run() -> None:
        async with gate(ledger) as (door, token):
            for payload in (*INJECTIONS, "é'--", "\ud800", "\0", "\r\nx-admin: 1", "a" * 100_000):
                for credential in shapes_of(payload):
                    await door.try_everywhere(credential)
            await door.try_everywhere(mint(PEPPER).token.encode())
            assert door.questions.for_keys() > 1, "some of them did reach the database"
            await door.check(token)

    asyncio.run(run())
    if server is not None:
        assert errors_in(server) == before


def test_fuzzed_credentials_are_401_and_leave_no_trace(watched: tuple[Ledger, Postgres | None]) -> None:
    ledger, server = watched
    before = [] if server is None else errors_in(server)
    with asyncio.Runner() as runner:
        opened = gate(ledger)
        door, token = runner.run(opened.__aenter__())

        @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
        @given(
            st.binary(max_size=600)
            | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
            | st.text("gw_0123456789abcdefghjkmnpqrstvwxyz'-; ", max_size=100).map(str.encode)
            | st.builds(
                lambda public, secret: f"gw_{public}_{secret}".encode(),
                st.just("") | st.builds(lambda: mint(PEPPER).id),
                st.text("0123456789abcdef'", min_size=60, max_size=66),
            )
        )
        def fuzz(credential: bytes) -> None:
            runner.run(door.try_everywhere(credential))

        try:
            fuzz()
            runner.run(door.check(token))
        finally:
            runner.run(opened.__aexit__(None, None, None))
    if server is not None:
        assert errors_in(server) == before


def test_ids_in_look_ups_and_changes_are_values_too(watched: tuple[Ledger, Postgres | None]) -> None:
    ledger, server = watched
    before = [] if server is None else errors_in(server)

    async def run() -> None:
        async with gate(ledger) as (door, token):
            directory = Directory(door.engine, PEPPER)
            for payload in INJECTIONS:
                for question in (
                    directory.project(payload),
                    directory.key(payload),
                    directory.keys(project=payload),
                    directory.update_project(payload, {}, actor=payload),
                    directory.revoke_key(payload, actor=payload, request_id=payload),
                ):
                    with pytest.raises(NotFound):
                        await question
                assert len((await directory.projects(after=payload)).items) <= 1
            await door.check(token)

    asyncio.run(run())
    if server is not None:
        assert errors_in(server) == before


def test_the_log_would_show_a_statement_made_of_strings(logging_postgres: Postgres, tmp_path: Path) -> None:
    """The proof of the proof: what is looked for above is found when it is there."""

    async def run() -> None:
        engine = open_engine(ledger_of(tmp_path, logging_postgres.url))
        made_of_strings = "SELECT * FROM pg_class WHERE relname = '" + "' OR 1=1)" + "'"
        try:
            with pytest.raises(ProgrammingError):
                async with engine.connect() as connection:
                    await connection.execute(text(made_of_strings))
        finally:
            await engine.dispose()

    before = errors_in(logging_postgres)
    asyncio.run(run())
    assert len(errors_in(logging_postgres)) == len(before) + 1


async def _nobody(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("nobody gets in")
