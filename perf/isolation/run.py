"""One run: tenants are made, their requests sent, and everything is searched for what is not its owner's."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.engine import open_engine
from providers.http import Timeouts, open_client

from . import traces
from .servers import Servers, running
from .tenants import Canaries, Tenant
from .traffic import Traffic

_TIMEOUTS = Timeouts(connect=10, first_byte=60, idle=60, total=120)
#: Seconds after the last answer in which every row has to be written.
_RECORDED_WITHIN = 60.0
_FORGET_EVERY = 10_000
T = TypeVar("T")


@dataclass(slots=True)
class Result:
    """``problems`` is empty when everybody saw only what is theirs."""

    requests: int
    projects: int
    heard: int
    rows: int
    seconds: float
    by_status: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def isolation(
    *,
    requests: int,
    projects: int = 100,
    workers: int = 2,
    connections: int = 64,
    database_url: str | None = None,
    seed: int = 0,
    reports: int | None = None,
    progress: Callable[[int], None] = lambda sent: None,
) -> Result:
    """Send ``requests`` of ``projects`` at once through a gateway of its own, and search what came of it.

    ``reports``: of how many projects the reports are read (None: of all).
    """
    canaries = Canaries()
    tenants = [canaries.tenant(number) for number in range(projects)]
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        with running(folder, workers=workers, database_url=database_url) as servers:
            for tenant in tenants:
                _make(servers, canaries, tenant)
            servers.wait_for_keys(tenants[-1].key)
            traffic = Traffic(servers.base_url, canaries, tenants, seed=seed)
            began = time.perf_counter()
            asyncio.run(_send(traffic, servers, requests, connections, progress))
            seconds = time.perf_counter() - began
            expected = sum(tenant.rows for tenant in tenants)
            database = f"sqlite:///{servers.data}/gateway.db" if database_url is None else database_url
            rows = asyncio.run(_with(database, lambda e: traces.recorded(e, expected, _RECORDED_WITHIN)))
            problems = [*traffic.problems, *traces.in_reports(servers, canaries, tenants, reports)]
        # All has been written that is ever written: the journals, the log, the database.
        problems += asyncio.run(_with(database, lambda e: traces.in_tables(e, canaries, tenants)))
        problems += traces.in_files(canaries, servers.log, servers.data)
    return Result(
        traffic.sent,
        projects,
        traffic.heard,
        rows,
        seconds,
        dict(sorted(traffic.by_status.items())),
        problems,
    )


def _make(servers: Servers, canaries: Canaries, tenant: Tenant) -> None:
    """Its project, with a budget that is kept and never met, and a key."""
    project = {"id": tenant.project, "name": tenant.project, "monthly_budget_usd": "10000"}
    servers.admin("POST", "/admin/projects", project)
    made = orjson.loads(servers.admin("POST", f"/admin/projects/{tenant.project}/keys", {"name": "ci"}))
    canaries.has_key(tenant, made["key"])


async def _send(
    traffic: Traffic, servers: Servers, requests: int, connections: int, progress: Callable[[int], None]
) -> None:
    client = open_client(timeouts=_TIMEOUTS, max_connections=connections)

    async def worker() -> None:
        while traffic.sent < requests:
            await traffic.one(client)

    async def watch() -> None:
        for mark in range(_FORGET_EVERY, requests, _FORGET_EVERY):
            while traffic.sent < mark:
                await asyncio.sleep(0.1)
            await asyncio.to_thread(servers.forget)
            progress(traffic.sent)

    async with asyncio.TaskGroup() as group:
        for work in (watch(), *(worker() for _ in range(connections))):
            group.create_task(work)
    await client.aclose()


async def _with(database: str, look: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    engine = open_engine(
        Ledger(
            enabled=True,
            data_dir=None,
            database=database,
            spool_max_bytes=0,
            refuse_when_full=True,
            prices_file=None,
        )
    )
    try:
        return await look(engine)
    finally:
        await engine.dispose()
