"""Rate limit: never more than documented, and the client is told where it stands."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from middleware._state import PRINCIPAL, Principal
from middleware.policy.bucket import Bucket, Verdict
from middleware.rate_limit import RateLimitMiddleware, duration
from middleware.stores.memory import MemoryLimiter

from .asgi import Answer, call

pytestmark = pytest.mark.anyio


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def _as(app: Any, key_id: str, **kwargs: Any) -> Answer:
    return await call(app, state={PRINCIPAL: Principal("p", key_id)}, **kwargs)


class _FakeClock(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until a test moves it."""

    now = 1000.0

    def time(self) -> float:
        return self.now


async def test_success_and_refusal_both_tell_where_the_caller_stands() -> None:
    app = RateLimitMiddleware(_hello, rpm=2)
    answers = [await _as(app, "k") for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert [a.headers["x-ratelimit-remaining"] for a in answers] == ["1", "0", "0"]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit"] == answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == answer.headers["x-ratelimit-remaining"]
        assert 30 <= int(answer.headers["x-ratelimit-reset"]) <= 60
        assert re.fullmatch(r"30s|\d\ds|1m0s", answer.headers["x-ratelimit-reset-requests"])
    assert answers[0].headers["a"] == "b"
    assert answers[0].body == b"hello"


async def test_a_refusal_is_a_429_that_says_when_to_come_back() -> None:
    app = RateLimitMiddleware(_hello, rpm=1)
    await _as(app, "k")
    answer = await _as(app, "k")
    assert answer.status == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    anthropic = await _as(app, "k", path="/v1/messages")
    assert anthropic.json()["error"]["type"] == "rate_limit_error"


async def test_retry_after_is_never_zero() -> None:
    class Limiter:
        async def take(self, key: str) -> Verdict:
            return Verdict(False, 5, 0, 0.01, 0.0)

    answer = await call(RateLimitMiddleware(_hello, limiter=Limiter()))
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-ratelimit-reset-requests"] == "10ms"


async def test_callers_are_counted_apart() -> None:
    app = RateLimitMiddleware(_hello, rpm=1)
    assert (await _as(app, "a")).status == 200
    assert (await _as(app, "b")).status == 200
    assert (await _as(app, "a")).status == 429


async def test_without_a_principal_the_peers_address_is_counted() -> None:
    app = RateLimitMiddleware(_hello, rpm=1)
    assert (await call(app, client=("10.0.0.1", 1))).status == 200
    assert (await call(app, client=("10.0.0.1", 2))).status == 429
    assert (await call(app, client=("10.0.0.2", 1))).status == 200
    assert (await call(app, client=None)).status == 200


async def test_an_address_never_shares_a_count_with_a_key_of_that_name() -> None:
    app = RateLimitMiddleware(_hello, rpm=1)
    assert (await _as(app, "10.0.0.1")).status == 200
    assert (await call(app, client=("10.0.0.1", 1))).status == 200


async def test_health_checks_are_not_counted() -> None:
    app = RateLimitMiddleware(_hello, rpm=1)
    for _ in range(5):
        answer = await call(app, path="/health")
        assert answer.status == 200
        assert "x-ratelimit-limit" not in answer.headers


async def test_a_thousand_at_once_admit_exactly_the_burst() -> None:
    app = RateLimitMiddleware(_hello, rpm=60)
    began = time.monotonic()
    answers = await asyncio.gather(*(_as(app, "k") for _ in range(1000)))
    leaked = time.monotonic() - began  # one request a second
    assert 60 <= sum(a.status == 200 for a in answers) <= 60 + leaked + 1


def test_a_refused_caller_is_admitted_after_retry_after() -> None:
    loop = _FakeClock()
    try:
        limiter = MemoryLimiter(7, period=60)

        def take() -> Verdict:
            return loop.run_until_complete(limiter.take("k"))

        while (verdict := take()).allowed:
            loop.now += 0.3
        loop.now += verdict.retry_seconds * 0.98
        assert not take().allowed
        loop.now += verdict.retry_seconds * 0.03
        assert take().allowed
        full = take().reset_seconds
        loop.now += full + 0.001
        assert take().remaining == 6
    finally:
        loop.close()


class _Admission(RuleBasedStateMachine):
    """Any schedule of requests against the documented bound, in every window it contains."""

    RATE, PERIOD = 10, 60.0

    def __init__(self) -> None:
        super().__init__()
        self.loop = _FakeClock()
        self.limiter = MemoryLimiter(self.RATE, period=self.PERIOD)
        self.admitted: dict[str, list[float]] = defaultdict(list)
        self.foretold: dict[str, tuple[float, int]] = {}

    def _run(self, work: Coroutine[Any, Any, Verdict]) -> Verdict:
        return self.loop.run_until_complete(work)

    @rule(key=st.sampled_from(["a", "b"]), times=st.integers(1, 25))
    def request(self, key: str, times: int) -> None:
        for _ in range(times):
            verdict = self._run(self.limiter.take(key))
            at, remaining = self.foretold.get(key, (-1.0, -1))
            if at == self.loop.now:
                assert verdict.allowed == (remaining > 0), "the headers told the caller otherwise"
            self.foretold[key] = self.loop.now, verdict.remaining
            assert verdict.limit == self.RATE
            assert 0 <= verdict.remaining < self.RATE
            assert 0 <= verdict.reset_seconds <= self.PERIOD + 1e-6
            if verdict.allowed:
                self.admitted[key].append(self.loop.now)
            else:
                assert verdict.retry_seconds > 0

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.loop.now += seconds

    @invariant()
    def no_window_holds_more_than_documented(self) -> None:
        for times in self.admitted.values():
            for first, start in enumerate(times):
                for last in range(first, len(times)):
                    allowance = self.RATE + (times[last] - start) * self.RATE / self.PERIOD
                    assert last - first + 1 <= allowance + 1e-6

    def teardown(self) -> None:
        self.loop.close()


_Admission.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestAdmission = _Admission.TestCase


def test_only_the_most_recent_callers_are_remembered() -> None:
    async def run() -> None:
        limiter = MemoryLimiter(1, max_keys=3)
        for key in ("a", "b", "c"):
            assert (await limiter.take(key)).allowed
        assert not (await limiter.take("a")).allowed  # and is now the most recent
        assert (await limiter.take("d")).allowed  # pushes out b
        assert not (await limiter.take("a")).allowed
        assert (await limiter.take("b")).allowed

    asyncio.run(run())


def test_a_limiter_may_outlive_its_event_loop() -> None:
    limiter = MemoryLimiter(1)
    assert asyncio.run(limiter.take("k")).allowed
    assert asyncio.run(limiter.take("k")).allowed  # a new loop starts afresh, without warnings


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_a_rate_that_would_admit_nobody_is_refused_at_boot(rate: float) -> None:
    with pytest.raises(ValueError, match="admit nobody"):
        RateLimitMiddleware(_hello, rpm=rate)


async def test_a_share_below_one_admits_one_request_and_the_next_when_it_is_due() -> None:
    app = RateLimitMiddleware(_hello, rpm=0.5)  # 2 a minute over 4 workers
    answers = [await _as(app, "k") for _ in range(2)]
    assert [a.status for a in answers] == [200, 429]
    assert 60 < int(answers[1].headers["retry-after"]) <= 120


async def test_only_the_paths_that_are_named_are_counted() -> None:
    app = RateLimitMiddleware(_hello, rpm=1, only=["/v1/messages/count_tokens"])
    assert [(await call(app, path="/v1/messages")).status for _ in range(3)] == [200] * 3
    counts = [(await call(app, path="/v1/messages/Count_Tokens/")).status for _ in range(2)]
    assert counts == [200, 429]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiolimiter", None)
    with pytest.raises(ModuleNotFoundError, match=r"gw-middleware\[ratelimit\]"):
        MemoryLimiter(1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0s"),
        (0.0121, b"13ms"),
        (0.9999, b"1s"),
        (1, b"1s"),
        (1.2, b"2s"),
        (59.5, b"1m0s"),
        (90, b"1m30s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


@given(st.lists(st.floats(-100, 100), max_size=40))
def test_a_clock_that_jumps_back_never_leaks_the_same_time_twice(steps: list[float]) -> None:
    bucket, now, latest = Bucket(1000, 1), 0.0, 0.0
    bucket.add(now, 1000)
    for step in steps:
        now += step
        latest = max(latest, now)
        assert bucket.level(now) == pytest.approx(max(1000 - latest, 0))
