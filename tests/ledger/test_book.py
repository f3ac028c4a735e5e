"""Rows: one for every request that got as far as a model's endpoint, with what it really used and cost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gw.ledger.book import Ledger
from gw.ledger.row import Asked, Row, encode
from gw.prices import PriceBook
from middleware._body import Body
from middleware._state import (
    BODY,
    COMPLETION,
    PRINCIPAL,
    REQUEST_ID,
    RESERVATION,
    Completion,
    Principal,
    Reservation,
    Saving,
    add_saving,
)
from providers.translate.usage import merge
from providers.types import Usage
from tests.gw.stub import KEY, Front, MemoryJournal, front
from tests.middleware.asgi import Answer, Client, answer_of, body_messages, call, make_scope

from .upstream import PART, THEIR_ID, UNANSWERED, WHOLE, Upstream

pytestmark = pytest.mark.anyio

ASK: Any = [{"role": "user", "content": "Hi"}]
#: Dialects -> path and body.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": ASK}),
    "messages": ("/v1/messages", {"messages": ASK, "max_tokens": 5}),
    "responses": ("/v1/responses", {"input": "Hi"}),
    "completions": ("/v1/completions", {"prompt": "Hi"}),
    "embeddings": ("/v1/embeddings", {"input": "Hi"}),
    "simple": ("/chat", {"message": "Hi"}),
}
STREAMED = [dialect for dialect in REQUESTS if dialect not in ("embeddings", "simple")]
MODEL = "claude-sonnet-5-5"
#: Nano-dollars per token: input, output, cache read, 5-minute write, 1-hour write.
PRICES = (2_000, 10_000, 100, 2_500, 4_000)


def cost(usage: Usage) -> int:
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )
    return sum(count * price for count, price in zip(counts, PRICES, strict=True))


def tokens(row: Row) -> Usage:
    return Usage(
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_5m_tokens,
        row.cache_write_1h_tokens,
        row.reasoning_tokens,
        estimated=frozenset(row.estimated.split(",")) - {""},
    )


@pytest.fixture
def prices(tmp_path: Path) -> PriceBook:
    names = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    per_mtok = dict(zip(names, (price / 1000 for price in PRICES), strict=True))
    path = tmp_path / "prices.json"
    entry = {"provider": "anthropic", "model": f"{MODEL}*", "usd_per_mtok": per_mtok}
    path.write_bytes(orjson.dumps({"prices": [entry]}))
    return PriceBook(path)


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def body_of(dialect: str, **more: Any) -> tuple[str, dict[str, Any]]:
    path, body = REQUESTS[dialect]
    return path, {"model": "sonnet", **body, **more}


def only(journal: MemoryJournal) -> tuple[Asked, Row]:
    """The two records that one request leaves, which agree in what both of them say."""
    (asked,), (row,) = journal.asked, journal.rows
    assert journal.records == [asked, row]
    assert asked.at >= row.at
    shared = set(Asked._fields) & set(Row._fields) - {"at", "input_tokens", "cost_nano"}
    assert {name: getattr(asked, name) for name in shared} == {name: getattr(row, name) for name in shared}
    assert (asked.project, len(asked.key_id), asked.requested_model) == ("default", 12, "sonnet")
    assert asked.cost_nano == asked.input_tokens * PRICES[0]
    return asked, row


@pytest.mark.parametrize(
    ("dialect", "stream"), [*((d, False) for d in REQUESTS), *((d, True) for d in STREAMED)]
)
async def test_an_answer_is_written_down_with_what_its_upstream_reported(
    dialect: str, stream: bool, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect, **({"stream": True} if stream else {}))
    async with front(anthropic=Upstream(), journal=journal, prices=prices) as gateway:
        answer = await gateway.post(path, body, **{"x-request-id": "mine"})
    assert answer.status == 200
    asked, row = only(journal)
    assert (row.dialect, row.status, row.stream, row.request_id) == (dialect, 200, stream, "mine")
    assert (row.model, row.provider, row.attempts) == (MODEL, "anthropic", 2)
    assert tokens(row) == WHOLE
    assert row.cost_nano == row.counterfactual_nano == cost(WHOLE)
    assert row.upstream_request_id == THEIR_ID
    assert (row.aborted, row.error_stage, row.error_code, row.savings, row.reservation) == (
        "",
        "",
        "",
        [],
        "",
    )
    assert 0 < row.duration_ms < 10_000
    assert 0 < asked.input_tokens < 50


@pytest.mark.parametrize("dialect", REQUESTS)
@pytest.mark.parametrize(("wrong", "status"), [({"model": "gpt-nobody"}, 404), ({"model": 17}, 400)])
async def test_what_the_gateway_refuses_has_a_row_and_cost_nothing(
    dialect: str, wrong: dict[str, Any], status: int, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect, **wrong)
    upstream = Upstream()
    async with front(anthropic=upstream, journal=journal, prices=prices) as gateway:
        assert (await gateway.post(path, body)).status == status
    (row,) = journal.rows
    assert not journal.asked
    assert not upstream.calls
    assert (row.dialect, row.status, row.attempts, row.cost_nano) == (dialect, status, 0, 0)
    assert row.requested_model == (wrong["model"] if status == 404 else "")
    assert (row.model, row.project) == ("", "default")
    assert row.error_stage == "gateway"
    assert row.error_code


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b"", b'{"model": "a\\u0000\\u202eb", "messages": []}']
)
async def test_a_body_that_cannot_be_read_has_a_row_too(body: bytes, journal: MemoryJournal) -> None:
    async with front(anthropic=Upstream(), journal=journal) as gateway:
        assert (await gateway.post("/v1/chat/completions", body)).status == 400
    (row,) = journal.rows
    assert row.requested_model == ("a??b" if b"model" in body else "")
    assert row.status == 400


@pytest.mark.parametrize("dialect", REQUESTS)
async def test_an_upstreams_refusal_is_named_and_cost_nothing(
    dialect: str, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect)
    async with front(anthropic=Upstream(refuses=True), journal=journal, prices=prices) as gateway:
        answer = await gateway.post(path, body)
    _, row = only(journal)
    assert row.status == answer.status >= 500
    assert (row.error_stage, row.error_code) == ("response", "upstream_overloaded")
    assert (row.upstream_request_id, row.attempts) == (THEIR_ID, 2)
    assert (tokens(row), row.cost_nano) == (Usage(), 0)


@pytest.mark.parametrize("dialect", STREAMED)
async def test_a_stream_that_breaks_off_costs_what_it_had_used(
    dialect: str, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect, stream=True)
    async with front(anthropic=Upstream(breaks=True), journal=journal, prices=prices) as gateway:
        answer = await gateway.post(path, body)
    assert answer.status == 200
    _, row = only(journal)
    assert (tokens(row), row.cost_nano) == (PART, cost(PART))
    assert (row.status, row.error_stage, row.error_code) == (200, "stream", "upstream_truncated")


async def _left(gateway: Front, path: str, body: dict[str, Any], upstream: Upstream) -> Answer:
    """A request whose client leaves while the upstream takes its time."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    client = Client(body_messages(orjson.dumps(body)))
    running = asyncio.create_task(
        gateway.app(make_scope(path=path, headers=headers), client.receive, client.send)
    )
    async with asyncio.timeout(10):
        await upstream.waiting.wait()
        client.hang_up()
        await asyncio.wait([running])
    return answer_of(client.sent)


