"""Scripted faults and pacing, seen from a client's socket; and what the ledger says of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import httptools
import pytest

from perf.simulated import Scenario, SimulatedUpstream
from perf.simulated.scenario import directive, from_json

pytestmark = pytest.mark.anyio

HEADERS = "x-api-key: k\r\nanthropic-version: 2026-10-21\r\n"


def body(text: str = "hello", **fields: Any) -> bytes:
    value = {"model": "claude-opus-5", "max_tokens": 4000, "stream": True}
    return json.dumps({**value, "messages": [{"role": "user", "content": text}], **fields}).encode()


def wire(payload: bytes, path: str = "/v1/messages", method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{HEADERS}content-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


@asynccontextmanager
async def connected(
    sim: SimulatedUpstream,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone for good afterwards, whatever became of it."""
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Answers:
    """Counts complete HTTP answers in what has been read."""

    def __init__(self) -> None:
        self.complete = 0
        self._parser: Any = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.complete += 1

    def feed(self, data: bytes) -> None:
        with suppress(httptools.HttpParserError):
            self._parser.feed_data(data)


async def exchange(
    sim: SimulatedUpstream, sent: bytes, *, answers: int = 1, limit: float = 5
) -> tuple[bytes, str]:
    """What the upstream wrote until that many answers were complete or ``limit`` s had passed, and the
    state of the connection: "eof", "reset" or "open"."""
    received, seen = b"", Answers()
    async with connected(sim) as (reader, writer):
        writer.write(sent)
        try:
            async with asyncio.timeout(limit):
                while seen.complete < answers and (piece := await reader.read(65536)):
                    received += piece
                    seen.feed(piece)
        except TimeoutError:
            return received, "open"
        except ConnectionResetError:
            return received, "reset"
        return received, "open" if seen.complete == answers else "eof"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("fault", "ending", "holds", "lacks"),
    [
        ("reset", "reset", b"text_delta", b"message_stop"),
        ("cut", "eof", b"message_delta", b"message_stop"),
        ("truncate", "open", b"\r\n0\r\n\r\n", b"message_stop"),
        ("stall", "open", b"text_delta", b"message_stop"),
        ("error", "open", b"overloaded_error", b"message_stop"),
        ("bad_json", "open", b'"index":0,\n\n', b"\xff"),
        ("bad_utf8", "open", b"\xff\xfe", b"event: error"),
        ("unknown_event", "open", b"weather_report", b"event: error"),
        ("hang", "open", b"", b"HTTP"),
        ("drop", "eof", b"", b"HTTP"),
        ("bad_http", "eof", b"220 this is not HTTP", b"HTTP/1.1"),
    ],
)
async def test_each_fault_does_what_it_says(fault: str, ending: str, holds: bytes, lacks: bytes) -> None:
    async with SimulatedUpstream() as sim:
        received, ended = await exchange(
            sim, wire(body(f"[sim fault={fault}] hello")), limit=0.4 if fault in ("stall", "hang") else 5
        )
        assert ended == ending
        assert holds in received
        assert lacks not in received


async def test_a_fault_comes_after_that_many_events() -> None:
    async with SimulatedUpstream() as sim:
        sim.script({"tokens": 50, "fault": "cut", "after": 20})
        received, _ = await exchange(sim, wire(body()))
        assert received.count(b"event: ") == 20
        assert not received.endswith(b"0\r\n\r\n")
        assert sim.requests[-1].events_written == 20


async def test_an_error_before_content_is_the_first_event() -> None:
    async with SimulatedUpstream() as sim:
        sim.script({"fault": "error", "after": 0})
        received, _ = await exchange(sim, wire(body()))
        assert received.count(b"event: ") == 1
        assert b"event: error" in received


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
async def test_error_statuses_come_in_the_apis_envelope(status: int, kind: str) -> None:
    async with SimulatedUpstream() as sim:
        sim.script({"status": status, "retry_after": 7, "headers": {"x-should-retry": "false"}})
        received, _ = await exchange(sim, wire(body()))
        head, _, content = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"retry-after: 7" in head
        assert b"x-should-retry: false" in head
        envelope = json.loads(content)
        assert envelope["error"]["type"] == kind
        assert f"request-id: {envelope['request_id']}".encode() in head


async def test_scenarios_are_used_up_in_order_each_by_its_path() -> None:
    async with SimulatedUpstream() as sim:
        sim.script(Scenario(status=529), {"path": "/v1/models", "status": 500}, {"status": 429})
        seen = []
        for path, method in (("/v1/messages", "POST"), ("/v1/messages", "POST"), ("/v1/models", "GET")):
            received, _ = await exchange(sim, wire(body(stream=False), path, method))
            seen.append(received[9:12])
        assert seen == [b"529", b"429", b"500"]
        received, _ = await exchange(sim, wire(body()))
        assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
async def test_every_framing_carries_the_same_events(framing: str) -> None:
    async with SimulatedUpstream() as sim:
        sim.script({"framing": framing, "text": "the same words"})
        received, ended = await exchange(sim, wire(body()))
        assert received.count(b"event: message_stop") == 1
        assert ended == ("eof" if framing == "close" else "open")


async def test_a_split_stream_is_cut_inside_events_and_loses_nothing() -> None:
    async with SimulatedUpstream() as sim:
        whole, _ = await exchange(sim, wire(body("héllo")))
        sim.script({"split": 3, "framing": "close"})
        split, _ = await exchange(sim, wire(body("héllo")))
        unchunked = re.sub(rb"(?m)^[0-9a-f]+\r\n|\r\n", b"", whole.partition(b"\r\n\r\n")[2])
        assert split.partition(b"\r\n\r\n")[2] == unchunked


