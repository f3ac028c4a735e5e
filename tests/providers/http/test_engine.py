"""What the engine promises beyond the contract: the keep-alive race, what is never used again, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from providers.errors import ProtocolError
from providers.http import EngineClient
from providers.http.response import MAX_HEADERS

from .conftest import Engines, counts, get
from .server import OK, Peer, answering, answering_once, serve

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# -- the keep-alive race ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("body", [b"{}", b"x" * 1_000_000], ids=["small", "large"])
async def test_a_reused_connection_that_closes_unanswered_is_retried_on_a_fresh_one(
    engine: EngineClient, how: str, body: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.head()
        if peer.number == 1:  # the second request met a server that was just closing
            if how == "reset":
                peer.reset()
            return
        await peer.send(OK)

    async with serve(script) as server:
        for _ in range(2):
            async with await engine.request("POST", server.url, body=body) as response:
                assert await response.read() == b"ok"
        assert server.accepted == 2


async def test_the_retry_happens_once(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(OK)
            await peer.request()

    async with serve(script) as server:
        await get(engine, server.url)
        with pytest.raises(ProtocolError) as caught:
            await get(engine, server.url)
        assert (caught.value.code, server.accepted) == ("upstream_truncated", 2)


async def test_the_retry_never_takes_another_used_connection(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK if peer.number < 4 else OK.replace(b"ok", b"4!"))
        await peer.request()

    async with serve(script) as server:
        await asyncio.gather(*(get(engine, server.url) for _ in range(3)))
        assert (server.accepted, counts(engine)["idle"]) == (3, 3)
        assert await get(engine, server.url) == (200, b"4!")
        assert server.accepted == 4


async def test_an_answer_that_had_begun_is_not_retried(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    async with serve(script) as server:
        await get(engine, server.url)
        with pytest.raises(ProtocolError):
            await get(engine, server.url)
        assert server.accepted == 1


# -- connections that must not be used again ----------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        OK + b"H",
        OK + b"garbage",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        STREAM + b"2\r\nok\r\n0\r\n\r\nX",
    ],
)
async def test_bytes_after_the_end_of_an_answer_cost_the_connection(
    engine: EngineClient, wire: bytes
) -> None:
    async with serve(answering(wire)) as server:
        for _ in range(3):
            assert (await get(engine, server.url))[1] in (b"ok", b"")
        assert server.accepted == 3
        await server.all_closed()


async def test_bytes_on_an_idle_connection_cost_it(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serve(script) as server:
        assert await get(engine, server.url) == (200, b"ok")
        await server.all_closed()
        assert counts(engine) == {"open": 0, "idle": 0, "waiting": 0}


async def test_a_body_in_answer_to_head_costs_the_connection(engine: EngineClient) -> None:
    async with serve(answering(OK)) as server:
        for _ in range(2):
            async with await engine.request("HEAD", server.url) as response:
                assert await response.read() == b""
        assert server.accepted == 2


async def test_an_unused_connection_is_closed_in_time(engines: Engines) -> None:
    engine = engines(keepalive=0.05)
    async with serve(answering(OK)) as server:
        await asyncio.gather(get(engine, server.url), get(engine, server.url))
        assert counts(engine)["idle"] == 2
        await server.all_closed()
        assert counts(engine) == {"open": 0, "idle": 0, "waiting": 0}


async def test_the_most_recently_used_connection_is_used_first(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)

    async with serve(script) as server:
        first, second = await asyncio.gather(get(engine, server.url), get(engine, server.url))
        assert {first[1], second[1]} == {b"1", b"2"}
        assert len({(await get(engine, server.url))[1] for _ in range(5)}) == 1


# -- bounds -------------------------------------------------------------------------------------------


def flood(*parts: bytes) -> Iterator[bytes]:
    while True:
        yield from parts


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", (b"X-Pad: " + b"x" * 1000 + b"\r\n",)),
        (b"HTTP/1.1 200 OK\r\nX-Pad: ", (b"x" * 1000,)),
        (b"HTTP/1.1 200 " + b"x" * 1000, (b"x" * 1000,)),
        (b"", (b"HTTP/1.1 103 Early Hints\r\n\r\n",)),
        (b"", (b"\r\n" * 500,)),
        (STREAM + b"0\r\n", (b"X-Trailer: " + b"x" * 1000 + b"\r\n",)),
        (STREAM + b"0\r\nX-Trailer: ", (b"x" * 1000,)),
        (STREAM + b"1;ext=", (b"x" * 1000,)),
    ],
    ids=["many-headers", "one-header", "reason", "interim", "blank", "trailers", "one-trailer", "extension"],
)
async def test_an_endless_head_or_framing_is_cut_off(
    engine: EngineClient, start: bytes, more: tuple[bytes, ...]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(start)
        for part in flood(*more):
            if peer.writer.is_closing():
                return
            peer.writer.write(part * 10)
            await peer.writer.drain()
            await asyncio.sleep(0)

    async with serve(script) as server:
        with pytest.raises(ProtocolError):
            await get(engine, server.url)
        await server.all_closed()


async def test_a_head_of_too_many_fields_is_refused(engine: EngineClient) -> None:
    def head(fields: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (fields - 1) + b"Content-Length: 0\r\n\r\n"

    async with serve(answering_once(head(MAX_HEADERS))) as server:
        assert await get(engine, server.url) == (200, b"")
    async with serve(answering_once(head(MAX_HEADERS + 1))) as server:
        with pytest.raises(ProtocolError):
            await get(engine, server.url)


async def test_switching_protocols_unasked_is_refused(engine: EngineClient) -> None:
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with serve(answering_once(wire)) as server:
        with pytest.raises(ProtocolError):
            await get(engine, server.url)


async def test_a_response_with_two_framings_is_refused(engine: EngineClient) -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with serve(answering_once(wire)) as server:
        with pytest.raises(ProtocolError):
            await get(engine, server.url)


async def test_an_interim_answer_with_a_body_is_refused(engine: EngineClient) -> None:
    wire = b"HTTP/1.1 150 Hm\r\nContent-Length: 3\r\n\r\nabc" + OK
    async with serve(answering_once(wire)) as server:
        with pytest.raises(ProtocolError):
            await get(engine, server.url)


async def test_blanks_around_a_chunk_size_are_borne(engine: EngineClient) -> None:
    async with serve(answering_once(STREAM + b"2  \r\nok\r\n2 ;x\r\nay\r\n0 \r\n\r\n")) as server:
        assert await get(engine, server.url) == (200, b"okay")