@pytest.mark.parametrize(
    ("dialect", "stream"), [*((d, False) for d in REQUESTS), *((d, True) for d in STREAMED)]
)
async def test_a_client_that_leaves_pays_for_what_was_used(
    dialect: str, stream: bool, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect, **({"stream": True} if stream else {}))
    upstream = Upstream(hangs=True)
    async with front(anthropic=upstream, journal=journal, prices=prices) as gateway:
        await _left(gateway, path, body, upstream)
    _, row = only(journal)
    assert (row.status, row.stream) == (499, stream)
    assert row.aborted
    used = PART if stream else UNANSWERED
    assert (tokens(row), row.cost_nano) == (used, cost(used))


async def test_requests_that_are_nobodys_or_reach_no_model_have_no_row(journal: MemoryJournal) -> None:
    path, body = body_of("chat")
    async with front(anthropic=Upstream(), journal=journal) as gateway:
        stranger = await call(gateway.app, path=path, body=b"{}", headers={"authorization": "Bearer wrong"})
        assert stranger.status == 401
        assert (await gateway.get("/v1/models")).status == 200
        assert (await gateway.get("/health")).status == 200
        assert (await gateway.get(path)).status == 404
        assert (await gateway.post("/v1/nothing", {})).status == 404
        counted = await gateway.post("/v1/messages/count_tokens", body_of("messages")[1])
        assert counted.status == 200
    assert not journal.records
    limited = {"RATE_LIMIT_ENABLED": "1", "RATE_LIMIT_RPM": "1"}
    async with front(anthropic=Upstream(), journal=journal, environ=limited) as gateway:
        assert [(await gateway.post(path, body)).status for _ in range(2)] == [200, 429]
    assert len(journal.rows) == len(journal.asked) == 1


