"""What the engine promises beyond the contract: retries, limits, back-pressure, slots, sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from providers.errors import ProtocolError, Timeout, Unreachable
from providers.http import EngineClient, Timeouts
from providers.http.connection import HIGH_WATER
from providers.http.response import MAX_HEADERS

from .server import OK, Peer, answering, answering_once, serve

pytestmark = pytest.mark.anyio

Engines = Callable[..., EngineClient]
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def get(client: EngineClient, url: str, timeouts: Timeouts | None = None) -> tuple[int, bytes]:
    async with await client.request("GET", url, timeouts=timeouts) as response:
        return response.status, await response.read()


def counts(client: EngineClient) -> dict[str, int]:
    (only,) = client.stats().values()
    return only


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


# -- back-pressure ------------------------------------------------------------------------------------


async def test_a_slow_reader_slows_the_upstream_and_bounds_memory(engine: EngineClient) -> None:
    total = 48 * 1024 * 1024
    stalled = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        block = b"x" * 65536
        for _ in range(total // len(block)):
            peer.writer.write(block)
            draining = asyncio.create_task(peer.writer.drain())
            if not (await asyncio.wait([draining], timeout=0.2))[0]:
                stalled.set()
            await draining

    async with serve(script) as server, await engine.request("GET", server.url) as response:
        await asyncio.wait_for(stalled.wait(), 20)
        first = await response.read_some()
        # What had arrived when reading stopped: the mark, and at most one more socket read.
        assert HIGH_WATER // 2 < len(first) <= HIGH_WATER + 256 * 1024
        assert len(first) + len(await response.read(limit=total)) == total


async def test_a_read_takes_everything_that_has_arrived(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"1\r\na\r\n", b"1\r\nb\r\n1\r\nc\r\n", b"1\r\nd\r\n")
        await peer.gone()

    async with serve(script) as server, await engine.request("GET", server.url) as response:
        await asyncio.sleep(0.1)
        assert await response.read_some() == b"abcd"


async def test_an_early_answer_to_a_large_upload_is_heard(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.gone()

    async with (
        serve(script) as server,
        await engine.request("POST", server.url, body=b"x" * 30_000_000) as response,
    ):
        assert (response.status, await response.read()) == (413, b"no")
        await server.all_closed()  # half a request is on that connection: it cannot carry another


async def test_an_upstream_that_stops_taking_the_body_is_a_write_timeout(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.5)
        await peer.gone()

    async with serve(script) as server:
        with pytest.raises(Timeout) as caught:
            await engine.request(
                "POST", server.url, body=b"x" * 30_000_000, timeouts=Timeouts(first_byte=10, idle=0.1)
            )
        assert caught.value.stage == "write"
        await server.all_closed()


async def test_two_readers_of_one_response_are_a_bug_that_is_named(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.gone()

    async with serve(script) as server:
        response = await engine.request("GET", server.url)
        first = asyncio.create_task(response.read_some())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already reading"):
            await response.read_some()
        await response.aclose()
        with pytest.raises(ProtocolError) as caught:
            await first
        assert caught.value.code == "response_closed"


# -- time, without a reader ---------------------------------------------------------------------------


async def test_a_forgotten_response_is_dropped_at_its_total_timeout(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.gone()

    async with serve(script) as server:
        response = await engine.request("GET", server.url, timeouts=Timeouts(total=0.1))
        await server.all_closed()
        assert counts(engine)["open"] == 0
        with pytest.raises(Timeout):
            await response.read_some()


async def test_an_earlier_deadline_replaces_a_later_one(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.gone()

    async with serve(script) as server:
        await get(engine, server.url, Timeouts(first_byte=100))
        with pytest.raises(Timeout):
            await get(engine, server.url, Timeouts(first_byte=0.05))
        assert server.accepted == 1


async def test_a_later_deadline_outlives_an_earlier_one(engine: EngineClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await asyncio.sleep(0.3)
        await peer.send(OK)

    async with serve(script) as server:
        await get(engine, server.url, Timeouts(first_byte=0.15))
        assert await get(engine, server.url, Timeouts(first_byte=10)) == (200, b"ok")
        assert server.accepted == 1


async def test_infinite_timeouts_need_no_timer(engine: EngineClient) -> None:
    forever = float("inf")
    async with serve(answering(OK)) as server:
        limits = Timeouts(forever, forever, forever, forever)
        assert await get(engine, server.url, limits) == (200, b"ok")


async def test_a_dial_that_hangs_is_a_connect_timeout(engine: EngineClient) -> None:
    """A listener whose queue is full drops the SYN, like a firewall would."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        try:
            with pytest.raises(Timeout) as caught:
                await get(engine, f"http://127.0.0.1:{listener.getsockname()[1]}", Timeouts(connect=0.1))
            assert (caught.value.stage, caught.value.status) == ("connect", 504)
            assert counts(engine) == {"open": 0, "idle": 0, "waiting": 0}
        finally:
            for filler in fillers:
                filler.close()


async def test_a_name_with_a_dead_address_and_a_live_one_is_reached(
    engine: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305: a refusal moves on at once to the next address, whatever its family."""
    from providers.http import dial

    async with serve(answering(OK)) as server:
        port = server.port

        async def resolve(*_: object) -> list[object]:
            kind = (socket.SOCK_STREAM, 6, "")
            return [
                (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
                (socket.AF_INET, *kind, ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(dial, "_resolve", resolve)
        assert await get(engine, f"http://two-addresses.test:{port}") == (200, b"ok")


async def test_a_name_whose_addresses_all_refuse_is_unreachable(
    engine: EngineClient, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from providers.http import dial

    async def resolve(*_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", closed_port)) for n in (1, 2, 3)]

    monkeypatch.setattr(dial, "_resolve", resolve)
    with pytest.raises(Unreachable) as caught:
        await get(engine, f"http://two-addresses.test:{closed_port}")
    assert caught.value.code == "upstream_connect"


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_a_name_that_cannot_be_one_is_a_dns_error(engine: EngineClient, host: str) -> None:
    with pytest.raises(Unreachable) as caught:
        await get(engine, f"http://{host}")
    assert caught.value.stage == "dns"
