"""Thinking shared through a real Redis, and what a request pays when that fails: a moment, once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gw.shared_redis import open_redis
from providers.thinking.redis_store import PATIENCE, PAUSE, RedisStore, decoded, encoded
from providers.thinking.turns import REFUSED, KeptTurn, refused_behind
from tests.services import Service, running_redis

from .stage import Client, Upstream, said, thought, use

pytestmark = pytest.mark.anyio

TURN = KeptTurn("m", b"p" * 16, b"c" * 16, ({"type": "thinking", "thinking": "ä", "signature": "s"},), 500)


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with running_redis("--maxmemory", "20mb") as service:
        yield service


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(service: Service, clock: Clock | None = None) -> AsyncIterator[RedisStore]:
    client = open_redis(service.url)
    store = RedisStore(client, clock=clock or Clock())
    try:
        yield store
    finally:
        await store.aclose()
        await client.aclose()


async def test_a_conversation_that_moves_to_another_worker_keeps_its_thinking(redis: Service) -> None:
    upstream = Upstream()
    async with opened(redis) as one, opened(redis) as two:
        client, other = Client(upstream, one), Client(upstream, two)
        other.history = client.history
        await client.ask("go", thought("a"), said("Looking."), use("toolu_1"))
        await one.aclose()
        await other.results(thought("b"), use("toolu_2"))
        await two.aclose()
        await client.results()
    assert client.sent_turns == upstream.said[:2]
    assert upstream.refused == []


async def test_sessions_do_not_see_each_other(redis: Service) -> None:
    async with opened(redis) as one, opened(redis) as two:
        one.put("a", {"k": TURN})
        await one.aclose()
        assert await two.get("b", ["k"]) == {}
        assert await two.get("a", ["k", "other"]) == {"k": TURN}


async def test_what_is_kept_expires(redis: Service) -> None:
    async with opened(redis) as store:
        store.put("expiring", {"k": TURN})
        await store.aclose()
        client = open_redis(redis.url)
        keys = await client.keys("gw:thinking:*expiring*")
        assert len(keys) == 1
        assert 0 < await client.ttl(keys[0]) <= 36 * 3600
        await client.aclose()


@pytest.mark.parametrize("turn", [TURN, REFUSED, refused_behind(b"p" * 16)])
def test_a_turn_survives_its_encoding(turn: KeptTurn) -> None:
    assert decoded(encoded(turn)) == turn


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        encoded(TURN)[:-1],
        encoded(TURN).replace(b'"s"', b'"t"'),
        encoded(KeptTurn("m", b"", b"", ({"type": "image"},), 1)),
        encoded(KeptTurn("m", b"", b"", ({"type": "text", "text": 1},), 1)),
    ],
)
async def test_damaged_values_are_misses(redis: Service, value: bytes) -> None:
    assert decoded(value) is None
    async with opened(redis) as store:
        client = open_redis(redis.url)
        await client.set("gw:thinking:1:{damaged}:k", value)
        await client.aclose()
        assert await store.get("damaged", ["k"]) == {}


async def test_a_redis_that_hangs_costs_one_request_a_moment_and_the_next_nothing(
    redis: Service, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with opened(redis, clock) as store:
        store.put("s", {"k": TURN})
        await store.aclose()
        with redis.frozen():
            started = time.perf_counter()
            assert await store.get("s", ["unknown"]) == {}
            waited = time.perf_counter() - started
            assert PATIENCE * 0.9 < waited < 2
            asked = [asyncio.ensure_future(store.get("s", ["k", "unknown"])) for _ in range(50)]
            done, _ = await asyncio.wait(asked, timeout=PATIENCE / 2)
            assert len(done) == 50  # nobody waits for what is known to hang
            assert all(task.result() == {"k": TURN} for task in asked)
            store.put("s", {"later": TURN})  # does not wait either
        lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(lines) == 1
        clock.now += PAUSE
        await store.get("s", ["unknown"])  # asks in the background whether it is back
        await store.aclose()
        assert "again" in caplog.records[-1].getMessage()
        store.put("s", {"back": TURN})
        await store.aclose()
    async with opened(redis) as other:
        assert await other.get("s", ["back"]) == {"back": TURN}


async def test_a_redis_that_is_not_there_loses_nothing_of_this_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = Service("redis://:secret-canary@127.0.0.1:1/0", 1, 0)
    async with opened(nowhere) as store:
        client = Client(store=store)
        await client.ask("go", thought("a"), use("toolu_1"))
        await store.aclose()
        await client.results(thought("b"), use("toolu_2"))
        await client.results()
        assert client.sent_turns == client.upstream.said[:2]
    assert len(caplog.records) == 1
    assert "secret-canary" not in caplog.text


async def test_a_full_redis_still_gives_what_it_has(redis: Service, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(redis) as store:
        store.put("full", {"k": TURN})
        await store.aclose()
        client = open_redis(redis.url)
        await client.config_set("maxmemory", "1")
        try:
            for number in range(3):
                store.put("full", {f"more{number}": TURN})
                await store.aclose()
            async with opened(redis) as other:
                assert await other.get("full", ["k"]) == {"k": TURN}
        finally:
            await client.config_set("maxmemory", "20mb")
            await client.aclose()
        assert len(caplog.records) == 1


async def test_a_turn_too_large_to_share_stays_here(redis: Service) -> None:
    large = KeptTurn("m", b"", b"", ({"type": "text", "text": "x" * 2_000_000},), 2_000_000)
    async with opened(redis) as one, opened(redis) as two:
        one.put("large", {"k": large, "small": TURN})
        await one.aclose()
        assert set(await one.get("large", ["k", "small"])) == {"k", "small"}
        assert set(await two.get("large", ["k", "small"])) == {"small"}
