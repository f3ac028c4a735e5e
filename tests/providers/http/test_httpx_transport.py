"""SDKs and httpx2 callers over the engine: one pool, httpx2's own exceptions."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable

import anthropic
import httpx2
import pytest

from providers.http import EngineClient
from providers.http.httpx_transport import EngineTransport

from .server import OK, Peer, Seen, answering, answering_once, serve

pytestmark = pytest.mark.anyio

Engines = Callable[..., EngineClient]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def browser(engine: EngineClient) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=EngineTransport(engine)) as client:
        yield client


def body(payload: bytes, *fields: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(payload), *fields, b"", payload]
    return b"\r\n".join(head)


async def test_httpx_gets_what_it_would_get_from_its_own_transport(browser: httpx2.AsyncClient) -> None:
    seen: list[Seen] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            zipped = gzip.compress(b'{"a": 1}')
            await peer.send(body(zipped, b"Content-Encoding: gzip", b"Content-Type: application/json"))

    async with serve(script) as server:
        response = await browser.post(f"{server.url}/path?q=1", json={"x": 1}, headers={"X-Id": "7"})
        assert response.json() == {"a": 1}
        assert response.http_version == "HTTP/1.1"
        assert response.reason_phrase == "OK"

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        await browser.put(server.url, content=pieces())
        await browser.get(server.url.replace("http://", "http://me:pass@"))
        assert server.accepted == 1
    first, streamed, with_user = seen
    assert (first.line, first.body) == (b"POST /path?q=1 HTTP/1.1", b'{"x":1}')
    names = [name.lower() for name, _ in first.headers]
    assert names.count(b"host") == names.count(b"content-length") == 1
    assert first.header(b"x-id") == b"7"
    assert streamed.body == b"one two"
    assert with_user.line == b"GET / HTTP/1.1"
    assert with_user.header(b"authorization") == b"Basic bWU6cGFzcw=="


async def test_the_pool_is_shared_and_outlives_the_transport(engine: EngineClient) -> None:
    async with serve(answering(OK)) as server:
        for _ in range(2):
            async with httpx2.AsyncClient(transport=EngineTransport(engine)) as browser:
                assert (await browser.get(server.url)).text == "ok"
            async with await engine.request("GET", server.url) as response:
                assert await response.read() == b"ok"
        assert server.accepted == 1


async def test_a_transport_of_its_own_closes_its_own_engine() -> None:
    async with serve(answering(OK)) as server:
        async with httpx2.AsyncClient(transport=EngineTransport()) as browser:
            await browser.get(server.url)
        await server.all_closed()


async def test_an_unfinished_stream_stops_the_upstream(browser: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM, b"5\r\nhello\r\n")
        await peer.gone()

    async with serve(script) as server:
        async with browser.stream("GET", server.url) as response:
            async for part in response.aiter_bytes():
                assert part == b"hello"
                break
        await server.all_closed()


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def stalling(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM, b"1\r\nx\r\n")
    await peer.gone()


async def resetting(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM, b"1\r\nx\r\n")
    peer.reset()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (silent, httpx2.ReadTimeout),
        (stalling, httpx2.ReadTimeout),
        (resetting, httpx2.ReadError),
        (answering_once(STREAM, b"1\r\nx\r\n"), httpx2.RemoteProtocolError),
        (answering_once(b""), httpx2.RemoteProtocolError),
        (answering_once(b"no http\r\n\r\n"), httpx2.RemoteProtocolError),
    ],
    ids=["silent", "stalled", "reset", "truncated", "nothing", "garbage"],
)
async def test_failures_are_httpx_exceptions_with_their_request(
    browser: httpx2.AsyncClient, script: Callable[[Peer], object], expected: type[Exception]
) -> None:
    async with serve(script) as server:  # type: ignore[arg-type]
        with pytest.raises(expected) as caught:
            await browser.get(server.url, timeout=httpx2.Timeout(5, read=0.1))
        assert isinstance(caught.value, httpx2.RequestError)
        assert caught.value.request.method == "GET"


async def test_a_refused_connection_a_slow_handshake_and_a_bad_header_too(
    browser: httpx2.AsyncClient, closed_port: int
) -> None:
    with pytest.raises(httpx2.ConnectError):
        await browser.get(f"http://127.0.0.1:{closed_port}")
    async with serve(Peer.gone) as server:
        with pytest.raises(httpx2.ConnectTimeout):
            await browser.get(f"https://127.0.0.1:{server.port}", timeout=0.05)
    with pytest.raises(httpx2.LocalProtocolError):
        await browser.get(server.url, headers=[(b"x", b"a\r\nb: c")])


async def test_no_timeout_means_none(browser: httpx2.AsyncClient) -> None:
    async with serve(answering(OK)) as server:
        assert (await browser.get(server.url, timeout=None)).text == "ok"


# -- the anthropic SDK ---------------------------------------------------------------------------------

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def sse(*events: dict[str, object]) -> list[bytes]:
    parts = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]


async def test_the_anthropic_sdk_talks_through_the_engine(engine: EngineClient) -> None:
    http_client = httpx2.AsyncClient(transport=EngineTransport(engine))
    events = sse(
        {"type": "message_start", "message": {**MESSAGE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(body(json.dumps(MESSAGE).encode(), b"Content-Type: application/json"))
        await peer.request()
        await peer.send(STREAM, *events, b"0\r\n\r\n")
        await peer.gone()

    async with (
        serve(script) as server,
        anthropic.AsyncAnthropic(
            api_key="k", base_url=server.url, http_client=http_client, max_retries=0
        ) as sdk,
    ):
        question = [{"role": "user", "content": "hi"}]
        answer = await sdk.messages.create(model="m", max_tokens=5, messages=question)  # type: ignore[arg-type]
        assert answer.content[0].type == "text"
        async with sdk.messages.stream(model="m", max_tokens=5, messages=question) as stream:  # type: ignore[arg-type]
            assert [text async for text in stream.text_stream] == ["hel", "lo"]
        assert server.accepted == 1


async def test_cancelling_an_sdk_call_stops_the_upstream(engine: EngineClient) -> None:
    started = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        started.set()
        await peer.gone()

    async with serve(script) as server:
        sdk = anthropic.AsyncAnthropic(
            api_key="k",
            base_url=server.url,
            http_client=httpx2.AsyncClient(transport=EngineTransport(engine)),
            max_retries=0,
        )
        task = asyncio.create_task(
            sdk.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_closed()
        await sdk.close()
