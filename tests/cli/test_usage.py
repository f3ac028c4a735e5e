"""`gw usage` on both databases: sums that add up, unknown prices said, and the same in every form."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gw.routes.admin.rows import USAGE
from gw.settings import Ledger
from gw.store.engine import open_engine
from tests.gw.admin import gateway_over
from tests.store.rows import write

from .here import Gw

NOV = datetime(2026, 11, 10, 12, tzinfo=UTC)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:04x}",
        "request_id": f"r{number}",
        "at": NOV + timedelta(seconds=number),
        "project": "a",
        "key_id": "k1",
        "dialect": "messages",
        "requested_model": "sonnet",
        "model": "claude-sonnet-5-5",
        "provider": "anthropic",
        "status": 200,
        "stream": False,
        "ttft_ms": None,
        "duration_ms": 5.0,
        "input_tokens": 1000,
        "output_tokens": 10,
        "cache_read_tokens": 100,
        "cache_write_5m_tokens": 7,
        "cache_write_1h_tokens": 3,
        "reasoning_tokens": 0,
        "cost_nano": 1_500_000_000,
        "counterfactual_nano": 2_000_000_000,
        "cache_hit": False,
        "route": "",
        "route_reason": "",
        "attempts": 1,
        "aborted": "",
        "estimated": "",
        "error_stage": "",
        "error_code": "",
        "upstream_request_id": "",
        "savings": {"limits": (250, 500_000_000)},
        **more,
    }


ROWS = [
    row(1),
    row(2, project="b", key_id="k2", savings={}, counterfactual_nano=1_500_000_000),
    row(3, estimated="output", savings={"limits": (5, 1), "dedup": (1, 2)}),
    row(4, project="b", model="mystery-1", cost_nano=None, counterfactual_nano=None, savings={}),
    row(
        5, project="c", model="mystery-2", cost_nano=None, counterfactual_nano=None, savings={"x": (9, None)}
    ),
    row(6, project="d", provider="ollama", cost_nano=0, counterfactual_nano=0, savings={}),
    row(7, at=datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)),
    row(8, at=datetime(2026, 12, 1, tzinfo=UTC)),
]


@pytest.fixture
def recorded(database: Ledger) -> None:
    async def fill() -> None:
        engine = open_engine(database)
        await write(engine, ROWS)
        await engine.dispose()

    asyncio.run(fill())


@pytest.mark.usefixtures("recorded")
def test_a_months_bill_is_the_sum_of_its_rows(gw: Gw) -> None:
    bill = gw("usage", "--month", "2026-11", "--json").json
    usage = {one["project"]: one for one in bill["rows"]}
    assert set(usage) == {"a", "b", "c", "d"}
    assert (usage["a"]["requests"], usage["a"]["cost_usd"], usage["a"]["saved_usd"]) == (
        2,
        "3.00",
        "0.500000003",
    )
    assert (usage["b"]["cost_usd"], usage["b"]["unknown_price_requests"]) == ("1.50", 1)
    assert (usage["c"]["cost_usd"], usage["c"]["unknown_price_requests"]) == (None, 1), "unknown is not 0"
    assert (usage["d"]["cost_usd"], usage["d"]["unknown_price_requests"]) == ("0.00", 0), "0 is not unknown"
    total = bill["total"]
    known = [Decimal(one["cost_usd"]) for one in usage.values() if one["cost_usd"] is not None]
    assert Decimal(total["cost_usd"]) == sum(known) == Decimal("4.5")
    assert (total["requests"], total["unknown_price_requests"], total["estimated"]) == (6, 2, 1)
    assert total["input_tokens"] == 6000
    assert bill["models_without_price"] == ["mystery-1", "mystery-2"]
    layers = {one["layer"]: one for one in total["saved_by_layer"]}
    assert {
        name: (one["requests"], one["saved_tokens"], one["saved_usd"]) for name, one in layers.items()
    } == {
        "dedup": (1, 1, "0.000000002"),
        "limits": (2, 255, "0.500000001"),
        "x": (1, 9, None),
    }
    assert layers["x"]["unknown_price_requests"] == 1


@pytest.mark.usefixtures("recorded")
def test_the_table_has_totals_layers_and_says_what_is_not_known(gw: Gw) -> None:
    done = gw("usage", "--month", "2026-11")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    (a,) = (line for line in lines if line[:1] == ["a"])
    assert a == ["a", "2", "2,000", "200", "20", "20", "$3.0000", "$0.5000", "$4.0000"]
    (c,) = (line for line in lines if line[:1] == ["c"])
    assert c[-3:] == ["?", "?", "?"]
    totals = [line for line in lines if line[:1] == ["total"]]
    assert totals[0][:2] == ["total", "6"]
    assert "$4.5000 + ?" in done.out
    assert len(totals) == 2, "one for the projects, one for the layers"
    assert "2 requests whose price is not known (mystery-1, mystery-2)" in done.out
    assert "In 1 request tokens are estimated" in done.out


@pytest.mark.usefixtures("recorded")
def test_groups_filters_and_times_are_those_asked_for(gw: Gw) -> None:
    def groups(*options: str) -> list[tuple[Any, ...]]:
        bill = gw("usage", "--json", *options).json
        return [tuple(one[name] for name in bill["group_by"]) for one in bill["rows"]]

    assert groups("--since", "2026-10-01", "--until", "2027-01-01", "--by", "day") == [
        ("2026-10-31",),
        ("2026-11-10",),
        ("2026-12-01",),
    ]
    assert groups("--month", "2026-11", "--by", "project,model", "--project", "b") == [
        ("b", "claude-sonnet-5-5"),
        ("b", "mystery-1"),
    ]
    assert groups("--month", "2026-11", "--by", "key", "--key", "k2") == [("k2",)]
    assert groups("--since", "2026-11-10T12:00:02Z", "--until", "2026-11-10T12:00:03Z") == [("b",)]
    assert groups("--month", "2026-09") == []


@pytest.mark.usefixtures("recorded")
def test_layers_can_be_told_per_group(gw: Gw) -> None:
    layers = gw("usage", "--month", "2026-11", "--by", "project,layer", "--json").json["rows"]
    assert [(one["project"], one["layer"]) for one in layers] == [("a", "dedup"), ("a", "limits"), ("c", "x")]
    alone = gw("usage", "--month", "2026-11", "--by", "layer")
    assert alone.code == 0
    assert "saved by layer" in alone.out


@pytest.mark.usefixtures("recorded")
def test_csv_has_the_same_figures_and_an_empty_cell_for_the_unknown(gw: Gw) -> None:
    found = list(csv.DictReader(io.StringIO(gw("usage", "--month", "2026-11", "--csv").out)))
    assert [(one["project"], one["cost_usd"], one["unknown_price_requests"]) for one in found] == [
        ("a", "3.00", "0"),
        ("b", "1.50", "1"),
        ("c", "", "1"),
        ("d", "0.00", "0"),
    ]
    layers = gw("usage", "--month", "2026-11", "--by", "project,layer", "--csv").out
    assert len(list(csv.DictReader(io.StringIO(layers)))) == 3


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("by", ["project", "project,model", "day", "layer", "project,layer"])
def test_the_command_and_the_admin_api_say_the_same_in_the_same_words(
    gw: Gw, database: Ledger, by: str
) -> None:
    async def ask(form: str) -> bytes:
        query = f"from=2026-11-01&to=2026-12-01&group_by={by}&format={form}"
        async with gateway_over(database) as gateway:
            return (await gateway.get(f"/admin/usage?{query}")).body

    told = gw("usage", "--month", "2026-11", "--by", by, "--json").json
    page = json.loads(asyncio.run(ask("json")))
    assert {name: told[name] for name in ("from", "to", "rows")} == {
        name: page[name] for name in ("from", "to", "rows")
    }
    table = gw("usage", "--month", "2026-11", "--by", by, "--csv").out
    assert list(csv.reader(io.StringIO(table))) == list(
        csv.reader(io.StringIO(asyncio.run(ask("csv")).decode()))
    )
    times = {name for name in USAGE if name.startswith(("duration_", "ttft_"))}
    assert set(told["total"]) == set(USAGE) - times


@pytest.mark.usefixtures("recorded")
def test_no_cell_of_somebody_elses_text_moves_the_terminal(gw: Gw, database: Ledger) -> None:
    async def fill() -> None:
        engine = open_engine(database)
        await write(engine, [row(1, model="evil\x1b[2J", cost_nano=None, counterfactual_nano=None)])
        await engine.dispose()

    asyncio.run(fill())
    done = gw("usage", "--month", "2026-11", "--by", "model")
    assert "evil?[2J" in done.out
    assert "\x1b" not in done.out


@pytest.mark.usefixtures("recorded")
def test_a_bill_says_whose_it_is_and_a_whole_key_stands_for_its_id(gw: Gw) -> None:
    assert gw("usage", "--month", "2026-11", "--project", "a").out.startswith(
        "Usage of project a from 2026-11"
    )
    nobody = gw("usage", "--month", "2026-11", "--project", "nobody")
    assert "No requests of project nobody." in nobody.out
    pasted = gw("usage", "--month", "2026-11", "--key", "gw_k2_" + "5" * 64)
    assert pasted.out == gw("usage", "--month", "2026-11", "--key", "k2").out
    assert "of key k2 from" in pasted.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--month", "2026-11", "--since", "2026-11-01"), "--month goes without"),
        (("--until", "2026-11-01"), "--until needs --since"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "not before"),
        (("--since", "2999-01-01"), "not before"),
        (("--by", "colour"), "--by is some of"),
        (("--by", ","), "--by is some of"),
    ],
)
def test_questions_that_make_no_sense_are_wrong_usage(gw: Gw, options: tuple[str, ...], said: str) -> None:
    done = gw("usage", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_ledger_that_is_off_is_said_to_be(gw: Gw) -> None:
    done = gw("usage", LEDGER_ENABLED="0", ENABLE_MULTI_PROJECT="0")
    assert done.code == 0
    assert "nothing is recorded" in done.err
