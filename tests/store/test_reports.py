"""Reports say on both databases what plain Python makes of the same rows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store import reports
from gw.store.engine import open_engine
from gw.store.reports import BadQuery, Filters, Outcome, Page, Spread, TooSlow, Usage
from gw.store.schema import audit_log
from tests.databases import created, ledger_of
from tests.services import Postgres

from .rows import AT, Rows, chosen, grouped, has_failed, ledgers, request_of, saved_of, usage_of, write

Ask = Callable[[AsyncEngine, str | None], Awaitable[Page[Any]]]


class Databases:
    """Both, open for many examples of one test, in one event loop."""

    def __init__(self, *ledgers: Ledger) -> None:
        self._runner = asyncio.Runner()
        self._engines = [open_engine(ledger) for ledger in ledgers]

    def write(self, rows: Rows) -> None:
        for engine in self._engines:
            self._runner.run(write(engine, rows))

    def both(self, ask: Ask) -> list[Any]:
        """The rows of all pages, which are the same in both."""
        first, second = (self._runner.run(_all_pages(engine, ask)) for engine in self._engines)
        assert first == second
        return first

    def close(self) -> None:
        for engine in self._engines:
            self._runner.run(engine.dispose())
        self._runner.close()


async def _all_pages(engine: AsyncEngine, ask: Ask) -> list[Any]:
    page = await ask(engine, None)
    found = [_comparable(row) for row in page.rows]
    while page.next is not None:
        page = await ask(engine, page.next)
        assert page.rows  # a cursor leads to something
        found += [_comparable(row) for row in page.rows]
    return found


def _comparable(row: Any) -> Any:
    """Sums of floats differ in their last digits with the order in which they are made."""
    if not isinstance(row, Usage):
        return row
    return dataclasses.replace(row, duration=_rounded(row.duration), ttft=_rounded(row.ttft))


def _rounded(times: Spread) -> Spread:
    average = None if times.average is None else float(f"{times.average:.9g}")
    return dataclasses.replace(times, average=average)


@pytest.fixture(scope="module")
def databases(
    postgres_server: Postgres,
    postgres_template: str,
    sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("reports")
    (folder / sqlite_template.name).write_bytes(sqlite_template.read_bytes())
    with created(postgres_server, postgres_template) as url:
        found = Databases(ledger_of(folder), ledger_of(folder, url))
        yield found
        found.close()


groups = st.lists(st.sampled_from(reports.GROUPS), unique=True, max_size=3)
_dates = st.none() | st.sampled_from(
    [AT.replace(month=10, day=31, hour=0), AT.replace(month=11, day=1, hour=0)]
)
filters = st.builds(
    Filters,
    since=_dates,
    until=_dates,
    project=st.none() | st.just("a"),
    key=st.none() | st.just("B"),
    model=st.none() | st.just("Zürich"),
    provider=st.none() | st.just("ollama"),
)
limits = st.integers(1, 4)


@given(ledgers, groups, filters, limits)
def test_usage_and_savings_are_the_sums_of_their_rows(
    databases: Databases, rows: Rows, group: list[reports.Group], wanted: Filters, limit: int
) -> None:
    databases.write(rows)
    expected = grouped(chosen(rows, wanted), group)
    usage = databases.both(
        lambda engine, cursor: reports.usage(
            engine, group, wanted, percentiles=True, cursor=cursor, limit=limit
        )
    )
    assert usage == [_comparable(usage_of(values, of)) for values, of in expected.items()]
    savings = databases.both(
        lambda engine, cursor: reports.savings(engine, group, wanted, cursor=cursor, limit=limit)
    )
    assert savings == [saved for values, of in expected.items() for saved in saved_of(values, of)]


_choice = st.none() | st.booleans()


@given(ledgers, filters, limits, _choice, _choice, _choice)
def test_requests_are_listed_newest_first_and_failures_counted(
    databases: Databases,
    rows: Rows,
    wanted: Filters,
    limit: int,
    failed: bool | None,
    aborted: bool | None,
    estimated: bool | None,
) -> None:
    databases.write(rows)
    found = databases.both(
        lambda engine, cursor: reports.list_requests(
            engine,
            wanted,
            failed=failed,
            aborted=aborted,
            estimated=estimated,
            cursor=cursor,
            limit=limit,
        )
    )
    expected = [
        row
        for row in chosen(rows, wanted)
        if failed in (None, has_failed(row))
        and aborted in (None, bool(row["aborted"]))
        and estimated in (None, bool(row["estimated"]))
    ]
    expected.sort(key=lambda row: (row["at"], row["id"]), reverse=True)
    assert found == [request_of(row) for row in expected]

    failures = databases.both(
        lambda engine, cursor: reports.failures(engine, wanted, cursor=cursor, limit=limit)
    )
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for row in chosen(rows, wanted):
        if has_failed(row):
            names = ("provider", "model", "status", "error_stage", "error_code")
            alike.setdefault(tuple(row[name] for name in names), []).append(row["at"])
    assert failures == [
        reports.Failures(provider, model, status, stage, code, len(times), min(times), max(times))
        for (provider, model, status, stage, code), times in sorted(alike.items())
    ]


def outcome(number: int, **more: Any) -> Outcome:
    given: dict[str, Any] = {"chosen_model": "opus" if number % 2 else "haiku", "escalated": number % 2 == 1}
    given |= {"candidate_model": "haiku", "reason": "short answer", "cost_nano": None, "latency_ms": 2.0}
    ids = {"id": f"{number:03}", "request": f"r{number}", "project": "a", "session": "s", "turn": number}
    return Outcome(**{**ids, "at": AT, "feature_version": 1, **given, **more})


@pytest.mark.anyio
async def test_routing_outcomes_are_written_once_and_summed_up(engine: AsyncEngine) -> None:
    written = [outcome(n, cost_nano=n, checks={"length": n, "ok": True}) for n in range(1, 8)]
    written.append(outcome(9, project="b"))
    async with engine.begin() as connection:
        assert await reports.add_outcomes(connection, written[:5]) == 5
        assert await reports.add_outcomes(connection, []) == 0
        assert await reports.add_outcomes(connection, [*written, *written[:1]]) == 3

    async def pages(filters: Filters) -> list[Outcome]:
        return await _all_pages(
            engine, lambda one, cursor: reports.list_outcomes(one, filters, cursor=cursor, limit=3)
        )

    assert await pages(Filters()) == written[::-1]
    assert await pages(Filters(project="a", model="haiku")) == [written[5], written[3], written[1]]
    found = await _all_pages(engine, lambda one, cursor: reports.routing(one, cursor=cursor, limit=1))
    money, same = reports.Money, ("short answer",)
    assert found == [
        reports.Routed("haiku", "haiku", *same, 3, 0, money(12, 0), Spread(2.0)),
        reports.Routed("haiku", "opus", *same, 5, 5, money(16, 1), Spread(2.0)),
    ]
    with pytest.raises(BadQuery, match="filtered by"):
        await reports.routing(engine, Filters(key="k"))


@pytest.mark.anyio
async def test_the_audit_log_is_listed_newest_first(engine: AsyncEngine) -> None:
    entry = {"at": AT, "actor": "admin:1234", "action": "key.create", "before": None, "after": "{}"}
    async with engine.begin() as connection:
        for number in range(12):
            row = {**entry, "subject": f"key:{number}", "request_id": "r"}
            await connection.execute(insert(audit_log).values(row))

    async def subjects(**wanted: Any) -> list[str]:
        found = await _all_pages(
            engine, lambda one, cursor: reports.audit(one, cursor=cursor, limit=5, **wanted)
        )
        return [row.subject for row in found]

    assert await subjects() == [f"key:{number}" for number in range(11, -1, -1)]  # 10 before 9: numbers
    assert await subjects(subject="key:3", actor="admin:1234", action="key.create") == ["key:3"]
    assert await subjects(since=AT, until=AT) == []


@pytest.mark.anyio
async def test_a_sum_says_how_much_of_it_is_unknown(engine: AsyncEngine) -> None:
    assert (await reports.usage(engine)).rows[0].cost == reports.Money(0, 0)  # nothing was asked
    row = usage_row("1")
    await write(engine, [{**row, "cost_nano": None}])
    assert (await reports.usage(engine)).rows[0].cost == reports.Money(None, 1)
    await write(engine, [{**row, "cost_nano": None}, {**usage_row("2"), "cost_nano": 5}])
    assert (await reports.usage(engine)).rows[0].cost == reports.Money(5, 1)
    await write(engine, [{**row, "cost_nano": 0}])  # a local model's
    assert (await reports.usage(engine)).rows[0].cost == reports.Money(0, 0)


def usage_row(number: str) -> dict[str, Any]:
    names = ("project", "key_id", "model", "provider", "dialect", "route", "requested_model", "route_reason")
    flags = {"stream": False, "cache_hit": False, "status": 200, "attempts": 1, "duration_ms": 1.0}
    empty = dict.fromkeys((*names, "aborted", "estimated", "error_stage", "error_code"), "")
    more = {"request_id": "r", "upstream_request_id": "", "cost_nano": 0, "counterfactual_nano": 0}
    return {"id": number, "at": AT, **empty, **flags, **more, "savings": {}}


@pytest.mark.anyio
async def test_rows_that_come_meanwhile_move_no_page(engine: AsyncEngine) -> None:
    await write(engine, [usage_row(f"{n}") for n in range(1, 6)])
    first = await reports.list_requests(engine, limit=2)
    await write(engine, [usage_row(f"{n}") for n in range(1, 10)])
    second = await reports.list_requests(engine, limit=2, cursor=first.next)
    assert [row.id for row in (*first.rows, *second.rows)] == ["5", "4", "3", "2"]


@pytest.mark.anyio
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"group": ["layer"]}, "cannot group by layer: choose among day, month"),
        ({"group": ["day", "day"]}, "each group is named once"),
        ({"limit": 0}, "limit is from 1 to"),
        ({"limit": 10_001}, "limit is from 1 to"),
        ({"cursor": "!"}, "cursor is not one"),
        ({"cursor": "WyJhIl0", "group": []}, "cursor is not one"),  # of a report with one group
        ({"cursor": "WzFd", "group": ["day"]}, "cursor is not one"),  # a number
        ({"cursor": "\u00e9"}, "cursor is not one"),
        ({"filters": Filters(since=AT.replace(tzinfo=None))}, "since has no time zone"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    engine: AsyncEngine, wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadQuery, match=said):
        await reports.usage(engine, **wanted)


@given(st.text() | st.binary().map(lambda raw: raw.hex()))
def test_no_cursor_is_an_error_of_ours(databases: Databases, cursor: str) -> None:
    databases.write([])  # quick to read
    for ask in (reports.list_requests, reports.audit, reports.failures):

        async def refused(engine: AsyncEngine, _: str | None, ask: Any = ask) -> Page[Any]:
            try:
                return Page((await ask(engine, cursor=cursor)).rows)
            except BadQuery:
                return Page(())

        assert databases.both(refused) == []


@pytest.mark.anyio
async def test_a_report_that_takes_too_long_says_so(database: Ledger) -> None:
    engine = open_engine(database, seconds=1)
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    slow = {"sqlite": many, "postgresql": "SELECT pg_sleep(3600)"}[engine.dialect.name]
    with pytest.raises(TooSlow, match="longer than 1 s: ask for a shorter time range"):
        async with reports.report(engine) as connection:
            await connection.execute(text(slow))
    assert (await reports.usage(engine)).rows[0].requests == 0
    await engine.dispose()
