"""Disconnect, in-process: who is cancelled, who is told, and what is left behind (nothing)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._state import ABORTED
from middleware.disconnect import DisconnectMiddleware, InFlight, RequestAborted

from .asgi import Answer, Client, answer_of, body_messages, call, make_scope

pytestmark = pytest.mark.anyio

Handler = Callable[[Any, Any, Any], Awaitable[None]]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def _ok(send: Any, body: bytes = b"ok") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _start(send: Any, headers: Any = SSE, piece: bytes = b"data: 1\n\n") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": piece, "more_body": True})


class _Exchange:
    """One request in a task of its own, with its state and its client to play with."""

    def __init__(
        self,
        handler: Handler,
        *,
        path: str = "/v1/chat/completions",
        client: Client | None = None,
        **options: Any,
    ) -> None:
        self.others = asyncio.all_tasks()
        self.state: dict[str, Any] = {"gateway.owned": True}
        self.client = client or Client(body_messages(b"{}"))
        options.setdefault("watch_after", 0.001)
        app = DisconnectMiddleware(handler, **options)
        self.send: Any = self.client.send

        async def send(message: Any) -> None:
            await self.send(message)

        self.task = asyncio.create_task(
            app(make_scope(path=path, state=self.state), self.client.receive, send)
        )

    async def done(self) -> Answer:
        async with asyncio.timeout(5):
            await self.task
        assert self.task.cancelling() == 0, "the server's task must not stay marked as cancelled"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= self.others, "the watch left something behind"
        return answer_of(self.client.sent)


def _handler(cancelled: asyncio.Event, *, read: bool = True, start: bool = False) -> Handler:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if read:
            await receive()
        if start:
            await _start(send)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    return app


@pytest.mark.parametrize("read", [True, False], ids=["body-read", "body-unread"])
@pytest.mark.parametrize("start", [True, False], ids=["mid-stream", "before-the-answer"])
async def test_work_is_cancelled_when_its_client_has_gone(read: bool, start: bool) -> None:
    cancelled = asyncio.Event()
    exchange = _Exchange(_handler(cancelled, read=read, start=start))
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    answer = await exchange.done()
    assert cancelled.is_set()
    assert exchange.state[ABORTED] == "client_disconnect"
    assert answer.status == (200 if start else 0), "nothing is written to a client that has gone"


async def test_a_quick_request_starts_no_task_at_all() -> None:
    extra: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0)
        extra.append(len(asyncio.all_tasks() - exchange.others))
        await _ok(send)

    exchange = _Exchange(app, watch_after=5)
    assert (await exchange.done()).body == b"ok"
    assert extra == [1]  # the request itself
    assert exchange.client.received == 1
    assert ABORTED not in exchange.state


async def test_the_body_that_the_watch_took_in_reaches_an_application_that_asks_late() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.03)
        whole = b""
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            whole += message["body"]
            if not message["more_body"]:
                break
        await asyncio.sleep(0.01)
        await _ok(send, whole)

    pieces = [b"a" * 10, b"b" * 20, b"c"]
    answer = await call(DisconnectMiddleware(app, watch_after=0.001), body=pieces)
    assert answer.body == b"".join(pieces)


@given(
    pieces=st.lists(st.binary(max_size=5), max_size=6), pauses=st.lists(st.booleans(), min_size=8, max_size=8)
)
def test_no_byte_of_a_body_is_lost_whenever_the_application_reads(
    pieces: list[bytes], pauses: list[bool]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        whole, more = b"", True
        pausing = iter(pauses)
        while more:
            if next(pausing):
                await asyncio.sleep(0.002)
            message = await receive()
            whole, more = whole + message["body"], message["more_body"]
        await _ok(send, whole)

    answer = asyncio.run(call(DisconnectMiddleware(app, watch_after=0.001), body=pieces))
    assert answer.body == b"".join(pieces)


async def test_a_listener_beside_the_work_is_handed_the_disconnect() -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listener = asyncio.create_task(receive())
        try:
            await asyncio.sleep(30)
        finally:
            heard.append(await listener)
            heard.append(await receive())

    exchange = _Exchange(app)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert heard == [{"type": "http.disconnect"}] * 2


async def test_an_application_that_waits_for_the_disconnect_is_told_and_not_cancelled() -> None:
    saved: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        message = await receive()
        await asyncio.sleep(0.01)
        saved.append(message["type"])

    exchange = _Exchange(app)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert saved == ["http.disconnect"]
    assert exchange.state[ABORTED] == "client_disconnect"


async def test_asking_with_a_timeout_loses_no_disconnect() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        while True:
            try:
                message = await asyncio.wait_for(receive(), 0.002)
            except TimeoutError:
                continue
            assert message["type"] == "http.disconnect"
            return

    exchange = _Exchange(app)
    await asyncio.sleep(0.02)
    exchange.client.hang_up()
    await exchange.done()


class _SlowUpload(Client):
    """Its body arrives when a test says so."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body_messages(body))
        self.arrived = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.arrived.wait()
        return await super().receive()


async def test_a_body_that_arrives_after_the_watch_began_is_watched_all_the_same() -> None:
    cancelled = asyncio.Event()
    client = _SlowUpload(b"{}")
    exchange = _Exchange(_handler(cancelled), client=client)
    await asyncio.sleep(0.02)
    client.arrived.set()
    await asyncio.sleep(0.01)
    client.hang_up()
    await exchange.done()
    assert cancelled.is_set()


