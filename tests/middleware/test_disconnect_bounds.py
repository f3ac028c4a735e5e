"""Deadlines, stuck readers and shutdown: how an answer ends that may not go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from middleware._state import ABORTED
from middleware.disconnect import InFlight, RequestAborted

from .exchange import SSE, Exchange, answer_ok, sleeper, start_stream

pytestmark = pytest.mark.anyio


async def test_the_deadline_before_the_answer_is_a_504_in_the_callers_dialect() -> None:
    cancelled = asyncio.Event()
    answer = await Exchange(sleeper(cancelled), deadline=0.02).done()
    assert cancelled.is_set()
    assert answer.status == 504
    assert answer.json()["error"]["type"] == "timeout_error"
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    exchange = Exchange(sleeper(cancelled), deadline=0.02, path="/v1/messages")
    assert (await exchange.done()).json()["error"]["type"] == "timeout_error"
    assert exchange.state[ABORTED] == "deadline"


@pytest.mark.parametrize(
    ("path", "marker"),
    [
        ("/v1/chat/completions", b'\n\ndata: {"error":'),
        ("/v1/messages", b'\n\nevent: error\ndata: {"type":"error"'),
    ],
)
async def test_the_deadline_ends_a_stream_with_one_error_event_and_no_done(path: str, marker: bytes) -> None:
    answer = await Exchange(sleeper(asyncio.Event(), start=True), deadline=0.02, path=path).done()
    assert answer.body.count(marker) == 1
    assert answer.body.endswith(b"\n\n")
    assert b"[DONE]" not in answer.body
    assert answer.messages[-1]["more_body"] is False


async def test_the_last_event_stands_alone_even_when_the_deadline_cuts_another() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start_stream(send, piece=b'data: {"half')
        await asyncio.sleep(30)

    answer = await Exchange(app, deadline=0.02).done()
    assert answer.body.split(b"\n\n")[0] == b'data: {"half'
    assert answer.body.split(b"\n\n")[1].startswith(b'data: {"error":')


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"application/json")],
        [],
        [*SSE, (b"content-encoding", b"gzip")],
        [*SSE, (b"Content-Length", b"100")],
    ],
)
async def test_an_answer_that_cannot_carry_an_error_is_broken_off(headers: list[Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start_stream(send, headers)
        await asyncio.sleep(30)

    exchange = Exchange(app, deadline=0.02)
    with pytest.raises(RequestAborted):
        await exchange.done()
    assert all(m.get("more_body", True) for m in exchange.client.sent)


@pytest.mark.parametrize("last", [False, True], ids=["mid-stream", "last-message"])
async def test_a_reader_that_is_stuck_is_given_up_without_pretending_an_end(last: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start_stream(send)
        exchange.send = stuck
        await send({"type": "http.response.body", "body": b"x", "more_body": not last})

    async def stuck(message: Any) -> None:
        await asyncio.sleep(30)

    exchange = Exchange(app, write_timeout=0.02)
    with pytest.raises(RequestAborted):
        await exchange.done()
    assert exchange.state[ABORTED] == "write_timeout"
    assert len(exchange.client.sent) == 2


async def test_slow_but_moving_writes_are_not_given_up() -> None:
    async def crawl(message: Any) -> None:
        await asyncio.sleep(0.01)
        exchange.client.sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        exchange.send = crawl
        await start_stream(send)
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    exchange = Exchange(app, write_timeout=0.08)
    assert (await exchange.done()).body.endswith(b"x" * 10)


async def test_an_application_may_turn_its_cancellation_into_an_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await answer_ok(send, b"late")

    answer = await Exchange(app, deadline=0.02).done()
    assert answer.body == b"late"


async def test_a_server_that_stops_ends_every_request_honestly() -> None:
    in_flight = InFlight()
    cancelled = asyncio.Event()
    waiting = Exchange(sleeper(cancelled), in_flight=in_flight)
    streaming = Exchange(sleeper(cancelled, start=True), in_flight=in_flight)
    await asyncio.sleep(0.01)
    assert in_flight.end_all() == 2
    streaming.others |= waiting.others | {waiting.task}
    waiting.others = streaming.others | {streaming.task}
    refused, cut = await waiting.done(), await streaming.done()
    assert refused.status == 503
    assert refused.json()["error"]["code"] == "shutting_down"
    assert b'data: {"error":' in cut.body
    assert b"[DONE]" not in cut.body
    assert waiting.state[ABORTED] == "shutdown"
    assert len(in_flight) == 0
    assert in_flight.end_all() == 0


async def test_a_stopping_server_lets_the_last_write_finish() -> None:
    in_flight = InFlight()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer_ok(send)
        assert in_flight.end_all() == 0
        await asyncio.sleep(0)

    assert (await Exchange(app, in_flight=in_flight).done()).body == b"ok"


async def test_without_a_deadline_only_the_client_decides() -> None:
    cancelled = asyncio.Event()
    exchange = Exchange(sleeper(cancelled), deadline=None)
    await asyncio.sleep(0.05)
    assert not cancelled.is_set()
    exchange.client.hang_up()
    await exchange.done()
