"""A row is the sum of what its request was billed for, also where an upstream was asked more than once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gw.dispatch import Prefixed
from gw.ledger.row import Row
from perf.simulated import SimulatedUpstream
from perf.simulated.bills import Line
from providers.http import EngineClient
from providers.openai_compatible.adapter import OpenAICompatibleProvider

from .stub import Front, MemoryJournal, front

pytestmark = pytest.mark.anyio

SAY: Any = [{"role": "user", "content": "Say something."}]
TOOL = {"name": "look", "parameters": {"type": "object"}, "strict": True}
CUSTOM = {"type": "custom", "name": "look"}
#: Dialect -> path, body, and what its upstream first refuses of it.
REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": ("/v1/chat/completions", {"messages": SAY, "max_completion_tokens": 60}, "legacy-max-tokens"),
    "messages": (
        "/v1/messages",
        {"messages": SAY, "max_tokens": 60, "system": "Be brief.", "thinking": {"type": "disabled"}},
        "no-system",
    ),
    "responses": (
        "/v1/responses",
        {"input": "Say something.", "tools": [{"type": "function", **TOOL}]},
        "no-strict",
    ),
    "completions": ("/v1/completions", {"prompt": "Say something.", "top_k": 5}, "spaced"),
    "simple": ("/chat", {"message": "Say something.", "system": "Be brief."}, "no-system"),
}
STREAMED = [
    (dialect, stream)
    for dialect in REQUESTS
    for stream in (False, True)
    if (dialect, stream) != ("simple", True)
]


@asynccontextmanager
async def gateway(sim: SimulatedUpstream, journal: MemoryJournal) -> AsyncIterator[Front]:
    client = EngineClient()
    provider = OpenAICompatibleProvider(
        client, name="sim", base_url=f"{sim.base_url}/openai/v1", api_key="sk-of-the-operator"
    )
    try:
        async with front(others={"sim": Prefixed(provider)}, journal=journal) as found:
            yield found
    finally:
        await client.aclose()


async def asked(dialect: str, *quirks: str, stream: bool) -> tuple[Row, list[Line]]:
    """The row of a request that is answered in the end, and the lines of its upstream's bill."""
    path, body, refused = REQUESTS[dialect]
    model = "sim:quirk-" + "+".join((refused, "paid-refusals", *quirks))
    journal = MemoryJournal()
    async with SimulatedUpstream(strict=True) as sim:
        async with gateway(sim, journal) as client:
            answer = await client.post(path, {**body, "model": model, **({"stream": True} if stream else {})})
        lines = list(sim.bills.since(0))
    assert answer.status == 200, answer.body
    assert b'"error"' not in answer.body.replace(b'"error":null', b"")
    (row,) = journal.rows
    return row, lines


@pytest.mark.parametrize(("dialect", "stream"), STREAMED)
async def test_an_attempt_that_was_billed_and_refused_is_in_the_row(dialect: str, stream: bool) -> None:
    row, lines = await asked(dialect, stream=stream)
    assert len(lines) == row.attempts > 1
    assert all(line.bill.input > 0 < line.bill.output for line in lines)
    bills = [line.bill for line in lines]
    assert row.estimated == ""
    assert row.input_tokens == sum(bill.input for bill in bills)
    assert row.output_tokens == sum(bill.output for bill in bills)
    assert row.cache_read_tokens == sum(bill.cache_read for bill in bills)
    assert row.cache_write_5m_tokens == sum(bill.cache_write_5m for bill in bills)
    assert row.reasoning_tokens == sum(bill.reasoning for bill in bills)
    assert (row.status, row.error_code) == (200, "")


@pytest.mark.parametrize(("dialect", "stream"), STREAMED)
async def test_what_an_attempt_has_not_told_is_estimated_and_flagged(dialect: str, stream: bool) -> None:
    row, lines = await asked(dialect, "no-usage", stream=stream)
    assert len(lines) == row.attempts > 1
    asked_to_stream = any(line.stream for line in lines)
    assert row.estimated == ("input,output" if asked_to_stream else "")
    billed = sum(line.bill.input + line.bill.cache_read + line.bill.cache_write_5m for line in lines)
    counted = row.input_tokens + row.cache_read_tokens + row.cache_write_5m_tokens
    assert counted == billed if not asked_to_stream else billed * 0.5 < counted < billed * 2


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
async def test_a_refusal_to_stream_that_was_billed_is_in_the_row(dialect: str) -> None:
    """The upstream then gives whole answers, of which one more may be refused and billed."""
    row, lines = await asked(dialect, "no-stream", stream=True)
    assert len(lines) == row.attempts > 2
    assert (row.input_tokens + row.cache_read_tokens + row.cache_write_5m_tokens, row.output_tokens) == (
        sum(line.bill.input + line.bill.cache_read + line.bill.cache_write_5m for line in lines),
        sum(line.bill.output for line in lines),
    )
    assert row.estimated == ""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_refused_in_the_end_costs_its_attempts(stream: bool) -> None:
    journal = MemoryJournal()
    model = "sim:quirk-legacy-max-tokens+paid-refusals"
    said = [{"role": "user", "content": "Say something. [sim status=400]"}]
    body = {"model": model, "messages": said, "max_completion_tokens": 60, "stream": stream}
    async with SimulatedUpstream(strict=True) as sim:
        async with gateway(sim, journal) as client:
            answer = await client.post("/v1/chat/completions", body)
        lines = list(sim.bills.since(0))
    assert answer.status == 400
    (row,) = journal.rows
    assert len(lines) == row.attempts == 2
    assert (row.input_tokens, row.output_tokens, row.estimated) == (
        sum(line.bill.input for line in lines),
        sum(line.bill.output for line in lines),
        "",
    )