async def test_asking_with_a_timeout_loses_no_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)  # the watch asks first
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0.002)
        client.arrived.set()
        await _ok(send, (await receive())["body"])

    client = _SlowUpload(b"{}")
    assert (await _Exchange(app, client=client).done()).body == b"{}"


async def test_a_client_that_leaves_during_its_upload_is_recorded_as_gone() -> None:
    class LeftError(Exception): ...

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass
        raise LeftError

    exchange = _Exchange(app)
    exchange.client._inbox[:] = [{"type": "http.request", "body": b"x", "more_body": True}]
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    answer = await exchange.done()
    assert answer.status == 0
    assert exchange.state[ABORTED] == "client_disconnect"


async def test_what_runs_after_the_answer_is_left_alone() -> None:
    finished: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.005)
        await _ok(send)
        await asyncio.sleep(0.1)
        finished.append(True)

    exchange = _Exchange(app, deadline=0.05, write_timeout=0.02)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert finished == [True]
    assert ABORTED not in exchange.state


async def test_nothing_is_watched_once_the_answer_is_complete() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await _ok(send)
        await asyncio.sleep(0.05)

    exchange = _Exchange(app, watch_after=0.01)
    await exchange.done()
    assert exchange.client.received == 0


async def test_a_cancellation_from_outside_is_passed_on() -> None:
    cancelled = asyncio.Event()
    exchange = _Exchange(_handler(cancelled))
    await asyncio.sleep(0.01)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert cancelled.is_set()
    assert ABORTED not in exchange.state


async def test_a_cancellation_from_outside_wins_over_one_of_ours() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await asyncio.sleep(30)
        finally:
            exchange.task.cancel()
            await asyncio.sleep(0)

    exchange = _Exchange(app)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task


async def test_the_deadline_before_the_answer_is_a_504_in_the_callers_dialect() -> None:
    cancelled = asyncio.Event()
    answer = await _Exchange(_handler(cancelled), deadline=0.02).done()
    assert cancelled.is_set()
    assert answer.status == 504
    assert answer.json()["error"]["type"] == "timeout_error"
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    exchange = _Exchange(_handler(cancelled), deadline=0.02, path="/v1/messages")
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
    answer = await _Exchange(_handler(asyncio.Event(), start=True), deadline=0.02, path=path).done()
    assert answer.body.count(marker) == 1
    assert answer.body.endswith(b"\n\n")
    assert b"[DONE]" not in answer.body
    assert answer.messages[-1]["more_body"] is False


async def test_the_last_event_stands_alone_even_when_the_deadline_cuts_another() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await _start(send, piece=b'data: {"half')
        await asyncio.sleep(30)

    answer = await _Exchange(app, deadline=0.02).done()
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
        await _start(send, headers)
        await asyncio.sleep(30)

    exchange = _Exchange(app, deadline=0.02)
    with pytest.raises(RequestAborted):
        await exchange.done()
    assert all(m.get("more_body", True) for m in exchange.client.sent)


@pytest.mark.parametrize("last", [False, True], ids=["mid-stream", "last-message"])
async def test_a_reader_that_is_stuck_is_given_up_without_pretending_an_end(last: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await _start(send)
        exchange.send = stuck
        await send({"type": "http.response.body", "body": b"x", "more_body": not last})

    async def stuck(message: Any) -> None:
        await asyncio.sleep(30)

    exchange = _Exchange(app, write_timeout=0.02)
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
        await _start(send)
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    exchange = _Exchange(app, write_timeout=0.08)
    assert (await exchange.done()).body.endswith(b"x" * 10)


async def test_a_server_that_refuses_writes_to_the_gone_is_understood() -> None:
    async def refuse(message: Any) -> None:
        raise OSError("client disconnected")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        exchange.send = refuse
        await _start(send)

    exchange = _Exchange(app)
    await exchange.done()
    assert exchange.state[ABORTED] == "client_disconnect"


async def test_an_application_error_stays_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.005)
        raise LookupError("bug")

    with pytest.raises(LookupError, match="bug"):
        await _Exchange(app).done()


async def test_an_application_may_turn_its_cancellation_into_an_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await _ok(send, b"late")

    answer = await _Exchange(app, deadline=0.02).done()
    assert answer.body == b"late"


async def test_a_server_that_stops_ends_every_request_honestly() -> None:
    in_flight = InFlight()
    cancelled = asyncio.Event()
    waiting = _Exchange(_handler(cancelled), in_flight=in_flight)
    streaming = _Exchange(_handler(cancelled, start=True), in_flight=in_flight)
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
        await _ok(send)
        assert in_flight.end_all() == 0
        await asyncio.sleep(0)

    assert (await _Exchange(app, in_flight=in_flight).done()).body == b"ok"


async def test_without_a_deadline_only_the_client_decides() -> None:
    cancelled = asyncio.Event()
    exchange = _Exchange(_handler(cancelled), deadline=None)
    await asyncio.sleep(0.05)
    assert not cancelled.is_set()
    exchange.client.hang_up()
    await exchange.done()


async def test_other_scope_types_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope = {"type": "websocket"}
    await DisconnectMiddleware(app)(scope, call, call)  # type: ignore[arg-type]
    assert seen == [(scope, call, call)]
