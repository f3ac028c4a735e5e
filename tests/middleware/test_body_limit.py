"""A body is bounded in size, in encoding and in time, and always answered clearly."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
import uvicorn

from middleware._asgi import Message
from middleware._body import read_body
from middleware._state import BODY
from middleware.body_limit import BodyLimitMiddleware
from tests.middleware.asgi import Client, answer_of, body_messages, call, make_scope

pytestmark = pytest.mark.anyio


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers the size of the body, read through ``receive`` as any application would."""
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    answer = str(size).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def unreachable(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the application was called")


def refused(answer: Any) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


async def test_a_body_within_the_limit_reaches_the_application() -> None:
    app = BodyLimitMiddleware(echo, max_bytes=10)
    assert (await call(app, body=b"x" * 10)).body == b"10"
    assert (await call(app, body=[b"x" * 5, b"x" * 5])).body == b"10"
    assert (await call(app, body=b"")).body == b"0"


async def test_layers_below_share_the_body_that_was_read() -> None:
    seen: list[Any] = []

    async def below(scope: Any, receive: Any, send: Any) -> None:
        _, _, body = await read_body(scope, receive)
        seen.extend([body, scope["state"][BODY]])

    await call(BodyLimitMiddleware(below), body=b'{"a":1}')
    assert seen[0] is seen[1]
    assert seen[0].json() == {"a": 1}


async def test_an_announced_excess_is_refused_before_a_byte_is_read() -> None:
    client = Client(body_messages(b"x" * 11))
    scope = make_scope(headers={"content-length": "11"})
    await BodyLimitMiddleware(unreachable, max_bytes=10)(scope, client.receive, client.send)
    assert client.received == 0
    assert refused(answer_of(client.sent)) == (413, "request_too_large")
    assert answer_of(client.sent).headers["connection"] == "close"


@pytest.mark.parametrize("headers", [{}, {"content-length": "5"}])
async def test_an_excess_that_was_not_announced_is_refused_when_it_arrives(headers: dict[str, str]) -> None:
    client = Client(body_messages([b"x" * 6] * 5))
    app = BodyLimitMiddleware(unreachable, max_bytes=10)
    await app(make_scope(headers=headers), client.receive, client.send)
    assert client.received == 2
    assert refused(answer_of(client.sent)) == (413, "request_too_large")
    assert answer_of(client.sent).headers["connection"] == "close"


@pytest.mark.parametrize("length", ["-1", "+5", "5,5", "0x5", "", " ", "5.0", "a", "\u0665"])
async def test_a_malformed_length_is_refused(length: str) -> None:
    raw = [(b"content-length", length.encode())]
    answer = await call(BodyLimitMiddleware(unreachable), headers=raw, body=b"12345")
    assert refused(answer) == (400, "invalid_content_length")


async def test_two_lengths_are_refused_even_when_equal() -> None:
    raw = [("content-length", "5"), ("content-length", "5")]
    answer = await call(BodyLimitMiddleware(unreachable), headers=raw, body=b"12345")
    assert refused(answer) == (400, "invalid_content_length")


async def test_a_length_of_thousands_of_digits_is_only_too_large() -> None:
    answer = await call(BodyLimitMiddleware(unreachable), headers={"content-length": "9" * 5000})
    assert refused(answer) == (413, "request_too_large")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "GZIP", "x"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    answer = await call(BodyLimitMiddleware(unreachable), headers={"content-encoding": encoding}, body=b"x")
    assert refused(answer) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["identity", "Identity ", ""])
async def test_identity_is_no_compression(encoding: str) -> None:
    answer = await call(BodyLimitMiddleware(echo), headers={"content-encoding": encoding}, body=b"x")
    assert answer.body == b"1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"content-length": "0"}])
async def test_a_request_without_a_body_passes_unread(method: str, headers: dict[str, str]) -> None:
    passed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append((scope, receive))

    client = Client()
    scope = make_scope(method=method, headers=headers)
    await BodyLimitMiddleware(app)(scope, client.receive, client.send)
    assert passed == [(scope, client.receive)]
    assert client.received == 0


@pytest.mark.parametrize("headers", [{"content-length": "11"}, {"transfer-encoding": "chunked"}])
async def test_a_get_that_announces_a_body_is_bounded_too(headers: dict[str, str]) -> None:
    app = BodyLimitMiddleware(unreachable, max_bytes=10)
    assert (await call(app, method="GET", headers=headers, body=[b"x" * 11])).status == 413


async def test_a_get_with_a_body_is_read_like_any_other() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"][BODY].raw)

    await call(BodyLimitMiddleware(app), method="GET", body=b"12345")
    assert seen == [b"12345"]


async def test_other_scopes_pass() -> None:
    client = Client()
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    await BodyLimitMiddleware(app)({"type": "lifespan"}, client.receive, client.send)
    assert passed == ["lifespan"]


