"""While the database is away: known keys work for five minutes, unknown ones are 503, nobody is told 401."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.projects.directory import Directory
from gw.projects.keys import mint
from gw.projects.verifier import CannotTell, Verifier
from gw.settings import Ledger
from gw.store.engine import open_engine
from middleware._state import Principal
from middleware.auth import AuthMiddleware
from tests.middleware.asgi import call
from tests.services import Postgres

from .workers import (
    GATEWAY_KEY,
    PEPPER,
    WHO,
    Questions,
    ask,
    is_remembered,
    new_key,
    other_secret,
    until,
    worker,
)

pytestmark = pytest.mark.anyio

STRANGER = mint(b"the-pepper-of-another-gateway-000").token


@contextmanager
def away(server: Postgres, how: str) -> Iterator[None]:
    with server.stopped() if how == "stopped" else server.frozen():
        yield


@asynccontextmanager
async def without_tables(engine: AsyncEngine) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE directory_version RENAME TO elsewhere"))
        await connection.execute(text("ALTER TABLE keys RENAME TO elsewhere_too"))
    try:
        yield
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE elsewhere RENAME TO directory_version"))
            await connection.execute(text("ALTER TABLE elsewhere_too RENAME TO keys"))


async def status(verifier: Verifier, credential: str) -> int:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with asyncio.timeout(20):
        answer = await call(AuthMiddleware(app, verify=verifier), headers={"x-api-key": credential})
    if answer.status == 503:
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "auth_unavailable"
    return answer.status


async def known(verifier: Verifier, directory: Directory) -> str:
    made = await new_key(directory)
    assert await ask(verifier, made.token) is not None
    await until(lambda: is_remembered(verifier, made.token))
    return made.token


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_known_keys_work_and_unknown_ones_are_503_while_postgresql_is_away(
    how: str, engine: AsyncEngine, database: Ledger, postgres_server: Postgres
) -> None:
    directory = Directory(engine, PEPPER)
    async with worker(Questions(database)) as verifier:
        token = await known(verifier, directory)
        unknown = (await new_key(directory)).token
        with away(postgres_server, how):
            for _ in range(3):
                assert isinstance(verifier(token), Principal), "without a wait"
                assert isinstance(verifier(GATEWAY_KEY), Principal)
                assert await status(verifier, unknown) == 503
            await until(lambda: verifier._away)
            assert isinstance(verifier(token), Principal)
            assert await status(verifier, unknown) == 503
            # These can be told for sure, so they are.
            for credential in (STRANGER, other_secret(token), "sk-ant-api03-somebody-elses"):
                assert await status(verifier, credential) == 401

        async def back() -> bool:
            return await status(verifier, unknown) == 200

        await until(back, seconds=20)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_worker_that_starts_without_postgresql_serves_the_gateways_key_and_then_all(
    engine: AsyncEngine, database: Ledger, postgres_server: Postgres
) -> None:
    token = (await new_key(Directory(engine, PEPPER))).token
    with postgres_server.stopped():
        verifier = Verifier(Questions(database), PEPPER, GATEWAY_KEY, poll_seconds=0.05)
        verifier.start()
        assert await status(verifier, GATEWAY_KEY) == 200
        assert await status(verifier, token) == 503
        assert await status(verifier, STRANGER) == 401

    async def back() -> bool:
        return await status(verifier, token) == 200

    await until(back, seconds=20)
    await verifier.stop()


async def test_a_key_that_was_revoked_meanwhile_is_refused_when_the_database_is_back(
    engine: AsyncEngine, database: Ledger
) -> None:
    directory = Directory(engine, PEPPER)
    async with worker(Questions(database)) as verifier:
        token = await known(verifier, directory)
        async with without_tables(engine):
            await until(lambda: verifier._away)
            assert isinstance(verifier(token), Principal)
        # The worker cannot see it yet: its next look, and no other, will.
        await directory.revoke_key(token[3:21], actor=WHO)

        async def refused() -> bool:
            return await status(verifier, token) == 401

        await until(refused)


async def test_known_keys_are_good_for_five_minutes_and_no_longer(
    engine: AsyncEngine, database: Ledger
) -> None:
    later = [0.0]
    directory = Directory(engine, PEPPER)
    async with worker(Questions(database), monotonic=lambda: time.monotonic() + later[0]) as verifier:
        token = await known(verifier, directory)
        async with without_tables(engine):
            await until(lambda: verifier._away)
            later[0] = 290
            assert await status(verifier, token) == 200
            later[0] = 310
            assert await status(verifier, token) == 503
            assert await status(verifier, other_secret(token)) == 503, "it cannot be told any more"
            assert await status(verifier, GATEWAY_KEY) == 200

        async def back() -> bool:
            return await status(verifier, token) == 200

        await until(back)


async def test_many_who_wait_for_a_database_that_is_away_are_not_all_asked_for(
    engine: AsyncEngine, database: Ledger
) -> None:
    directory = Directory(engine, PEPPER)
    token = (await new_key(directory)).token
    questions = Questions(database)
    async with worker(questions) as verifier:
        async with without_tables(engine):
            await until(lambda: verifier._away)
            before = questions.for_keys()
            found = await asyncio.gather(*(ask(verifier, token) for _ in range(50)), return_exceptions=True)
            assert all(isinstance(one, CannotTell) for one in found)
            assert questions.for_keys() == before, "the look at the version is the only probe"
        await until(lambda: not verifier._away)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_worker_stops_in_time_while_postgresql_hangs(
    engine: AsyncEngine, database: Ledger, postgres_server: Postgres
) -> None:
    token = (await new_key(Directory(engine, PEPPER))).token
    verifier = Verifier(Questions(database), PEPPER, GATEWAY_KEY, poll_seconds=0.05, lookup_seconds=0.5)
    verifier.start()
    await until(lambda: verifier._version > 0)
    with postgres_server.frozen():
        assert await status(verifier, token) == 503
        async with asyncio.timeout(10):
            await verifier.stop()
    with pytest.raises(CannotTell):
        await ask(verifier, token)


def test_a_verifier_without_a_gateway_key_is_not_made(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="no gateway key"):
        Verifier(lambda: open_engine(Ledger(True, str(tmp_path), None, 2**20, True, None)), PEPPER, "")
