"""Reports through the admin API, over rows as the recorder writes them, on both databases."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.admin_server import create_admin_app
from gw.ledger.posting import post
from gw.ledger.row import Row
from gw.ledger.spool import spool_dir
from gw.ledger.status import Status, write_status
from gw.settings import Ledger
from gw.store.reports import Outcome, add_outcomes

from .admin import Gateway, gateway_over, running, settings_of

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
#: A month of its own, so that the suite may run on any day.
DAY = datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp()
MARCH = "from=2026-03-01&to=2026-04-01"
ROW = Row(
    id="row-1",
    at=DAY,
    request_id="req-1",
    project="team-a",
    key_id="key-a",
    dialect="chat",
    requested_model="sonnet",
    model="claude-sonnet-5-5",
    provider="anthropic",
    status=200,
    stream=True,
    ttft_ms=100.0,
    duration_ms=1000.0,
    input_tokens=1000,
    output_tokens=200,
    cache_read_tokens=30,
    cache_write_5m_tokens=4,
    cache_write_1h_tokens=5,
    reasoning_tokens=50,
    cost_nano=6_000_000_001,
    counterfactual_nano=7_500_000_001,
    savings=[("limits", 500, 1_000_000_000), ("dedup", 250, 500_000_000)],
)
ROWS = (
    ROW,
    ROW._replace(id="row-2", at=DAY + 86_400, savings=[("limits", 10, 7)], counterfactual_nano=6_000_000_008),
    ROW._replace(id="row-3", project="=cmd|'/C calc'!A0", key_id="key-b", savings=[]),
    ROW._replace(
        id="row-4",
        model="mystery",
        provider="sim",
        cost_nano=None,
        counterfactual_nano=None,
        savings=[("limits", 5, None)],
    ),
    ROW._replace(
        id="row-5",
        at=DAY + 60,
        status=503,
        error_stage="upstream_status",
        error_code="overloaded_error",
        cost_nano=0,
        counterfactual_nano=0,
        savings=[],
    ),
    ROW._replace(id="row-6", at=DAY + 120, aborted="client", estimated="output", savings=[]),
)


@pytest.fixture
async def gateway(database: Ledger, engine: AsyncEngine, anyio_backend: str) -> AsyncIterator[Gateway]:
    async with engine.begin() as connection:
        assert await post(connection, ROWS) == len(ROWS)
    async with gateway_over(database) as running:
        yield running


async def rows(gateway: Gateway, path: str) -> list[dict[str, Any]]:
    answer = await gateway.get(path)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


async def test_usage_adds_up_to_the_token_and_the_nano_dollar(gateway: Gateway) -> None:
    (row,) = await rows(gateway, f"/admin/usage?group_by=month&{MARCH}")
    assert row["month"] == "2026-03"
    assert row["requests"] == 6
    assert row["streams"] == 6
    assert (row["errors"], row["aborted"], row["estimated"]) == (1, 1, 1)
    assert row["input_tokens"] == 6000
    assert row["cache_write_1h_tokens"] == 30
    assert row["cost_usd"] == "24.000000004"
    assert row["cost_nano"] == 24_000_000_004
    assert row["unknown_price_requests"] == 1
    assert row["saved_usd"] == "1.500000007"
    assert {s["layer"]: (s["saved_usd"], s["unknown_price_requests"]) for s in row["saved_by_layer"]} == {
        "dedup": ("0.50", 0),
        "limits": ("1.000000007", 1),
    }


async def test_what_nobody_knows_is_null_and_never_0(gateway: Gateway) -> None:
    (row,) = await rows(gateway, f"/admin/usage?group_by=model&model=mystery&{MARCH}")
    assert (row["cost_usd"], row["cost_nano"], row["saved_usd"]) == (None, None, None)
    assert row["unknown_price_requests"] == 1


async def test_usage_is_grouped_and_filtered(gateway: Gateway) -> None:
    questions: dict[str, dict[tuple[str, ...], int]] = {
        "group_by=day": {("2026-03-05",): 5, ("2026-03-06",): 1},
        "group_by=project": {("=cmd|'/C calc'!A0",): 1, ("team-a",): 5},
        "group_by=key": {("key-a",): 5, ("key-b",): 1},
        "group_by=provider,model": {("anthropic", "claude-sonnet-5-5"): 5, ("sim", "mystery"): 1},
        "group_by=layer": {("dedup",): 1, ("limits",): 3},
        "group_by=day,layer": {
            ("2026-03-05", "dedup"): 1,
            ("2026-03-05", "limits"): 2,
            ("2026-03-06", "limits"): 1,
        },
        "group_by=project&project=team-a&model=mystery": {("team-a",): 1},
        "group_by=project&project=nobody": {},
        "group_by=day&from=2026-03-06T12:00:00Z": {("2026-03-06",): 1},
        "group_by=day&from=2026-03-06T12:00:00.000001Z&to=2026-04-01": {},
        "group_by=day&from=2026-03-01&to=2026-03-06T12:00:00Z": {("2026-03-05",): 5},
    }
    for query, sums in questions.items():
        times = "" if "from=" in query else f"&{MARCH}"
        names = query.partition("&")[0].removeprefix("group_by=").split(",")
        found = await rows(gateway, f"/admin/usage?{query}{times}")
        assert {tuple(row[name] for name in names): row["requests"] for row in found} == sums, query


async def test_this_month_is_what_is_shown_unless_asked_otherwise(
    gateway: Gateway, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await post(connection, [ROW._replace(id="now", at=NOW.timestamp())])
    answer = (await gateway.get("/admin/usage?group_by=month")).json()
    assert answer["from"] in {f"{NOW:%Y-%m}-01T00:00:00Z", f"{datetime.now(UTC):%Y-%m}-01T00:00:00Z"}
    assert {row["month"] for row in answer["rows"]} <= {f"{NOW:%Y-%m}"}


async def test_percentiles_are_there_when_they_are_asked_for(gateway: Gateway) -> None:
    (without,) = await rows(gateway, f"/admin/usage?group_by=month&{MARCH}")
    (with_them,) = await rows(gateway, f"/admin/usage?group_by=month&percentiles=true&{MARCH}")
    assert (without["duration_p50_ms"], with_them["duration_p50_ms"]) == (None, 1000.0)


@pytest.mark.parametrize(
    "path", ["/admin/usage?group_by=day,model", "/admin/errors?view=requests&kind=aborted"]
)
@pytest.mark.parametrize("way", ["format=csv", "accept"])
async def test_tables_hold_the_same_rows(gateway: Gateway, path: str, way: str) -> None:
    expected = await rows(gateway, f"{path}&{MARCH}")
    headers = {"accept": "text/csv, */*;q=0.1"} if way == "accept" else {}
    more = "" if way == "accept" else f"&{way}"
    answer = await gateway.get(f"{path}&{MARCH}{more}", **headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert len(found) == len(expected) > 0
    for row, wanted in zip(found, expected, strict=True):
        assert set(row) == {name for name, value in wanted.items() if not isinstance(value, list)}
        for name, text in row.items():
            value = wanted[name]
            assert text == (
                "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            )


async def test_a_projects_name_is_no_formula_in_a_table(gateway: Gateway) -> None:
    answer = await gateway.get(f"/admin/usage?group_by=project&format=csv&{MARCH}")
    names = [row["project"] for row in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))]
    assert names == ["'=cmd|'/C calc'!A0", "team-a"]


async def test_pages_put_together_are_the_whole(gateway: Gateway) -> None:
    for path in (
        "/admin/usage?group_by=day,project,model",
        "/admin/usage?group_by=day,layer",
        "/admin/errors?view=requests&kind=failed",
        "/admin/errors?view=requests&kind=estimated",
        "/admin/costs?group_by=key",
    ):
        whole = await rows(gateway, f"{path}&{MARCH}")
        pages, after = [], ""
        while True:
            page = (await gateway.get(f"{path}&limit=1&{MARCH}{after}")).json()
            pages += page["rows"]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert pages == whole != [], path


async def test_a_table_says_where_the_next_page_is(gateway: Gateway) -> None:
    path = f"/admin/usage?group_by=day&format=csv&limit=1&{MARCH}"
    answer = await gateway.get(path)
    link = answer.headers["link"]
    assert link.endswith('>; rel="next"')
    following = await gateway.get(link[1:].partition(">")[0])
    assert "link" not in following.headers
    assert b"2026-03-06" in following.body
    assert b"2026-03-06" not in answer.body


async def test_costs_show_what_is_left_of_each_budget(gateway: Gateway, engine: AsyncEngine) -> None:
    budget = {"daily_budget_usd": "10", "monthly_budget_usd": "2.5"}
    await gateway.made("/admin/projects", {"id": "team-a", **budget})
    async with engine.begin() as connection:
        await post(connection, [ROW._replace(id="now", at=NOW.timestamp(), cost_nano=3_000_000_000)])
    (row,) = [r for r in await rows(gateway, "/admin/costs") if r["project"] == "team-a"]
    assert row["cost_usd"] == "3.00"
    day, month = row["budgets"]
    assert (day["period"], day["budget_usd"], day["spent_usd"], day["left_usd"]) == (
        "day",
        "10.00",
        "3.00",
        "7.00",
    )
    assert (month["period"], month["left_usd"], month["spent_usd"]) == ("month", "0.00", "3.00")
    assert day["begins_anew"] > NOW.isoformat()


async def test_failures_are_summed_up_and_listed(gateway: Gateway) -> None:
    (failure,) = await rows(gateway, f"/admin/errors?{MARCH}")
    assert (failure["stage"], failure["code"], failure["requests"]) == (
        "upstream_status",
        "overloaded_error",
        1,
    )
    for kind, row_id in (("failed", "row-5"), ("aborted", "row-6"), ("estimated", "row-6")):
        (row,) = await rows(gateway, f"/admin/errors?view=requests&kind={kind}&{MARCH}")
        assert (row["id"], row["request_id"], row["key"]) == (row_id, "req-1", "key-a")


async def test_routing_decisions_are_summed_up_and_listed(gateway: Gateway, engine: AsyncEngine) -> None:
    outcome = Outcome(
        id="o1",
        request="row-1",
        at=datetime.fromtimestamp(DAY, UTC),
        project="team-a",
        session="s",
        turn=1,
        feature_version=1,
        candidate_model="local",
        chosen_model="sonnet",
        escalated=True,
        reason="too short",
        checks={"length": 12},
        cost_nano=5,
    )
    async with engine.begin() as connection:
        await add_outcomes(connection, [outcome, replace(outcome, id="o2", cost_nano=None)])
    (summary,) = await rows(gateway, f"/admin/routing?{MARCH}")
    assert (summary["decisions"], summary["escalated"], summary["cost_usd"]) == (2, 2, "0.000000005")
    assert summary["unknown_price_requests"] == 1
    found = await rows(gateway, f"/admin/routing?view=decisions&project=team-a&{MARCH}")
    assert [row["id"] for row in found] == ["o2", "o1"]
    assert found[0]["checks"] == {"length": 12}


async def test_the_audit_log_says_who_changed_what(gateway: Gateway) -> None:
    await gateway.made("/admin/projects", {"id": "team-a"})
    await gateway.ask("PATCH", "/admin/projects/team-a", {"rpm": 7})
    (change,) = await rows(gateway, "/admin/audit?action=project.update&subject=project:team-a")
    assert change["actor"].startswith("admin:")
    assert (change["before"]["rpm"], change["after"]["rpm"]) == (None, 7)
    answer = await gateway.get("/admin/audit?format=csv")
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
        if row["action"] == "project.update"
    ]
    assert '"rpm":7' in row["after"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_wrong_question_is_400_and_names_the_parameter(gateway: Gateway) -> None:
    for query, param in (
        ("to=2026-03-01&from=2026-03-02", "to"),
        ("to=2020-01-01", "to"),
        ("group_by=secret", "group_by"),
        ("group_by=day,day", "group_by"),
        ("after=abc", "after"),
        ("after=WzFd", "after"),
        ("limit=10001", "limit"),
        ("format=xml", "format"),
        ("percentiles=yes", "percentiles"),
    ):
        answer = await gateway.get(f"/admin/usage?{query}")
        assert (answer.status, answer.json()["error"]["param"]) == (400, param), query


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_reports_work_without_projects(database: Ledger, gateway: Gateway) -> None:
    async with gateway_over(database, ENABLE_MULTI_PROJECT="0") as single:
        for path in ("/admin/usage", "/admin/costs", "/admin/errors", "/admin/routing", "/admin/audit"):
            assert (await single.get(path)).status == 200
        assert len(await rows(single, f"/admin/usage?group_by=project&{MARCH}")) == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_without_a_ledger_reports_say_so(database: Ledger) -> None:
    async with gateway_over(database, ENABLE_MULTI_PROJECT="0", LEDGER_ENABLED="0") as gateway:
        answer = await gateway.get("/admin/usage")
        assert (answer.status, answer.json()["error"]["code"]) == (409, "ledger_off")
        assert "LEDGER_ENABLED" in answer.json()["error"]["message"]
        assert (await gateway.get("/admin/ledger")).json()["state"] == "off"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_recorders_state_is_shown(database: Ledger, anyio_backend: str) -> None:
    """Without a recorder that would write its own."""
    async with running(create_admin_app(settings_of(database))) as app:
        gateway = Gateway(app)
        assert (await gateway.get("/admin/ledger")).json()["state"] == "never started"
        spool = spool_dir(database)
        spool.mkdir()
        now = datetime.now(UTC).timestamp()
        for status, state in (
            (
                Status(at=now, last_commit_at=now, rows_total=7, backlog_bytes=9, lost=1, rejected=2),
                "recording",
            ),
            (Status(at=now, error="ConnectionRefusedError"), "behind"),
            (Status(at=now - 120), "stopped"),
        ):
            write_status(spool, status)
            shown = (await gateway.get("/admin/ledger")).json()
            assert shown["state"] == state
            assert (shown["rows"], shown["backlog_bytes"]) == (status.rows_total, status.backlog_bytes)
            assert (shown["lost"], shown["rejected"], shown["error"]) == (
                status.lost,
                status.rejected,
                status.error,
            )


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_choice_among_requests_is_not_passed_over_in_a_summary(gateway: Gateway) -> None:
    for query in ("kind=aborted", "view=summary&kind=failed"):
        error = (await gateway.get(f"/admin/errors?{query}")).json()["error"]
        assert (error["param"], error["code"]) == ("kind", "invalid_parameter")
        assert "view=requests" in error["message"]
    (row,) = await rows(gateway, f"/admin/errors?view=requests&{MARCH}")
    assert row["status"] == 503