async def test_a_client_that_never_sends_is_answered_408() -> None:
    client = Client()
    async with asyncio.timeout(10):
        await BodyLimitMiddleware(unreachable, timeout=0.05)(make_scope(), client.receive, client.send)
    answer = answer_of(client.sent)
    assert refused(answer) == (408, "request_timeout")
    assert answer.headers["connection"] == "close"


async def test_a_client_that_trickles_is_answered_408() -> None:
    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    client = Client()
    async with asyncio.timeout(10):
        await BodyLimitMiddleware(unreachable, timeout=0.1)(make_scope(), trickle, client.send)
    assert answer_of(client.sent).status == 408


async def test_a_large_body_on_a_slow_line_gets_the_time_it_earns() -> None:
    left = [b"x" * 1000] * 8

    async def steady() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    scope, client = make_scope(), Client()
    await BodyLimitMiddleware(echo, timeout=0.2, min_rate=1000)(scope, steady, client.send)
    assert answer_of(client.sent).body == b"8000"

    left = [b"x" * 1000] * 8
    client = Client()
    await BodyLimitMiddleware(unreachable, timeout=0.2, min_rate=0)(scope, steady, client.send)
    assert answer_of(client.sent).status == 408


class _Clock(asyncio.SelectorEventLoop):
    """An event loop that a test can put ahead, in seconds."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_each_byte_earns_its_time_once() -> None:
    left = [b"xx"] * 5
    survived: list[float] = []

    async def receive() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": True}
        for loop.ahead in (109.0, 111.0):  # 100 seconds, and 10 for ten bytes
            for _ in range(5):
                await asyncio.sleep(0)
            survived.append(loop.ahead)
        raise AssertionError("the body was waited for too long")

    loop = _Clock()
    client = Client()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        app = BodyLimitMiddleware(unreachable, timeout=100, min_rate=1)
        runner.run(app(make_scope(), receive, client.send))
    assert survived == [109.0]
    assert answer_of(client.sent).status == 408


async def test_a_cancellation_from_outside_is_no_slow_body() -> None:
    async def both_at_once() -> Message:
        try:
            await asyncio.sleep(30)
        finally:
            task.cancel()  # somebody else's, while ours is on its way
        raise AssertionError

    client = Client()
    app = BodyLimitMiddleware(unreachable, timeout=0.01)
    for receive in (client.receive, both_at_once):
        task = asyncio.ensure_future(app(make_scope(), receive, client.send))
        await asyncio.sleep(0.001)
        if receive is not both_at_once:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1, "ours is taken back, theirs is not"
    assert client.sent == []


async def test_a_timeout_of_zero_is_none() -> None:
    async def late() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": False}

    client = Client()
    await BodyLimitMiddleware(echo, timeout=0)(make_scope(), late, client.send)
    assert answer_of(client.sent).body == b"1"


async def test_the_deadline_ends_with_the_body() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.15)
        await echo(scope, receive, send)

    assert (await call(BodyLimitMiddleware(slow, timeout=0.05), body=b"x")).body == b"1"


async def test_somebody_elses_timeout_is_not_called_a_slow_body() -> None:
    async def broken() -> Message:
        raise TimeoutError("not ours")

    with pytest.raises(TimeoutError, match="not ours"):
        await BodyLimitMiddleware(unreachable)(make_scope(), broken, Client().send)


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    client = Client([{"type": "http.request", "body": b"{", "more_body": True}])
    client.hang_up()
    await BodyLimitMiddleware(unreachable)(make_scope(), client.receive, client.send)
    assert client.sent == []


async def test_refusals_speak_the_dialect_of_the_path() -> None:
    answer = await call(BodyLimitMiddleware(echo, max_bytes=1), path="/v1/messages", body=b"xx")
    assert answer.json()["error"]["type"] == "request_too_large"
    assert answer.json()["type"] == "error"


async def test_on_reject_is_given_the_reason() -> None:
    reasons: list[Any] = []

    def on_reject(rejection: Any) -> Any:
        reasons.append(rejection)
        return echo

    await call(BodyLimitMiddleware(unreachable, max_bytes=1, on_reject=on_reject), body=b"xx")
    assert (reasons[0].status, reasons[0].close) == (413, True)


@contextmanager
def served(app: Any) -> Iterator[int]:
    """``app`` on a real socket; the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def exchange(port: int, request: bytes) -> bytes:
    """Everything the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(request)
        answer = bytearray()
        while data := peer.recv(65536):
            answer += data
        return bytes(answer)


def test_on_a_real_socket_a_stalled_body_is_answered_and_the_connection_freed() -> None:
    with served(BodyLimitMiddleware(echo, timeout=0.2, max_bytes=100)) as port:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: "
        stalled = exchange(port, head + b"50\r\n\r\nonly this")
        assert stalled.startswith(b"HTTP/1.1 408")
        assert orjson.loads(stalled.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        assert exchange(port, head + b"101\r\n\r\n").startswith(b"HTTP/1.1 413")
        good = exchange(port, head + b"4\r\nconnection: close\r\n\r\nbody")
        assert good.startswith(b"HTTP/1.1 200")
        assert good.endswith(b"4")
