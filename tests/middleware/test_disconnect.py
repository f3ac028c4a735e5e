"""Disconnect, in-process: who is cancelled, who is told, and what is left behind (nothing)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._state import ABORTED, ANSWERED
from middleware.disconnect import DisconnectMiddleware

from .asgi import Client, body_messages, call, make_scope
from .exchange import Exchange, answer_ok, sleeper, start_stream

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("read", [True, False], ids=["body-read", "body-unread"])
@pytest.mark.parametrize("start", [True, False], ids=["mid-stream", "before-the-answer"])
async def test_work_is_cancelled_when_its_client_has_gone(read: bool, start: bool) -> None:
    cancelled = asyncio.Event()
    exchange = Exchange(sleeper(cancelled, read=read, start=start))
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
        await answer_ok(send)

    exchange = Exchange(app, watch_after=5)
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
        await answer_ok(send, whole)

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
        await answer_ok(send, whole)

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

    exchange = Exchange(app)
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

    exchange = Exchange(app)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert saved == ["http.disconnect"]
    assert exchange.state[ABORTED] == "client_disconnect"


async def _in_this_task(receive: Any) -> Any:
    async with asyncio.timeout(0.002):
        return await receive()


async def _in_a_task_of_its_own(receive: Any) -> Any:
    return await asyncio.wait_for(asyncio.create_task(receive()), 0.002)


@pytest.mark.parametrize("ask", [_in_this_task, _in_a_task_of_its_own])
async def test_asking_with_a_timeout_loses_no_disconnect(ask: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        while True:
            try:
                message = await ask(receive)
            except TimeoutError:
                continue
            assert message["type"] == "http.disconnect"
            return

    exchange = Exchange(app)
    await asyncio.sleep(0.02)
    exchange.client.hang_up()
    await exchange.done()


async def test_an_application_that_has_stopped_listening_is_cancelled_again() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await _in_this_task(receive)
        await sleeper(cancelled, read=False)(scope, receive, send)

    exchange = Exchange(app)
    await asyncio.sleep(0.02)
    exchange.client.hang_up()
    await exchange.done()
    assert cancelled.is_set()


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
    exchange = Exchange(sleeper(cancelled), client=client)
    await asyncio.sleep(0.02)
    client.arrived.set()
    await asyncio.sleep(0.01)
    client.hang_up()
    await exchange.done()
    assert cancelled.is_set()


async def test_an_application_that_stops_reading_its_body_is_watched_all_the_same() -> None:
    cancelled = asyncio.Event()
    exchange = Exchange(sleeper(cancelled), client=Client(body_messages([b"{}", b""])))
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert cancelled.is_set()


async def test_asking_with_a_timeout_loses_no_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)  # the watch asks first
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0.002)
        client.arrived.set()
        await answer_ok(send, (await receive())["body"])

    client = _SlowUpload(b"{}")
    assert (await Exchange(app, client=client).done()).body == b"{}"


async def test_a_client_that_leaves_during_its_upload_is_recorded_as_gone() -> None:
    class LeftError(Exception): ...

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "http.request":
            pass
        raise LeftError

    exchange = Exchange(app)
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
        await answer_ok(send)
        await asyncio.sleep(0.1)
        finished.append(True)

    exchange = Exchange(app, deadline=0.05, write_timeout=0.02)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    await exchange.done()
    assert finished == [True]
    assert ABORTED not in exchange.state


async def test_nothing_is_watched_once_the_answer_is_complete() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer_ok(send)
        await asyncio.sleep(0.05)

    exchange = Exchange(app, watch_after=0.01)
    await exchange.done()
    assert exchange.client.received == 0


async def test_a_cancellation_from_outside_is_passed_on() -> None:
    cancelled = asyncio.Event()
    exchange = Exchange(sleeper(cancelled))
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

    exchange = Exchange(app)
    await asyncio.sleep(0.01)
    exchange.client.hang_up()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task


async def test_a_server_that_refuses_writes_to_the_gone_is_understood() -> None:
    async def refuse(message: Any) -> None:
        raise OSError("client disconnected")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        exchange.send = refuse
        await start_stream(send)

    exchange = Exchange(app)
    await exchange.done()
    assert exchange.state[ABORTED] == "client_disconnect"


async def test_an_application_error_stays_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.005)
        raise LookupError("bug")

    with pytest.raises(LookupError, match="bug"):
        await Exchange(app).done()


async def test_other_scope_types_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope = {"type": "websocket"}
    await DisconnectMiddleware(app)(scope, call, call)  # type: ignore[arg-type]
    assert seen == [(scope, call, call)]


def _says_the_last_event(more: list[str], *, answered: bool) -> Any:
    """Streams all of its answer and then takes a moment to end it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        said: list[bool] = []
        scope["state"][ANSWERED] = lambda: answered and bool(said)
        await start_stream(send)
        said.append(True)
        await asyncio.sleep(0.05)
        more.append("ends")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


@pytest.mark.parametrize("answered", [True, False])
async def test_a_client_that_leaves_with_all_of_its_answer_has_not_left_early(answered: bool) -> None:
    more: list[str] = []
    exchange = Exchange(_says_the_last_event(more, answered=answered))
    await asyncio.sleep(0.02)
    exchange.client.hang_up()
    await exchange.done()
    assert more == (["ends"] if answered else [])
    assert exchange.state.get(ABORTED) == (None if answered else "client_disconnect")


@pytest.mark.parametrize("answered", [True, False])
async def test_the_end_of_a_body_that_nobody_waits_for_fails_nobody(answered: bool) -> None:
    """Where a server reports a departure by raising from ``send``."""
    ended: list[str] = []
    app = DisconnectMiddleware(_says_the_last_event(ended, answered=answered), watch_after=5)
    client = Client(body_messages(b"{}"))
    state: dict[str, Any] = {"gateway.owned": True}

    async def send(message: Any) -> None:
        if ended:
            raise OSError("the client has gone")

    await app(make_scope(state=state), client.receive, send)
    assert ended == ["ends"]
    assert state.get(ABORTED) == (None if answered else "client_disconnect")
