"""What the gateway leaves behind: reports, logs, files and tables, searched for canaries."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.store.schema import metadata, requests

from .servers import Servers
from .tenants import Canaries, Tenant

#: Reports, each for one project; ``{}`` is its name.
REPORTS = (
    "/admin/usage?project={}&group_by=model&limit=500",
    "/admin/usage?project={}&group_by=key&format=csv",
    "/admin/costs?project={}&group_by=key",
    "/admin/errors?project={}",
    "/admin/errors?project={}&view=requests&limit=500",
    "/admin/errors?project={}&view=requests&format=csv",
    "/admin/projects/{}",
    "/admin/keys?project={}",
)
#: Reports on everybody, which hold nobody's words.
EVERYBODY = ("/admin/metrics", "/admin/usage", "/admin/audit?limit=500")
_ROWS_AT_ONCE = 2000


def in_reports(
    servers: Servers, canaries: Canaries, tenants: list[Tenant], count: int | None = None
) -> list[str]:
    """What a report on one project (of the first ``count``) says of another, and what any says of prompts
    and answers."""
    problems = []
    for tenant in tenants[:count]:
        for path in REPORTS:
            text = servers.admin("GET", path.format(tenant.project))
            found = canaries.strangers(tenant, text, hidden=False)
            found += [
                f"the name of {other.project}"
                for other in tenants
                if other is not tenant and other.project.encode() in text
            ]
            problems += [f"{path.format(tenant.project)}: {problem}" for problem in found]
    for path in EVERYBODY:
        problems += [f"{path}: {problem}" for problem in canaries.leaks(servers.admin("GET", path))]
    return problems


def in_files(canaries: Canaries, *places: Path) -> list[str]:
    """Prompts, answers and keys in logs, journals and whatever else lies there."""
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return [
        f"{file.name}: {problem}"
        for file in files
        if file.is_file()
        for problem in canaries.leaks(file.read_bytes())
    ]


async def recorded(engine: AsyncEngine, expected: int, seconds: float) -> int:
    """How many rows there are, as soon as there are ``expected``, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        async with engine.connect() as connection:
            count: int = (await connection.execute(select(func.count()).select_from(requests))).scalar_one()
        if count >= expected or time.monotonic() > deadline:
            return count
        time.sleep(0.25)


async def in_tables(engine: AsyncEngine, canaries: Canaries, tenants: list[Tenant]) -> list[str]:
    """Every row of every table: nobody's words in any, and in a request's nothing of another project."""
    by_project = {tenant.project: tenant for tenant in tenants}
    rows = dict.fromkeys(by_project, 0)
    problems = []
    async with engine.connect() as connection:
        for table in metadata.sorted_tables:
            found = await connection.stream(
                select(table).execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
            )
            async for row in found.mappings():
                text = orjson.dumps([*row.values()])
                problems += [f"table {table.name}: {problem}" for problem in canaries.leaks(text)]
                if table is requests:
                    tenant = by_project.get(row["project"])
                    rows[row["project"]] = rows.get(row["project"], 0) + 1
                    strangers = canaries.strangers(tenant, text)
                    problems += [f"a row of {row['project']}: {problem}" for problem in strangers]
    expected = {tenant.project: tenant.rows for tenant in tenants}
    problems += [
        f"{project} has {rows.get(project, 0)} rows of {expected.get(project, 0)} requests"
        for project in rows.keys() | expected.keys()
        if rows.get(project, 0) != expected.get(project, 0)
    ]
    return problems
