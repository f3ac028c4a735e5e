"""Requests per minute of projects and keys: all limits hold, and what one refuses is charged to none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from middleware._state import PRINCIPAL, Account, Principal
from middleware.policy.bucket import Verdict
from middleware.rate_limit import RateLimitMiddleware, StoreLimiter, tightest
from middleware.stores.memory import MemoryStore
from middleware.stores.redis import RedisStore
from tests.services import Service, running_redis

from .asgi import Answer, call

pytestmark = pytest.mark.anyio

PROJECT = Account("project:acme", rpm=4)


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with running_redis() as service:
        yield service


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def ask(app: Any, *accounts: Account, key: str = "k", path: str = "/v1/messages") -> Answer:
    return await call(app, path=path, state={PRINCIPAL: Principal("acme", key, accounts)})


async def statuses(app: Any, count: int, *accounts: Account, **what: str) -> list[int]:
    return [(await ask(app, *accounts, **what)).status for _ in range(count)]


async def test_an_accounts_limit_takes_the_place_of_everybodys() -> None:
    app = RateLimitMiddleware(_hello, rpm=2)
    assert await statuses(app, 5, PROJECT) == [200] * 4 + [429]
    assert await statuses(app, 3) == [200, 200, 429]
    assert await statuses(app, 3, Account("project:b", tpm=5), key="other") == [200, 200, 429]


async def test_keys_of_one_project_share_its_limit_and_have_their_own() -> None:
    app = RateLimitMiddleware(_hello)
    one, other = Account("key:1", rpm=3), Account("key:2", rpm=3)
    assert await statuses(app, 4, PROJECT, one) == [200, 200, 200, 429]
    assert await statuses(app, 2, PROJECT, other, key="2") == [200, 429]
    refused = await ask(app, PROJECT, other, key="2")
    assert "4 requests a minute of project acme" in refused.json()["error"]["message"]


async def test_a_request_that_one_account_refuses_is_not_charged_to_the_others() -> None:
    app = RateLimitMiddleware(_hello)
    narrow = Account("key:1", rpm=1)
    assert await statuses(app, 50, PROJECT, narrow) == [200] + [429] * 49
    assert await statuses(app, 4, PROJECT) == [200] * 3 + [429]


async def test_the_headers_are_those_of_the_tightest_limit() -> None:
    app = RateLimitMiddleware(_hello)
    wide = Account("project:acme", rpm=100)
    answer = await ask(app, wide, Account("key:1", rpm=2))
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("2", "1")
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    await ask(app, wide, Account("key:1", rpm=2))
    refused = await ask(app, wide, Account("key:1", rpm=2))
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert "key 1" in refused.json()["error"]["message"]


def test_what_refuses_decides_over_what_has_less_left() -> None:
    passes, refuses = Verdict(True, 5, 0, 60.0, 12.0), Verdict(False, 100, 0, 60.0, 0.5)
    longer = Verdict(False, 100, 3, 60.0, 9.0)
    assert tightest([passes, refuses]) is refuses
    assert tightest([refuses, longer]) is longer
    assert tightest([Verdict(True, 9, 8, 1.0), Verdict(True, 5, 4, 1.0)]).limit == 5


async def test_another_count_has_a_name_and_a_factor_of_its_own() -> None:
    store = MemoryStore()
    chats = RateLimitMiddleware(_hello, store=store)
    counts = RateLimitMiddleware(_hello, store=store, factor=3, name="counts", only=["/count"])
    one = Account("key:1", rpm=1)
    assert await statuses(chats, 2, one) == [200, 429]
    assert await statuses(counts, 4, one, path="/count") == [200, 200, 200, 429]


@pytest.mark.parametrize("rpm", [0, -1])
async def test_a_limit_of_nothing_lets_nothing_pass(rpm: int) -> None:
    app = RateLimitMiddleware(_hello)
    answer = await ask(app, PROJECT, Account("key:1", rpm=rpm))
    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert await statuses(app, 4, PROJECT) == [200] * 4, "nothing was charged"


async def test_workers_without_redis_each_give_out_their_share() -> None:
    workers = [RateLimitMiddleware(_hello, store=MemoryStore(share=0.25)) for _ in range(4)]
    limit = Account("project:acme", rpm=40)
    answers = [status for app in workers for status in await statuses(app, 20, limit)]
    assert answers.count(200) == 40


async def test_workers_with_redis_share_every_limit(redis: Service) -> None:
    clients = [Redis.from_url(redis.url) for _ in range(2)]
    stores = [RedisStore(client, timeout=20) for client in clients]
    workers = [
        RateLimitMiddleware(_hello, store=store, limiter=StoreLimiter(store, rpm=3)) for store in stores
    ]
    limit = Account("project:acme", rpm=20)
    answers = await asyncio.gather(*(ask(app, limit) for app in workers for _ in range(100)))
    assert [answer.status for answer in answers].count(200) in (20, 21)
    default = await asyncio.gather(*(ask(app) for app in workers for _ in range(9)))
    assert [answer.status for answer in default].count(200) == 3
    for store, client in zip(stores, clients, strict=True):
        await store.aclose()
        await client.aclose()


@pytest.mark.parametrize("rpm", [0, -1, float("nan")])
def test_a_shared_rate_that_would_admit_nobody_is_refused_at_boot(rpm: float) -> None:
    with pytest.raises(ValueError, match="admit nobody"):
        StoreLimiter(MemoryStore(), rpm)
