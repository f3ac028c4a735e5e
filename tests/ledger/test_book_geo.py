"""Claude that computes in the United States alone costs a tenth more for every token, in every dialect.

The upstream's own bill and the prices of the soak, which are written down a second time, say how much.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.ledger.row import Row
from gw.prices import PriceBook, variant_of, variant_told
from perf.simulated import Scenario, SimulatedUpstream
from perf.soak.prices import cost_nano
from perf.soak.rows import Tokens
from providers.anthropic.adapter import AnthropicProvider
from providers.http import open_client
from providers.translate.usage import in_all, merge
from providers.types import Usage
from tests.gw.stub import KEY, Front, MemoryJournal, front
from tests.middleware.asgi import Client, body_messages, make_scope

from .upstream import WHOLE, Upstream

pytestmark = pytest.mark.anyio

MODEL = "claude-opus-5-5"
DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500}),
    "responses": ("/v1/responses", {"input": "Hi"}),
}
#: A second reading of https://platform.claude.com/docs/en/about-claude/pricing: nano-dollars per token of
#: input, output, what is read from the cache, what is written for 5 minutes and for an hour.
OPUS = (4_000, 20_000, 200, 5_000, 8_000)


def asked_for(dialect: str, **more: Any) -> tuple[str, dict[str, Any]]:
    path, body = DIALECTS[dialect]
    return path, {"model": MODEL, **body, **more}


@asynccontextmanager
async def claude(journal: MemoryJournal, sim: SimulatedUpstream) -> AsyncIterator[Front]:
    """The gateway before the real adapter, which asks ``sim``."""
    client = open_client("engine")
    provider = AnthropicProvider(client, api_key="sk-ant-test", base_url=sim.base_url)
    try:
        async with front(anthropic=provider, journal=journal, prices=PriceBook()) as gateway:
            yield gateway
    finally:
        await client.aclose()


def tokens(row: Row) -> Tokens:
    return Tokens(
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_5m_tokens,
        row.cache_write_1h_tokens,
        row.reasoning_tokens,
    )


def standard(usage: Usage) -> int:
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )
    return sum(count * price for count, price in zip(counts, OPUS, strict=True))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_workspace_that_computes_in_the_us_is_billed_for_it_unasked(
    dialect: str, stream: bool
) -> None:
    journal, usage = MemoryJournal(), {"inference_geo": "us", "cache_read_input_tokens": 7_001}
    async with SimulatedUpstream() as sim, claude(journal, sim) as gateway:
        sim.script(Scenario(tokens=33, usage=usage))
        path, body = asked_for(dialect, stream=stream)
        assert (await gateway.post(path, body)).status == 200
        (line,) = sim.bills.since(0)
    (row,) = journal.rows
    assert (line.bill.geo, line.bill.cache_read) == ("us", 7_001)
    assert tokens(row) == Tokens(*line.bill[1:7])
    assert row.cost_nano == cost_nano("anthropic", MODEL, Tokens(*line.bill[1:7]), "us")
    assert row.cost_nano == (standard(_usage(row)) * 11 + 5) // 10


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("geo", "times"), [("us", 11), ("global", 10), (None, 10)])
async def test_what_a_messages_request_asks_for_is_what_is_reported_and_paid(
    stream: bool, geo: str | None, times: int
) -> None:
    journal = MemoryJournal()
    async with SimulatedUpstream() as sim, claude(journal, sim) as gateway:
        path, body = asked_for("messages", stream=stream, inference_geo=geo)
        assert (await gateway.post(path, body)).status == 200
        (line,) = sim.bills.since(0)
    (row,) = journal.rows
    assert line.bill.geo == (geo or "global")
    assert row.cost_nano == cost_nano("anthropic", MODEL, Tokens(*line.bill[1:7]), line.bill.geo)
    assert row.cost_nano == (standard(_usage(row)) * times + 5) // 10 > 0


def _usage(row: Row) -> Usage:
    return Usage(*tokens(row))


async def test_a_stream_that_its_client_leaves_is_billed_where_it_was_computed() -> None:
    journal = MemoryJournal()
    async with SimulatedUpstream() as sim, claude(journal, sim) as gateway:
        sim.script(Scenario(tokens=2_000, delay_ms=5, usage={"inference_geo": "us"}))
        path, body = asked_for("chat", stream=True)
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        client = Client(body_messages(orjson.dumps(body)))
        running = asyncio.create_task(
            gateway.app(make_scope(path=path, headers=headers), client.receive, client.send)
        )
        async with asyncio.timeout(20):
            while not any(b"word" in message.get("body", b"") for message in client.sent):
                await asyncio.sleep(0.01)
            client.hang_up()
            await asyncio.wait([running])
    (row,) = journal.rows
    assert (row.aborted, row.estimated) == ("client_disconnect", "output")
    assert row.cost_nano == (standard(_usage(row)) * 11 + 5) // 10


async def test_what_the_provider_reports_is_believed_and_otherwise_what_was_asked_for() -> None:
    upstream, journal = Upstream(), MemoryJournal()
    plain, dearer = standard(WHOLE), (standard(WHOLE) * 11 + 5) // 10
    expected = []
    async with front(anthropic=upstream, journal=journal, prices=PriceBook()) as gateway:
        for dialect, asked, told, cost in (
            ("messages", "us", None, dearer),  # nothing is reported: the request says it
            ("messages", "us", "us", dearer),
            ("messages", "us", "global", plain),
            ("messages", None, "us", dearer),
            ("messages", None, "not_available", plain),
            ("messages", "eu", None, plain),
            ("messages", ["us"], None, plain),
            ("chat", None, "us", dearer),
            ("chat", "us", None, plain),  # it is left out on the way, and named so
        ):
            upstream.usage = replace(WHOLE, geo=told)
            path, body = asked_for(dialect, **({} if asked is None else {"inference_geo": asked}))
            assert (await gateway.post(path, body)).status == 200
            expected.append(cost)
    assert [row.cost_nano for row in journal.rows] == expected
    # What a worker that was killed has left is priced by this.
    first, fourth = journal.asked[0].cost_nano, journal.asked[3].cost_nano
    assert first is not None
    assert fourth is not None
    assert first > fourth


async def test_quick_and_in_the_us_are_paid_one_on_top_of_the_other_and_searches_are_not() -> None:
    upstream, journal = Upstream(), MemoryJournal()
    upstream.usage = replace(WHOLE, variant="speed=fast", geo="us", web_searches=3)
    async with front(anthropic=upstream, journal=journal, prices=PriceBook()) as gateway:
        assert (await gateway.post(*asked_for("messages"))).status == 200
    (row,) = journal.rows
    assert row.cost_nano == (2 * standard(WHOLE) * 11 + 5) // 10 + 3 * 10_000_000


def test_where_claude_computes_is_told_once_and_not_forgotten() -> None:
    usage = Usage()
    merge(usage, {"input_tokens": 9, "output_tokens": 1, "inference_geo": "us", "speed": "fast"})
    merge(usage, {"output_tokens": 20, "inference_geo": None, "iterations": []}, final=True)
    assert (usage.geo, usage.variant) == ("us", "speed=fast")
    compaction = {"type": "compaction", "input_tokens": 5, "output_tokens": 5}
    merge(usage, {"output_tokens": 20, "iterations": [compaction]}, final=True)
    assert in_all(usage).geo == "us"


@pytest.mark.parametrize("provider", ["bedrock", "vertex"])
def test_clouds_have_no_such_surcharge(provider: str) -> None:
    book, model = PriceBook(), f"anthropic.{MODEL}" if provider == "bedrock" else MODEL
    usual = book.rates(provider, model, 1_795_000_000.0)
    assert usual is not None
    assert book.rates(provider, model, 1_795_000_000.0, variant="@us") == usual


def test_the_surcharge_comes_to_prices_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    tier = {"above_prompt_tokens": 100, "usd_per_mtok": {"input": 5, "output": 6}}
    entry = {
        "provider": "anthropic",
        "model": "*",
        "usd_per_mtok": {"input": 1, "output": 2},
        "usd_per_request": 0.001,
        "tiers": [tier],
    }
    path.write_bytes(orjson.dumps({"prices": [entry]}))
    rates = PriceBook(path).rates("anthropic", MODEL, 1_795_000_000.0, variant="@us")
    assert rates is not None
    assert rates.cost(10, 1) == 1_000_000 + 11_000 + 2_200
    assert rates.cost(101, 1) == 1_000_000 + 101 * 5_500 + 6_600
    assert rates.upper_bound(10, 1) == rates.cost(10, 1)


_WAYS = st.sampled_from([None, "standard", "fast"])
_GEOS = st.sampled_from([None, "global", "us", "not_available", "of tomorrow"])


@given(_WAYS, _GEOS, _WAYS, _GEOS)
def test_each_thing_is_as_it_was_told_or_else_as_it_was_asked(
    speed: str | None, geo: str | None, told_speed: str | None, told_geo: str | None
) -> None:
    asked = variant_of({"speed": speed, "inference_geo": geo}, "messages")
    told = variant_told(asked, None if told_speed is None else f"speed={told_speed}", told_geo)
    same = variant_of({"speed": told_speed or speed, "inference_geo": told_geo or geo}, "messages")
    assert told == same
    assert variant_of({"speed": speed, "inference_geo": geo}, "chat") == ""
