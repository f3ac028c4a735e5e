"""The admin API while its database is away, hangs or is locked: 503, soon, and never a 500."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.admin_server import create_admin_app
from gw.routes.admin import store as admin_store
from gw.routes.admin.store import AT_ONCE, AdminStore, Busy, Late
from gw.settings import Ledger
from tests.databases import ledger_of
from tests.e2e.gateway import ROOT
from tests.services import Postgres

from .admin import Gateway, running, settings_of

pytestmark = pytest.mark.anyio
POSTGRES = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
CALLS = (
    ("GET", "/admin/usage", None),
    ("GET", "/admin/audit", None),
    ("GET", "/admin/projects", None),
    ("POST", "/admin/projects", {"id": "team-a"}),
    ("DELETE", "/admin/keys/some-id", None),
)


async def refused_for_now(gateway: Gateway) -> None:
    """Every call is told to come again, within the patience that the API has."""
    began = time.monotonic()
    answers = await asyncio.gather(*(gateway.ask(*call) for call in CALLS))
    assert time.monotonic() - began < 2 * admin_store.PATIENCE_SECONDS
    for answer in answers:
        assert (answer.status, answer.json()["error"]["code"]) == (503, "database_unavailable"), answer.body
        assert int(answer.headers["retry-after"]) > 0
        assert b"gateway:" not in answer.body  # nothing of the URL
        assert b"127.0.0.1" not in answer.body
    # What needs no database goes on.
    assert (await gateway.get("/admin/metrics")).status == 200
    assert (await gateway.get("/admin/ledger")).status == 200


async def works(gateway: Gateway) -> None:
    with anyio.fail_after(15):
        while (await gateway.get("/admin/usage")).status != 200:
            await anyio.sleep(0.1)
    assert (await gateway.get("/admin/projects")).status == 200


@POSTGRES
async def test_a_database_that_hangs(database: Ledger, postgres_server: Postgres) -> None:
    settings = settings_of(database)
    async with running(create_admin_app(settings)) as one, running(create_admin_app(settings)) as other:
        connected, new = Gateway(one), Gateway(other)
        await works(connected)
        with postgres_server.frozen():
            await asyncio.gather(refused_for_now(connected), refused_for_now(new))
        await works(connected)
        await works(new)


async def test_a_database_that_nobody_serves(tmp_path: Path) -> None:
    url = "postgresql://gateway:a-secret-password@127.0.0.1:1/gateway"
    async with running(create_admin_app(settings_of(ledger_of(tmp_path, url)))) as app:
        await refused_for_now(Gateway(app))


async def test_a_database_without_tables_gets_them(tmp_path: Path) -> None:
    """The recorder would make them only when there is something to record."""
    async with running(create_admin_app(settings_of(ledger_of(tmp_path)))) as app:
        gateway = Gateway(app)
        answers = await asyncio.gather(*(gateway.get("/admin/usage") for _ in range(3)))
        assert [(answer.status, answer.json()["rows"]) for answer in answers] == [(200, [])] * 3


@SQLITE
async def test_a_database_of_a_newer_gateway_is_left_alone(database: Ledger, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    async with running(create_admin_app(settings_of(database))) as app:
        answer = await Gateway(app).get("/admin/usage")
        assert (answer.status, answer.json()["error"]["code"]) == (503, "database_unavailable")
        assert "newer" in answer.json()["error"]["message"]


@SQLITE
async def test_a_file_that_somebody_else_holds_locked(database: Ledger) -> None:
    """Reports go on; changes are told to come again."""
    assert database.data_dir is not None
    (file,) = Path(database.data_dir).glob("*.db")
    async with running(create_admin_app(settings_of(database))) as app:
        gateway = Gateway(app)
        await works(gateway)
        holder = sqlite3.connect(file, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            assert (await gateway.get("/admin/usage")).status == 200
            answer = await gateway.ask("POST", "/admin/projects", {"id": "team-a"})
            assert (answer.status, answer.json()["error"]["code"]) == (503, "database_unavailable")
        finally:
            holder.close()
        await gateway.made("/admin/projects", {"id": "team-a"})


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = replace(ledger_of(tmp_path), data_dir=str(tmp_path / "file"))
    async with running(create_admin_app(settings_of(ledger, ENABLE_MULTI_PROJECT="0"))) as app:
        answer = await Gateway(app).get("/admin/usage")
        assert answer.status == 503
        assert "DATA_DIR" in answer.json()["error"]["message"]


@SQLITE
async def test_late_work_is_left_behind_and_gives_its_place_back(
    database: Ledger, anyio_backend: str
) -> None:
    store = AdminStore(settings_of(database), patience=2.0)
    await store.run(lambda _: anyio.sleep(0))  # opened
    quick = AdminStore(settings_of(database), patience=0.05)
    quick._database = store._database
    cancelled: list[int] = []

    async def forever(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(number)

    async def one(number: int) -> None:
        with pytest.raises(Late):
            await quick.run(lambda _: forever(number))

    async with anyio.create_task_group() as group:
        for number in range(AT_ONCE):
            group.start_soon(one, number)
        await anyio.sleep(0.01)
        with pytest.raises(Busy):
            await quick.run(lambda _: forever(-1))
    await anyio.sleep(0)
    assert sorted(cancelled) == list(range(AT_ONCE))
    await quick.run(lambda _: anyio.sleep(0))
    await store.close()


@SQLITE
async def test_a_caller_who_leaves_takes_the_question_along(database: Ledger, anyio_backend: str) -> None:
    store = AdminStore(settings_of(database))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(store.run(lambda _: forever()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)
    await store.close()


def test_no_database_is_loaded_before_somebody_asks_for_one(tmp_path: Path) -> None:
    """Half a second and 20 MB: a server of metrics alone does without."""
    program = """
import asyncio, sys
from tests.gw.admin import Gateway, running, settings_of
from gw.admin_server import create_admin_app
from tests.databases import ledger_of

async def main():
    async with running(create_admin_app(settings_of(ledger_of(sys.argv[1])))) as app:
        for path in ("/health", "/admin/metrics", "/admin/ledger", "/admin/openapi.json"):
            assert (await Gateway(app).get(path)).status == 200, path
        assert "sqlalchemy" not in sys.modules
        assert (await Gateway(app).get("/admin/usage")).status == 200
        assert "sqlalchemy" in sys.modules

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
