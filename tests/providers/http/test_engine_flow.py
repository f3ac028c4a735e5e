"""What the engine promises beyond the contract: back-pressure, timers, dialling, no litter."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from providers.errors import ProtocolError, Timeout, Unreachable
from providers.http import EngineClient, Timeouts
from providers.http.connection import HIGH_WATER
from providers.http.response import EngineResponse

from .conftest import counts, get
from .server import OK, Peer, answering, serve

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

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


# -- no litter ----------------------------------------------------------------------------------------


async def test_a_finished_response_needs_no_garbage_collector(engine: EngineClient) -> None:
    """A cycle per request would be a pause per some thousand requests."""
    async with serve(answering(OK)) as server:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert await get(engine, server.url) == (200, b"ok")
            alive = [item for item in gc.get_objects() if isinstance(item, EngineResponse)]
        finally:
            gc.enable()
        assert alive == []