async def test_a_price_that_nobody_knows_is_unknown_and_not_nothing(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of("chat", model="claude-quartz-9")
    async with front(anthropic=Upstream(), journal=journal, prices=prices) as gateway:
        await gateway.post(path, body)
    (asked,), (row,) = journal.asked, journal.rows
    assert (asked.cost_nano, row.cost_nano, row.counterfactual_nano) == (None, None, None)
    assert tokens(row) == WHOLE


async def test_what_answers_under_another_name_costs_what_it_is(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    upstream = Upstream()
    upstream.calls_itself = f"{MODEL}-20261001"
    async with front(anthropic=upstream, journal=journal, prices=prices) as gateway:
        for model in ("sonnet", "claude-quartz-9"):
            await gateway.post(*body_of("chat", model=model))
    assert [row.model for row in journal.rows] == [upstream.calls_itself] * 2
    assert [row.cost_nano for row in journal.rows] == [cost(WHOLE)] * 2
    assert [asked.model for asked in journal.asked] == [MODEL, "claude-quartz-9"]


async def test_a_dearer_way_of_asking_is_priced_as_what_it_is(journal: MemoryJournal) -> None:
    path, body = body_of("messages", model="claude-opus-5-5")
    async with front(anthropic=Upstream(), journal=journal, prices=PriceBook()) as gateway:
        for speed in ({}, {"speed": "fast"}, {"speed": ["fast"]}, {"service_tier": "auto"}):
            assert (await gateway.post(path, {**body, **speed})).status == 200
    plain, fast, odd, auto = (row.cost_nano for row in journal.rows)
    assert plain is not None
    assert (fast, odd, auto) == (2 * plain, plain, plain)


async def test_what_is_dropped_on_the_way_is_not_paid_for(journal: MemoryJournal) -> None:
    async with front(anthropic=Upstream(), journal=journal, prices=PriceBook()) as gateway:
        for dialect in ("chat", "responses"):
            path, body = body_of(dialect, model="claude-opus-5-5")
            for speed in ({}, {"speed": "fast"}):
                assert (await gateway.post(path, {**body, **speed})).status == 200
    assert len(journal.rows) == 4
    assert len({row.cost_nano for row in journal.rows}) == 1


async def test_the_price_is_what_the_provider_says_it_charges_for(journal: MemoryJournal) -> None:
    upstream = Upstream()
    path, body = body_of("messages", model="claude-opus-5-5")
    async with front(anthropic=upstream, journal=journal, prices=PriceBook()) as gateway:
        for told in (None, "speed=standard", "speed=fast", "speed=of tomorrow"):
            upstream.usage = replace(WHOLE, variant=told)
            assert (await gateway.post(path, {**body, "speed": "fast"})).status == 200
    fast, standard, told_fast, unheard_of = (row.cost_nano for row in journal.rows)
    assert standard is not None
    assert (fast, told_fast, unheard_of) == (2 * standard, 2 * standard, standard)


async def test_searches_of_the_web_are_paid_for(journal: MemoryJournal) -> None:
    upstream = Upstream()
    upstream.usage = replace(WHOLE)
    merge(upstream.usage, {"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2}})
    assert upstream.usage == replace(WHOLE, web_searches=3)
    async with front(anthropic=upstream, journal=journal, prices=PriceBook()) as gateway:
        for dialect in ("messages", "chat"):
            assert (await gateway.post(*body_of(dialect, model=MODEL))).status == 200
    # $10 for 1,000 of them (https://platform.claude.com/docs/en/about-claude/pricing).
    assert [row.cost_nano for row in journal.rows] == [cost(WHOLE) + 3 * 10_000_000] * 2


async def test_numbers_that_no_table_holds_are_bounded(journal: MemoryJournal, prices: PriceBook) -> None:
    upstream = Upstream()
    upstream.usage = Usage(10**30, 10**30, 0, 0, 0, 10**31)
    async with front(anthropic=upstream, journal=journal, prices=prices) as gateway:
        assert (await gateway.post(*body_of("messages"))).status == 200
    (row,) = journal.rows
    assert (row.input_tokens, row.output_tokens, row.reasoning_tokens) == (10**12,) * 3
    assert row.cost_nano == 10**12 * (PRICES[0] + PRICES[1]) < 2**63


class _Saves:
    """A layer that took something out of the request."""

    def __init__(self, app: Any, savings: list[Saving]) -> None:
        self.app, self.savings = app, savings

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["state"] = {}
            for saving in self.savings:
                add_saving(scope["state"], saving)
            scope["state"][RESERVATION] = Reservation("r1", 10)
        await self.app(scope, receive, send)


@asynccontextmanager
async def _saving(
    journal: MemoryJournal, prices: PriceBook, savings: list[Saving], upstream: Upstream | None = None
) -> AsyncIterator[Front]:
    async with front(anthropic=upstream or Upstream(), journal=journal, prices=prices) as gateway:
        gateway.app = _Saves(gateway.app, savings)
        yield gateway


async def test_what_layers_saved_is_priced_at_what_the_prompt_cost(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    layers = [Saving("limits", 400, 100), Saving("dedup", 40, 10), Saving("limits", 4, 1)]
    async with _saving(journal, prices, layers) as gateway:
        await gateway.post(*body_of("chat"))
    _, row = only_with_reservation(journal)
    prompt = cost(Usage(WHOLE.input_tokens, 0, *(3_000, 400, 50)))
    saved = {layer: (count, nano) for layer, count, nano in row.savings}
    assert saved.keys() == {"limits", "dedup"}
    for layer, count in (("limits", 101), ("dedup", 10)):
        assert saved[layer][0] == count
        assert saved[layer][1] == pytest.approx(count * prompt / WHOLE.prompt_tokens, abs=1)
    assert row.cost_nano == cost(WHOLE)
    assert row.counterfactual_nano == cost(WHOLE) + sum(nano or 0 for _, nano in saved.values())


def only_with_reservation(journal: MemoryJournal) -> tuple[Asked, Row]:
    asked, row = only(journal)
    assert asked.reservation == row.reservation == "r1"
    return asked, row


async def test_savings_of_unknown_worth_are_counted_in_tokens_alone(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    async with _saving(journal, prices, [Saving("limits", 400, 100)]) as gateway:
        await gateway.post(*body_of("chat", model="claude-quartz-9"))
    (row,) = journal.rows
    assert [tuple(saved) for saved in row.savings] == [("limits", 100, None)]
    assert row.counterfactual_nano is None


async def test_a_request_that_was_not_answered_has_saved_nothing(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    saving = [Saving("limits", 400, 100)]
    async with _saving(journal, prices, saving, Upstream(refuses=True)) as gateway:
        await gateway.post(*body_of("chat"))
        await gateway.post(*body_of("chat", model="gpt-nobody"))
    assert [row.savings for row in journal.rows] == [[], []]
    assert [row.reservation for row in journal.rows] == ["r1", "r1"]


@pytest.mark.parametrize("dialect", REQUESTS)
async def test_what_could_not_be_recorded_is_not_sent_on(
    dialect: str, journal: MemoryJournal, prices: PriceBook
) -> None:
    upstream, (path, body) = Upstream(), body_of(dialect)
    journal.full = True
    async with front(anthropic=upstream, journal=journal, prices=prices) as gateway:
        answer = await gateway.post(path, body)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        error = answer.json()["error"]
        if dialect == "messages":
            assert (answer.json()["type"], error["type"]) == ("error", "overloaded_error")
        else:
            assert error["code"] == "ledger_full"
        assert not upstream.calls
        assert not journal.records
        counted = await gateway.post("/v1/messages/count_tokens", body_of("messages")[1])
        assert counted.status == 200, "what costs nothing needs no record"
        journal.full = False
        assert (await gateway.post(path, body)).status == 200
    assert len(journal.rows) == 1


async def test_a_full_ledger_stops_nobody_where_the_operator_says_so(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    journal.full = True
    async with front(
        anthropic=Upstream(), journal=journal, prices=prices, environ={"SPOOL_WHEN_FULL": "serve"}
    ) as gateway:
        assert (await gateway.post(*body_of("chat"))).status == 200
    assert len(journal.rows) == 1, "it is offered to the journal, which counts what it loses"


async def test_a_request_that_is_asked_twice_has_one_row_at_the_last_ones_price(
    journal: MemoryJournal, prices: PriceBook
) -> None:
    ledger = Ledger(journal, prices)
    body = Body(b'{"model": "claude-quartz-9"}', Client().receive)
    state: dict[str, Any] = {PRINCIPAL: Principal("red", "k1"), REQUEST_ID: "r", BODY: body}
    scope = {**make_scope(), "state": state}
    for model in ("claude-quartz-9", MODEL):
        done = state[COMPLETION] = Completion("anthropic", model, requested_model="claude-quartz-9")
        ledger.asked(scope, done)
        journal.full = True  # what has begun is not refused half-way
    done.input_tokens = 10
    ledger.price(state)
    ledger.price(state)
    ledger.finished(scope, state, 1.0, 200, 0.5, 0.25)
    (asked,), (row,) = journal.asked, journal.rows
    assert asked.id == row.id
    assert (asked.model, asked.cost_nano) == ("claude-quartz-9", None)
    assert (row.model, row.cost_nano, row.ttft_ms, row.duration_ms) == (MODEL, 10 * PRICES[0], 250, 500)


async def test_ids_are_never_the_same(journal: MemoryJournal, prices: PriceBook) -> None:
    async with front(anthropic=Upstream(), journal=journal, prices=prices) as gateway:
        for _ in range(300):
            await gateway.post(*body_of("chat"), **{"x-request-id": "the-same"})
    ids = [row.id for row in journal.rows]
    assert len(set(ids)) == 300
    assert len({i[8:20] for i in ids}) == 300
    assert all(len(i) == 32 for i in ids)


async def test_records_are_laid_out_as_those_who_read_them_expect(prices: PriceBook) -> None:
    raw: list[bytes] = []

    class Raw(MemoryJournal):
        def write(self, record: bytes) -> bool:
            raw.append(record)
            return super().write(record)

    journal = Raw()
    async with front(anthropic=Upstream(), journal=journal, prices=prices) as gateway:
        await gateway.post(*body_of("messages", stream=True))
    assert raw == [encode(record) for record in journal.records]


async def test_a_ledger_that_fails_costs_nobody_an_answer(
    prices: PriceBook, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryJournal):
        def write(self, record: bytes) -> bool:
            if len(self.records) == 1:
                raise OSError("the disk is gone")
            return super().write(record)

    async with front(anthropic=Upstream(), journal=Broken(), prices=prices) as gateway:
        assert (await gateway.post(*body_of("chat"))).status == 200
    assert "the disk is gone" in caplog.text


@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_what_is_written_down_leaves_no_cycles(
    dialect: str, journal: MemoryJournal, prices: PriceBook
) -> None:
    path, body = body_of(dialect, stream=True)
    async with front(anthropic=Upstream(), journal=journal, prices=prices) as gateway:
        for _ in range(3):
            await gateway.post(path, body)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await gateway.post(path, body)
            assert gc.collect() == 0
        finally:
            gc.enable()
    assert len(journal.rows) == 13
