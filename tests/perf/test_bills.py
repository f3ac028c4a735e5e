"""The bill of the simulated upstream: what it tells is what it would be paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from perf.simulated import SimulatedUpstream
from perf.simulated.bills import MAX_LINES, Bill, Bills, Line
from perf.simulated.ledger import Received
from perf.simulated.program import Program
from providers.errors import ProviderError
from providers.http import EngineClient

pytestmark = pytest.mark.anyio

DIALECTS = {
    "messages": ("/v1/messages", "claude-opus-5", "x-api-key", ""),
    "bedrock": ("/anthropic/v1/messages", "anthropic.claude-opus-5", "authorization", "Bearer "),
    "openai": ("/openai/v1/chat/completions", "gpt-4o", "authorization", "Bearer "),
    "ollama": ("/api/chat", "qwen2.5:7b", "x-api-key", ""),
}


async def ask(
    sim: SimulatedUpstream, dialect: str, said: str, *, stream: bool = True, leave_after: int | None = None
) -> bytes:
    """What has arrived of an answer to ``said``; ``leave_after`` so many words, and not before a byte."""
    path, model, name, scheme = DIALECTS[dialect]
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": said}],
        "stream": stream,
    }
    if dialect != "ollama":
        body["max_tokens"] = 1_000
    if dialect == "openai" and stream:
        body["stream_options"] = {"include_usage": True}
    headers = [
        (b"content-type", b"application/json"),
        (name.encode(), f"{scheme}key".encode()),
        (b"anthropic-version", b"2023-06-01"),
    ]
    client = EngineClient()
    found = b""
    try:
        response = await client.request("POST", sim.base_url + path, headers=headers, body=orjson.dumps(body))
        async with response:
            while piece := await response.read_some():
                found += piece
                if leave_after is not None and found.count(b" word") >= leave_after:
                    break
    except ProviderError:
        pass
    finally:
        await client.aclose()
    return found


async def lines(sim: SimulatedUpstream, count: int) -> list[Line]:
    async with asyncio.timeout(5):
        while len(sim.bills) < count:
            await asyncio.sleep(0.002)
    return list(sim.bills.since(0))


def told(answer: bytes) -> Iterator[int]:
    """Every count of written tokens that an answer tells."""
    for line in answer.split(b"\n"):
        text = line.removeprefix(b"data:").strip()
        if text.startswith(b"{"):
            event = orjson.loads(text)
            usage = event.get("usage") or event
            for name in ("output_tokens", "completion_tokens", "eval_count"):
                if name in usage:
                    yield usage[name]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_finished_answer_costs_what_it_has_told(dialect: str, stream: bool) -> None:
    async with SimulatedUpstream() as sim:
        answer = await ask(sim, dialect, "Tell me something. [tag a-1]", stream=stream)
        (line,) = await lines(sim, 1)
        assert (line.outcome, line.tag, line.stream, line.status) == ("finished", "a-1", stream, 200)
        assert line.bill.output == list(told(answer))[-1] > 0
        assert line.bill.input > 0
        assert line.request_id == sim.requests[0].request_id


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_that_is_left_costs_what_was_sent_until_then(dialect: str) -> None:
    async with SimulatedUpstream() as sim:
        answer = await ask(sim, dialect, "[sim tokens=400 delay_ms=2] [tag b]", leave_after=20)
        (line,) = await lines(sim, 1)
        assert (line.outcome, line.tag) == ("aborted", "b")
        arrived = answer.count(b" word")
        assert arrived <= line.bill.output <= arrived + 60
        assert line.bill.input > 0


@pytest.mark.parametrize("fault", ["reset", "cut", "truncate", "error"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_that_breaks_off_costs_what_was_sent(dialect: str, fault: str) -> None:
    async with SimulatedUpstream() as sim:
        answer = await ask(sim, dialect, f"[sim tokens=90 fault={fault} after=40]")
        (line,) = await lines(sim, 1)
        assert line.outcome == "failed"
        assert line.bill.output == answer.count(b" word") > 30


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_refused_costs_nothing(dialect: str) -> None:
    async with SimulatedUpstream() as sim:
        for directive in ("status=429", "status=500", "fault=error after=0"):
            await ask(sim, dialect, f"[sim {directive}]")
        found = await lines(sim, 3)
        assert [line.outcome for line in found] == ["refused"] * 3
        assert {line.bill._replace(model="") for line in found} == {Bill("", 0)}


async def test_who_says_nothing_is_paid_for_reading_if_he_was_left() -> None:
    async with SimulatedUpstream() as sim:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(sim, "messages", "[sim fault=hang]")
        await ask(sim, "messages", "[sim fault=drop]")
        await ask(sim, "messages", "[sim fault=bad_http]")
        hung, dropped, nonsense = await lines(sim, 3)
        assert {line.outcome for line in (hung, dropped, nonsense)} == {"unanswered"}
        assert hung.bill.input > 0 == hung.bill.output == dropped.bill.input == nonsense.bill.input


async def test_only_what_asks_a_model_is_billed() -> None:
    async with SimulatedUpstream() as sim:
        client = EngineClient()
        for method, path in (
            ("GET", "/v1/models"),
            ("GET", "/api/tags"),
            ("POST", "/v1/messages/count_tokens"),
        ):
            response = await client.request(method, sim.base_url + path, headers=[(b"x-api-key", b"k")])
            await response.read()
        await client.aclose()
        assert len(sim.bills) == 0


async def test_the_bill_is_read_in_parts() -> None:
    async with SimulatedUpstream() as sim:
        for number in range(5):
            await ask(sim, "messages", f"Hello [tag t{number}]")
        client = EngineClient()
        response = await client.request("GET", f"{sim.base_url}/_sim/ledger?after=3")
        rows = [orjson.loads(row) for row in (await response.read()).splitlines()]
        await client.aclose()
        assert [(row["number"], row["tag"]) for row in rows] == [(3, "t3"), (4, "t4")]
        assert {"input", "output", "cache_read", "cache_write_5m", "outcome", "request_id"} <= rows[0].keys()


def test_the_oldest_lines_are_forgotten_and_keep_their_numbers() -> None:
    bills = Bills()
    received = Received("POST", "/v1/messages", {}, b"", "req")
    program = Program(200, b"HTTP/1.1 200 OK\r\n\r\n", bill=Bill("m", 1))
    received.bytes_written = 10
    for _ in range(MAX_LINES + 1):
        bills.add(received, program, left=False)
    assert len(bills) == MAX_LINES + 1
    assert orjson.loads(bills.json_lines(MAX_LINES))["number"] == MAX_LINES
    assert len(list(bills.since(0))) == MAX_LINES // 2 + 1
