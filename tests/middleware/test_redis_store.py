"""A Redis that hangs, dies, fills up or holds rubbish: requests go on, limits hold as well as they can."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from middleware.policy.allowance import Grant, Rate, Slots
from middleware.stores import redis as redis_module
from middleware.stores.redis import RedisStore
from tests.services import Service, running_redis

pytestmark = pytest.mark.anyio

_groups = count()
RATE, SLOT = [Rate("r", 60)], [Slots("s", 2)]


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with running_redis() as service:
        yield service


@pytest.fixture
def group() -> str:
    return f"project-{next(_groups)}"


@pytest.fixture(autouse=True)
def quick_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "PAUSE", 0.05)


@asynccontextmanager
async def opened(service: Service, **options: Any) -> AsyncIterator[RedisStore]:
    """A store with time-outs for a machine that is busy with other tests."""
    client = Redis.from_url(service.url, socket_timeout=5, socket_connect_timeout=5)
    store = RedisStore(client, **{"timeout": 20.0, **options})
    try:
        yield store
    finally:
        await store.aclose()
        await client.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def is_shared(grant: Grant) -> bool:
    return isinstance(grant.keeper, RedisStore)


async def test_workers_share_one_count(redis: Service, group: str) -> None:
    async with opened(redis) as one, opened(redis) as other:
        began = time.monotonic()
        grants = await asyncio.gather(
            *(store.take(group, RATE, [Slots("many", 1000)]) for store in (one, other) for _ in range(100))
        )
        assert 60 <= sum(g.allowed for g in grants) <= 61 + time.monotonic() - began
        slots = await asyncio.gather(*(s.take(group, [], SLOT) for s in (one, other) for _ in range(9)))
        held = [grant for grant in slots if grant.allowed]
        assert len(held) == 2
        one.settle(held[0])  # whoever settles: a lease has one name
        await one.settled()
        assert (await other.take(group, [], SLOT)).allowed


async def test_requests_of_one_moment_share_a_journey(redis: Service, group: str) -> None:
    async with opened(redis) as store:
        await store.take(group, RATE)
        async with Redis.from_url(redis.url) as client:
            before = (await client.info("clients"))["connected_clients"]
            await asyncio.gather(*(store.take(group, RATE) for _ in range(300)))
            assert (await client.info("clients"))["connected_clients"] == before


async def test_keys_of_one_group_are_in_one_slot_of_a_cluster_and_go_by_themselves(
    redis: Service, group: str
) -> None:
    async with opened(redis) as store, Redis.from_url(redis.url) as client:
        await store.take(group, [Rate("a", 60), Rate("b", 600)], SLOT)
        keys = await client.keys(f"*{group}*")
        assert len(keys) == 3
        for key in keys:
            assert isinstance(key, bytes)
            assert f"{{{group}}}".encode() in key
            assert 0 < await client.pttl(key) <= 61_000
        assert len({key_slot(bytes(key)) for key in keys if isinstance(key, bytes)}) == 1


async def test_a_script_that_redis_has_forgotten_is_loaded_again(redis: Service, group: str) -> None:
    async with opened(redis) as store, Redis.from_url(redis.url) as client:
        assert (await store.take(group, RATE)).allowed
        await client.script_flush()
        grants = await asyncio.gather(*(store.take(group, RATE) for _ in range(5)))
        assert all(is_shared(grant) for grant in grants)
        await client.script_flush()
        assert is_shared(await store.take(group, RATE))
        assert (await store.take(group, RATE)).rates[0].remaining <= 60 - 7


async def test_a_redis_that_hangs_costs_a_moment_once_and_is_used_again_when_it_answers(
    redis: Service, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[None] = []
    async with opened(redis, timeout=0.05, share=0.5, on_degraded=lambda: counted.append(None)) as store:
        await until_shared(store, group)
        counted.clear()
        caplog.clear()
        with redis.frozen(), caplog.at_level(logging.WARNING):
            grants = await asyncio.gather(*(store.take(group, [Rate("x", 60)]) for _ in range(80)))
            assert sum(grant.allowed for grant in grants) in (30, 31)  # half of the limit is this process'
            assert not any(is_shared(grant) for grant in grants)
            assert store.degraded
            assert len(counted) == 80
            store.settle(next(grant for grant in grants if grant.allowed), 0)
            assert (await store.take(group, [Rate("x", 60)])).allowed
            await asyncio.sleep(0.3)  # while nobody asks, it goes on hanging
            assert store.degraded
        await until(lambda: not store.degraded)
        said = [record.getMessage() for record in caplog.records if record.name == redis_module.__name__]
    assert len([line for line in said if "does not answer" in line]) == 1
    assert len([line for line in said if "answers again" in line]) == 1


async def until_shared(store: RedisStore, group: str) -> None:
    async with asyncio.timeout(20):
        while not is_shared(await store.take(group, [Rate("warm", 1e6)])):
            await asyncio.sleep(0.05)


async def test_what_a_hanging_redis_grants_too_late_is_given_back(redis: Service, group: str) -> None:
    async with opened(redis, timeout=0.05) as store, opened(redis) as other:
        await until_shared(store, group)
        with redis.frozen():
            late = await store.take(group, [Rate("t", 100, 90)], SLOT)
            assert late.allowed
            assert not is_shared(late)
        await until(lambda: not store.degraded)
        await store.settled()
        grant = await other.take(group, [Rate("t", 100, 90)], SLOT)
        assert grant.allowed
        assert grant.slots[0].remaining == 1


async def test_requests_that_end_while_redis_is_away_are_settled_when_it_is_back(
    redis: Service, group: str
) -> None:
    async with opened(redis, timeout=0.05) as store, opened(redis) as other:
        await until_shared(store, group)
        grant = await store.take(group, [Rate("t", 100, 90)], SLOT)
        with redis.frozen():
            await store.take(group, [Rate("t", 100, 10)])
            store.settle(grant, 0)
        await until(lambda: not store.degraded)
        await store.settled()
        after = await other.take(group, [Rate("t", 100, 90)], SLOT)
        assert after.allowed
        assert after.slots[0].remaining == 1


async def test_what_is_granted_to_a_request_that_is_cancelled_is_given_back(
    redis: Service, group: str
) -> None:
    async with opened(redis) as store:
        await store.take(group, RATE)
        asking = asyncio.create_task(store.take(group, [Rate("t", 100, 90)], SLOT))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await store.settled()
        grant = await store.take(group, [Rate("t", 100, 90)], SLOT)
        assert grant.allowed
        assert grant.slots[0].remaining == 1


async def test_a_redis_that_dies_and_one_that_was_never_there() -> None:
    with running_redis() as service:
        async with opened(service) as store:
            grant = await store.take("p", RATE, SLOT)
            assert is_shared(grant)
            os.kill(service.pid, signal.SIGKILL)
            for _ in range(5):
                local = await store.take("p", RATE, SLOT)
                assert not is_shared(local)
                store.settle(local, 0)
            store.settle(grant, 0)  # nobody is there to be told
            assert store.degraded
    async with opened(service) as store:
        assert (await store.take("p", RATE)).allowed
        assert store.degraded


async def test_a_start_connects_and_notices_a_redis_that_is_away(redis: Service, group: str) -> None:
    async with opened(redis) as store:
        await store.start()
        assert not store.degraded
        assert is_shared(await store.take(group, RATE))
    gone = Service("redis://127.0.0.1:1/0", 1, 0)
    async with opened(gone) as store:
        await store.start()
        assert store.degraded
        assert not is_shared(await store.take(group, RATE))


async def test_requests_under_way_are_counted_again_after_a_restart(redis: Service, group: str) -> None:
    async with opened(redis, lease_seconds=0.6) as store, Redis.from_url(redis.url) as client:
        held = await store.take(group, [], [Slots("s", 1)])
        assert held.allowed
        await client.flushall()
        await asyncio.sleep(0.5)
        assert not (await store.take(group, [], [Slots("s", 1)])).allowed
        store.settle(held)
        await store.settled()
        assert (await store.take(group, [], [Slots("s", 1)])).allowed


async def test_slots_of_a_worker_that_was_killed_lapse_and_those_of_a_long_stream_do_not(
    redis: Service, group: str
) -> None:
    async with opened(redis, lease_seconds=0.6) as alive, opened(redis, lease_seconds=0.6) as killed:
        kept = await alive.take(group, [], SLOT)
        await killed.take(group, [], SLOT)
        killed._held.clear()  # it renews nothing any more
        assert not (await alive.take(group, [], SLOT)).allowed
        await asyncio.sleep(1.5)
        after = await alive.take(group, [], SLOT)
        assert after.allowed
        assert after.slots[0].remaining == 0  # the long one is still counted
        alive.settle(kept)
        alive.settle(after)


@pytest.mark.parametrize("rubbish", ["text", "inf", "nan", "-1", "1e300"])
async def test_a_count_that_is_no_time_is_counted_afresh(redis: Service, group: str, rubbish: str) -> None:
    async with opened(redis) as store, Redis.from_url(redis.url) as client:
        await client.set(f"gw:limit:{{{group}}}:rate:r", rubbish)
        grant = await store.take(group, RATE)
        assert (grant.allowed, is_shared(grant), grant.rates[0].remaining) == (True, True, 59)
        await client.set(f"gw:limit:{{{group}}}:rate:r", rubbish)
        store.settle(grant, 3)
        await store.settled()
        assert (await store.take(group, RATE)).rates[0].remaining in (56, 57)


async def test_keys_of_a_wrong_type_are_counted_afresh(redis: Service, group: str) -> None:
    async with opened(redis) as store, Redis.from_url(redis.url) as client:
        await client.rpush(f"gw:limit:{{{group}}}:rate:r", "x")
        await client.set(f"gw:limit:{{{group}}}:slots:s", "x")
        grant = await store.take(group, RATE, SLOT)
        assert (grant.allowed, is_shared(grant)) == (True, True)
        await client.delete(f"gw:limit:{{{group}}}:slots:s")
        await client.set(f"gw:limit:{{{group}}}:slots:s", "x")
        store.settle(grant, 0)
        await store.settled()
        assert not store.degraded
        assert (await store.take(group, RATE, SLOT)).slots[0].remaining == 1


async def test_a_redis_without_memory_left_is_one_that_is_away(group: str) -> None:
    with running_redis("--maxmemory-policy", "noeviction") as service:
        async with opened(service) as store, Redis.from_url(service.url) as client:
            assert is_shared(await store.take(group, RATE))
            await client.config_set("maxmemory", "1")
            grants = [await store.take(group, [Rate("y", 60, 30)]) for _ in range(3)]
            assert [grant.allowed for grant in grants] == [True, True, False]
            assert not any(is_shared(grant) for grant in grants)
            await asyncio.sleep(0.2)
            assert store.degraded  # it answers pings, and still cannot count
            await client.config_set("maxmemory", "0")
            await until(lambda: not store.degraded)
            assert is_shared(await store.take(group, RATE))


async def test_a_driver_that_fails_in_a_way_of_its_own_keeps_nobody_waiting(group: str) -> None:
    class Broken:
        async def evalsha(self, *arguments: Any) -> Any:
            raise RuntimeError("a bug")

    store = RedisStore(Broken())  # type: ignore[arg-type]
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    async with asyncio.timeout(10):
        assert not is_shared(await store.take(group, RATE))
        await store.aclose()


async def test_closing_leaves_no_task_behind(redis: Service, group: str) -> None:
    before = asyncio.all_tasks()
    async with opened(redis) as store:
        store.settle(await store.take(group, RATE, SLOT), 0)
        await store.take(group, RATE, SLOT)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.exceptions", None)
    with pytest.raises(ModuleNotFoundError, match=r"gw-middleware\[redis\]"):
        RedisStore(Redis())
