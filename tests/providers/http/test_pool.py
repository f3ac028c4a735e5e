"""Slots: never more connections than allowed, and none that is lost, whoever is cancelled when."""

from __future__ import annotations

import asyncio
import random

import pytest

from providers.errors import ProviderError, Timeout, Unreachable
from providers.http import EngineClient, Timeouts

from .conftest import Engines, counts
from .server import OK, Peer, answering, serve

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def get(client: EngineClient, url: str, timeouts: Timeouts | None = None) -> bytes:
    async with await client.request("GET", url, timeouts=timeouts) as response:
        return await response.read()


async def open_stream(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM + b"1\r\nx\r\n")
    await peer.gone()


async def test_no_more_connections_are_opened_than_allowed(engines: Engines) -> None:
    engine = engines(max_connections=3)
    async with serve(answering(OK)) as server:
        answers = await asyncio.gather(*(get(engine, server.url) for _ in range(50)))
        assert answers == [b"ok"] * 50
        assert server.accepted == 3
        assert counts(engine) == {"open": 3, "idle": 3, "waiting": 0}


async def test_who_waits_inherits_the_slot_of_a_dropped_connection(engines: Engines) -> None:
    engine = engines(max_connections=1)
    async with serve(open_stream) as server:
        first = await engine.request("GET", server.url)
        second = asyncio.create_task(engine.request("GET", server.url))
        await asyncio.sleep(0.02)
        assert counts(engine) == {"open": 1, "idle": 0, "waiting": 1}
        await first.aclose()
        await (await second).aclose()
        assert server.accepted == 2


async def test_waiting_for_a_slot_ends_at_the_connect_timeout(engines: Engines) -> None:
    engine = engines(max_connections=1)
    async with serve(open_stream) as server, await engine.request("GET", server.url):
        with pytest.raises(Timeout) as caught:
            await get(engine, server.url, Timeouts(connect=0.05))
        assert caught.value.stage == "connect"
        with pytest.raises(Timeout) as caught:
            await get(engine, server.url, Timeouts(total=0.05))
        assert caught.value.stage == "total"
        assert counts(engine) == {"open": 1, "idle": 0, "waiting": 0}


async def test_a_cancelled_waiter_takes_nothing_with_it(engines: Engines) -> None:
    """Also when it is served and cancelled in the same turn of the loop."""
    engine = engines(max_connections=1)
    async with serve(open_stream) as server:
        for drop_first in (True, False):
            first = await engine.request("GET", server.url)
            waiter = asyncio.create_task(engine.request("GET", server.url))
            other = asyncio.create_task(engine.request("GET", server.url))
            await asyncio.sleep(0.02)
            if drop_first:
                await first.aclose()
                waiter.cancel()
            else:
                waiter.cancel()
                await first.aclose()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            await (await other).aclose()
            assert counts(engine) == {"open": 0, "idle": 0, "waiting": 0}


async def test_a_waiter_cancelled_with_a_live_connection_in_hand_passes_it_on(engines: Engines) -> None:
    engine = engines(max_connections=1)
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await go.wait()
        await peer.send(b"2\r\nok\r\n0\r\n\r\n")
        while True:
            await peer.request()
            await peer.send(OK)

    async with serve(script) as server:
        first = await engine.request("GET", server.url)
        waiters = [asyncio.create_task(get(engine, server.url)) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert counts(engine)["waiting"] == 3
        go.set()
        # This task is woken first; by then the connection is in the hands of a waiter that has not run.
        assert await first.read() == b"ok"
        assert counts(engine)["waiting"] == 2
        waiters[0].cancel()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [b"ok", b"ok"]
        assert server.accepted == 1


async def test_a_failed_dial_gives_its_slot_back(engines: Engines, closed_port: int) -> None:
    engine = engines(max_connections=1)
    results = await asyncio.gather(
        *(get(engine, f"http://127.0.0.1:{closed_port}") for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(result, Unreachable) for result in results)
    assert counts(engine) == {"open": 0, "idle": 0, "waiting": 0}


async def test_closing_the_client_refuses_those_who_wait_and_lets_others_finish(engines: Engines) -> None:
    engine = engines(max_connections=1)
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await go.wait()
        await peer.send(b"2\r\nok\r\n0\r\n\r\n")
        await peer.gone()

    async with serve(script) as server:
        response = await engine.request("GET", server.url)
        waiter = asyncio.create_task(get(engine, server.url))
        await asyncio.sleep(0.02)
        await engine.aclose()
        with pytest.raises(Unreachable) as caught:
            await waiter
        assert caught.value.code == "upstream_client_closed"
        go.set()
        assert await response.read() == b"ok"
        await server.all_closed()
        with pytest.raises(Unreachable):
            await engine.request("GET", "http://127.0.0.1:1")


@pytest.mark.parametrize("limit", [2, 100])
async def test_cancelling_at_any_moment_leaves_no_slot_and_no_socket(engines: Engines, limit: int) -> None:
    engine = engines(max_connections=limit)
    chance = random.Random(limit)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(STREAM, b"1\r\nx\r\n", b"1\r\ny\r\n", b"0\r\n\r\n")

    async with serve(script) as server:
        for _ in range(15):
            tasks = [asyncio.create_task(get(engine, server.url)) for _ in range(12)]
            for task in tasks:
                await asyncio.sleep(chance.uniform(0, 0.004))
                chance.choice(tasks).cancel()
                if chance.random() < 0.3:
                    task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result == b"xy" or isinstance(result, asyncio.CancelledError), result
            left = counts(engine)
            assert left["waiting"] == 0
            assert left["open"] == left["idle"] <= limit
        await engine.aclose()
        await server.all_closed()


async def test_failures_and_cancels_under_load_leave_no_slot(engines: Engines) -> None:
    engine = engines(max_connections=4)
    chance = random.Random(7)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            match chance.randrange(6):
                case 0:
                    peer.reset()
                    return
                case 1:
                    return
                case 2:
                    await peer.send(STREAM, b"1\r\nx\r\n")
                    return
                case 3:
                    await peer.send(OK + b"excess")
                case _:
                    await peer.send(OK)

    async with serve(script) as server:
        for _ in range(10):
            tasks = [asyncio.create_task(get(engine, server.url)) for _ in range(20)]
            await asyncio.sleep(chance.uniform(0, 0.01))
            chance.choice(tasks).cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result == b"ok" or isinstance(result, (ProviderError, asyncio.CancelledError)), result
        assert counts(engine)["open"] == counts(engine)["idle"]
        assert counts(engine)["waiting"] == 0