async def test_a_client_that_leaves_is_noted_with_what_it_had_got() -> None:
    async with SimulatedUpstream() as sim, connected(sim) as (_, writer):
        writer.write(wire(body("[sim tokens=500 delay_ms=10] hello")))
        await until(lambda: len(sim.requests) == 1 and sim.requests[0].events_written > 5)
        entry = sim.requests[0]
        assert not entry.completed
        assert entry.closed_by_client_at is None
        writer.transport.abort()
        await until(lambda: entry.closed_by_client_at is not None)
        written = entry.events_written
        assert written < 500
        await asyncio.sleep(0.05)
        assert entry.events_written == written


async def test_a_client_that_does_not_read_stops_the_writing() -> None:
    async with SimulatedUpstream() as sim, connected(sim) as (reader, writer):
        blocks = [{"type": "redacted_thinking", "data": "x" * 1_000_000}] * 24
        sim.script({"blocks": blocks, "delay_ms": 0.001})
        writer.write(wire(body()))
        await until(lambda: len(sim.requests) == 1 and sim.requests[0].bytes_written > 1_000_000)
        for _ in range(200):
            before = sim.requests[0].bytes_written
            await asyncio.sleep(0.1)
            if sim.requests[0].bytes_written == before:
                break
        assert sim.requests[0].bytes_written == before
        assert not sim.requests[0].completed
        assert await reader.read(10)
        writer.transport.abort()
        await until(lambda: sim.connections == 0)


async def test_pauses_are_kept_between_events() -> None:
    async with SimulatedUpstream() as sim, connected(sim) as (reader, writer):
        writer.write(wire(body("[sim tokens=5 delay_ms=40 hold_ms=80] hello")))
        await until(lambda: len(sim.requests) == 1)
        loop = asyncio.get_running_loop()
        began, arrivals = loop.time(), []
        while b"message_stop" not in await reader.readuntil(b"\n\n"):
            arrivals.append(loop.time() - began)
        assert arrivals[0] >= 0.07
        assert all(later - earlier >= 0.02 for earlier, later in pairwise(arrivals))


async def test_the_ledger_shows_the_request_but_no_key() -> None:
    async with SimulatedUpstream() as sim:
        await exchange(sim, wire(body("[sim tokens=3] hi")))
        received, _ = await exchange(sim, wire(b"", "/_sim/requests", "GET"))
        (entry,) = json.loads(received.partition(b"\r\n\r\n")[2])
        assert entry["headers"]["x-api-key"] == "***"
        assert entry["body"]["messages"][0]["content"] == "[sim tokens=3] hi"
        assert entry["completed"]
        await exchange(sim, wire(b"", "/_sim/requests", "DELETE"))
        assert len(sim.requests) == 0


async def test_scenarios_can_be_posted() -> None:
    async with SimulatedUpstream() as sim:
        posted = json.dumps([{"status": 529}]).encode()
        await exchange(sim, wire(posted, "/_sim/script"))
        received, _ = await exchange(sim, wire(body()))
        assert received.startswith(b"HTTP/1.1 529")
        received, _ = await exchange(sim, wire(b'[{"stauts": 529}]', "/_sim/script"))
        assert received.startswith(b"HTTP/1.1 400")
        assert b"stauts" in received


async def test_requests_on_one_connection_are_answered_in_turn() -> None:
    async with SimulatedUpstream() as sim:
        first = wire(body("[sim tokens=3 delay_ms=10] one"))
        received, _ = await exchange(sim, first + wire(body("two", stream=False)), answers=2)
        assert received.index(b"message_stop") < received.index(b"two")
        assert received.count(b"HTTP/1.1 200") == 2


async def test_a_body_over_32_mb_is_refused() -> None:
    async with SimulatedUpstream() as sim, connected(sim) as (reader, writer):
        size = 32 * 1024 * 1024 + 1
        writer.write(f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode())
        for _ in range(33):
            writer.write(b" " * (1024 * 1024))
            await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")


async def test_a_repeated_request_gets_the_same_answer_under_its_own_id() -> None:
    async with SimulatedUpstream() as sim:
        sent = wire(body(stream=False))
        (first, _), (second, _) = await exchange(sim, sent), await exchange(sim, sent)
        assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]
        assert first != second  # request-id


async def test_a_remembered_request_still_needs_its_key() -> None:
    async with SimulatedUpstream() as sim:
        sent = wire(body(stream=False))
        await exchange(sim, sent)
        received, _ = await exchange(sim, sent.replace(b"x-api-key: k\r\n", b""))
        assert received.startswith(b"HTTP/1.1 401")


def test_a_directive_has_the_fields_of_a_scenario() -> None:
    assert directive("no directive") is None
    found = directive('x [sim tokens=200 delay_ms=5 fault=reset after=3 message="a b" coalesce=0] y')
    assert found == Scenario(tokens=200, delay_ms=5, fault="reset", after=3, message="a b", coalesce=False)


@pytest.mark.parametrize("text", ["[sim tokns=3]", "[sim tokens=x]", "[sim fault=fire]", "[sim after=-1]"])
def test_a_directive_that_makes_no_sense_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        directive(text)


@pytest.mark.parametrize("value", [3, {"nonsense": 1}, {"fault": "fire"}, {"framing": "telex"}])
def test_a_scenario_that_makes_no_sense_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(value)
