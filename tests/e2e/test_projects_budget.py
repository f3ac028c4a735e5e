"""Budgets, end to end: 200 callers, two workers, one small budget, and sums that agree to the nano-dollar."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.engine import open_engine
from gw.store.schema import budget_periods, requests, reservations
from perf.isolation.servers import Servers, running
from providers.http import EngineClient, Timeouts

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

CALLERS = 200
BUDGET = Decimal("0.25")
NANO = 10**9
#: What a request may cost, as the refusal of it says.
BOUND = re.compile(r"may cost up to \$(0\.\d+)\.")


def make(servers: Servers, project: str, **terms: Any) -> str:
    """A project and its key."""
    servers.admin("POST", "/admin/projects", {"id": project, "name": project, **terms})
    made = orjson.loads(servers.admin("POST", f"/admin/projects/{project}/keys", {"name": "ci"}))
    key: str = made["key"]
    servers.wait_for_keys(key)
    return key


async def ask(client: EngineClient, servers: Servers, key: str, number: int) -> tuple[int, str | None, str]:
    """Status, ``x-should-retry`` and body. Every fifth caller reads a stream, and every tenth leaves it."""
    stream = number % 5 == 0
    body = {
        "model": "claude-opus-4-6",
        "max_tokens": 200,
        "stream": stream,
        "messages": [{"role": "user", "content": f"Caller {number} [sim tokens=120 delay_ms=1]"}],
    }
    path = ("/v1/messages", "/v1/chat/completions")[number % 2]
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json")]
    async with await client.request(
        "POST", servers.base_url + path, headers=headers, body=orjson.dumps(body)
    ) as answer:
        said = await (answer.read_some() if number % 10 == 0 else answer.read())
        retry = answer.header(b"x-should-retry")
        return answer.status, None if retry is None else retry.decode(), said.decode()


async def spend_it_all(servers: Servers, key: str) -> tuple[Counter[int], int]:
    """Every caller asks until he is told to stop. Returns statuses, and the most a request may cost."""
    client = EngineClient(
        max_connections=CALLERS, timeouts=Timeouts(connect=30, first_byte=60, idle=60, total=90)
    )
    statuses: Counter[int] = Counter()
    bounds: set[int] = set()

    async def caller(number: int) -> None:
        while True:
            status, retry, said = await ask(client, servers, key, number)
            statuses[status] += 1
            if status != 200:
                found = BOUND.search(said)
                assert status == 402, said
                assert found, said
                assert "budget_exceeded" in said or "billing_error" in said, said
                bounds.add(int(Decimal(found[1]) * NANO))
                if retry == "false":
                    return

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    await client.aclose()
    return statuses, max(bounds)


async def within_one_day() -> None:
    """The budget is a day's: not across midnight."""
    now = datetime.now(UTC)
    left = datetime.combine(now.date() + timedelta(days=1), time.min, UTC) - now
    if left < timedelta(minutes=2):
        await asyncio.sleep(left.total_seconds())


async def settled(engine: AsyncEngine, rows: int) -> None:
    """Wait until every request has its row."""
    async with asyncio.timeout(60):
        while True:
            async with engine.connect() as connection:
                count = (await connection.execute(select(func.count()).select_from(requests))).scalar_one()
            if count >= rows:
                return
            await asyncio.sleep(0.1)


@pytest.mark.timeout(360)
async def test_200_callers_and_two_workers_never_exceed_a_budget(database: Ledger, tmp_path: Path) -> None:
    await within_one_day()
    home = tmp_path / "gateway"
    home.mkdir()
    with running(home, workers=2, database_url=database.database) as servers:
        key = await asyncio.to_thread(make, servers, "shop", daily_budget_usd=str(BUDGET))
        statuses, bound = await spend_it_all(servers, key)
        url = database.database or f"sqlite:///{servers.data}/gateway.db"
        engine = open_engine(
            Ledger(
                enabled=True,
                data_dir=None,
                database=url,
                spool_max_bytes=0,
                refuse_when_full=True,
                prices_file=None,
            )
        )
        await settled(engine, statuses.total())
        async with engine.connect() as connection:
            c = requests.c
            rows = (await connection.execute(select(c.status, c.cost_nano, c.project))).all()
            periods = (await connection.execute(select(budget_periods))).all()
            held = (await connection.execute(select(func.count()).select_from(reservations))).scalar_one()
        await engine.dispose()
    assert set(statuses) == {200, 402}
    assert len(rows) == statuses.total(), "one row each, of those that were refused, too"
    assert {row.project for row in rows} == {"shop"}
    assert all(row.cost_nano == 0 for row in rows if row.status == 402)
    assert all(row.cost_nano > 0 for row in rows if row.status == 200)
    spent = sum(row.cost_nano for row in rows)
    # It is spent, down to less than another request could cost; and not exceeded.
    assert BUDGET * NANO - bound < spent <= BUDGET * NANO
    assert held == 0
    assert {(row.account.partition(":")[0], row.period) for row in periods} == {
        (kind, period) for kind in ("project", "key") for period in ("day", "month")
    }
    assert {(row.spent_nano, row.reserved_nano) for row in periods} == {(spent, 0)}
