"""What both stores promise, the one in memory and the one in Redis: one suite over real ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis.asyncio import Redis

from middleware.policy.allowance import LONGEST, Drain, Grant, Rate, Slots, Store
from middleware.stores.memory import MemoryStore
from middleware.stores.redis import RedisStore
from tests.services import Service, running_redis

pytestmark = pytest.mark.anyio

_groups = count()


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with running_redis() as service:
        yield service


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    # A machine that is busy with other tests is no outage.
    client = Redis.from_url(request.getfixturevalue("redis").url)
    shared = RedisStore(client, timeout=20)
    yield shared
    assert not shared.degraded
    await shared.aclose()
    await client.aclose()


@pytest.fixture
def group() -> str:
    return f"project-{next(_groups)}"


async def settle(store: Store, grant: Grant, used: float | None = None) -> None:
    store.settle(grant, used)
    if isinstance(store, RedisStore):
        await store.settled()


async def left(store: Store, group: str, key: str, limit: float) -> int:
    """How many units are left of a limit, without taking any."""
    return (await store.take(group, [Rate(key, limit, 0)])).rates[0].remaining


async def test_four_hundred_at_once_get_exactly_the_minute(store: Store, group: str) -> None:
    began = time.monotonic()
    grants = await asyncio.gather(*(store.take(group, [Rate("r", 60)]) for _ in range(400)))
    drained = time.monotonic() - began  # one request a second
    assert 60 <= sum(grant.allowed for grant in grants) <= 60 + drained + 1


async def test_tokens_are_taken_as_many_as_are_asked_for(store: Store, group: str) -> None:
    grants = await asyncio.gather(*(store.take(group, [Rate("t", 100, 13)]) for _ in range(100)))
    assert sum(grant.allowed for grant in grants) == 7  # 91, and no eighth within a second or two
    assert await left(store, group, "t", 100) == pytest.approx(9, abs=5)


async def test_all_limits_are_passed_or_none_is_charged(store: Store, group: str) -> None:
    wide, narrow = Rate("wide", 1000, 10), Rate("narrow", 10, 6)
    first = await store.take(group, [wide, narrow], [Slots("s", 5)])
    second = await store.take(group, [wide, narrow], [Slots("s", 5)])
    assert (first.allowed, second.allowed) == (True, False)
    assert [verdict.allowed for verdict in second.rates] == [True, False]
    assert second.slots[0].remaining == 4
    assert await left(store, group, "wide", 1000) in range(990, 999)
    blocked = await store.take(group, [wide], [Slots("one", 1)])
    assert blocked.allowed
    assert not (await store.take(group, [wide], [Slots("s", 5), Slots("one", 1)])).allowed
    assert await left(store, group, "wide", 1000) in range(980, 998)
    assert (await store.take(group, [], [Slots("s", 5)])).slots[0].remaining == 3


async def test_a_verdict_says_what_is_left_and_when_to_come_back(store: Store, group: str) -> None:
    first = (await store.take(group, [Rate("r", 3)])).rates[0]
    assert (first.allowed, first.limit, first.remaining) == (True, 3, 2)
    assert first.reset_seconds == pytest.approx(20, abs=1)
    await store.take(group, [Rate("r", 3, 2)])
    refused = (await store.take(group, [Rate("r", 3)])).rates[0]
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 10 < refused.retry_seconds <= 20
    assert 50 < refused.reset_seconds <= 60
    two = (await store.take(group, [Rate("r", 3, 2)])).rates[0]
    assert 30 < two.retry_seconds <= 40


async def test_what_was_not_used_is_given_back(store: Store, group: str) -> None:
    grant = await store.take(group, [Rate("t", 1000, 900)])
    await settle(store, grant, 100)
    assert await left(store, group, "t", 1000) in range(900, 1001)
    failed = await store.take(group, [Rate("t", 1000, 800)])
    await settle(store, failed, 0)
    assert await left(store, group, "t", 1000) in range(900, 1001)


async def test_giving_back_never_makes_more_than_the_whole_minute(store: Store, group: str) -> None:
    grants = [await store.take(group, [Rate("t", 100, 50)]) for _ in range(2)]
    for grant in (*grants, *grants):
        await settle(store, grant, 0)
    assert await left(store, group, "t", 100) == 100
    taken = await asyncio.gather(*(store.take(group, [Rate("t", 100, 30)]) for _ in range(9)))
    assert sum(grant.allowed for grant in taken) == 3


async def test_what_was_used_beyond_is_a_debt_that_drains(store: Store, group: str) -> None:
    grant = await store.take(group, [Rate("t", 1000, 10)])
    await settle(store, grant, 2010)
    owing = (await store.take(group, [Rate("t", 1000)])).rates[0]
    assert not owing.allowed
    assert 110 < owing.reset_seconds <= 121
    assert 55 < owing.retry_seconds <= 61


async def test_nonsense_from_an_upstream_closes_nobody_for_long(store: Store, group: str) -> None:
    grant = await store.take(group, [Rate("t", 1000, 10)])
    await settle(store, grant, 1e15)
    assert (await store.take(group, [Rate("t", 1000)])).rates[0].reset_seconds <= LONGEST


async def test_settling_without_a_count_leaves_what_was_taken(store: Store, group: str) -> None:
    grant = await store.take(group, [Rate("t", 100, 60)], [Slots("s", 1)])
    await settle(store, grant)
    again = await store.take(group, [Rate("t", 100, 60)], [Slots("s", 1)])
    assert [v.allowed for v in again.rates] == [False]
    assert [v.allowed for v in again.slots] == [True]


async def test_more_than_the_whole_minute_is_taken_when_it_is_all_there(store: Store, group: str) -> None:
    assert (await store.take(group, [Rate("t", 100, 150)])).allowed
    refused = (await store.take(group, [Rate("t", 100, 150)])).rates[0]
    assert not refused.allowed
    assert 80 < refused.retry_seconds <= 90


async def test_slots_are_never_more_than_the_limit_and_come_free(store: Store, group: str) -> None:
    grants = await asyncio.gather(*(store.take(group, [], [Slots("s", 5)]) for _ in range(50)))
    held = [grant for grant in grants if grant.allowed]
    assert len(held) == 5
    assert not (await store.take(group, [], [Slots("s", 5)])).allowed
    await settle(store, held[0])
    last = await store.take(group, [], [Slots("s", 5)])
    assert last.allowed
    assert last.slots[0].remaining == 0


async def test_groups_and_keys_are_counted_apart(store: Store, group: str) -> None:
    assert (await store.take(group, [Rate("a", 1)])).allowed
    assert (await store.take(group, [Rate("b", 1)])).allowed
    assert not (await store.take(group, [Rate("a", 1)])).allowed
    assert not (await store.take(group, [Rate("a", 1), Rate("c", 1)])).allowed


async def test_a_limit_that_is_raised_holds_at_once(store: Store, group: str) -> None:
    for _ in range(2):
        await store.take(group, [Rate("r", 2)])
    assert not (await store.take(group, [Rate("r", 2)])).allowed
    assert (await store.take(group, [Rate("r", 1000)])).rates[0].allowed is False  # a minute of it was used
    lowered = (await store.take(group, [Rate("r", 1)])).rates[0]
    assert lowered.retry_seconds <= 60


_OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 700), st.booleans(), st.integers(0, 900)),
    max_size=12,
)


@given(operations=_OPERATIONS)
@settings(max_examples=40)
def test_redis_counts_as_memory_does(redis: Service, operations: list[tuple[str, int, bool, int]]) -> None:
    """Any sequence of requests, of which some are settled at once, comes to the same in both."""

    async def run() -> None:
        async with Redis.from_url(redis.url) as client:
            shared, local = RedisStore(client, timeout=20), MemoryStore()
            group = f"same-{next(_groups)}"
            for key, amount, ends, used in operations:
                # A tenth of a unit a second: less than one while the test runs.
                limits = [Rate(key, 6, amount / 100), Rate("both", 9, amount / 100)]
                slots = [Slots(key, 3)]
                ours = await shared.take(group, limits, slots)
                theirs = await local.take(group, limits, slots)
                assert ours.allowed == theirs.allowed or _is_close(theirs, amount / 100)
                if ours.allowed != theirs.allowed:
                    break
                for one, other in zip(
                    (*ours.rates, *ours.slots), (*theirs.rates, *theirs.slots), strict=True
                ):
                    assert abs(one.remaining - other.remaining) <= 1
                    assert one.reset_seconds == pytest.approx(other.reset_seconds, abs=3)
                if ends and ours.allowed:
                    shared.settle(ours, used / 100)
                    local.settle(theirs, used / 100)
            await shared.aclose()

    asyncio.run(run())


def _is_close(grant: Grant, amount: float) -> bool:
    """Whether a decision hangs on what drains while a test runs."""
    return any(
        abs(v.retry_seconds) < 3 or abs(v.limit - v.reset_seconds * v.limit / 60 - amount) < 0.5
        for v in grant.rates
    )


# ---- the arithmetic, under a clock of its own


class _Minute(RuleBasedStateMachine):
    """Any schedule of requests that use no more than they took, in every window it contains."""

    LIMIT = 100.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.store = MemoryStore(clock=lambda: self.now)
        self.open: list[tuple[Grant, float, int]] = []
        #: (when, what was used or may yet be used), by request.
        self.used: list[tuple[float, float]] = []
        self.taken: list[tuple[float, float]] = []
        self.settled_any = False

    @rule(amount=st.integers(1, 100))
    def take(self, amount: int) -> None:
        grant = self.store.take_now("g", [Rate("t", self.LIMIT, amount)])
        verdict = grant.rates[0]
        assert 0 <= verdict.remaining <= self.LIMIT
        assert verdict.reset_seconds <= 60 + 1e-6
        if grant.allowed:
            self.open.append((grant, amount, len(self.used)))
            self.used.append((self.now, 0.0))
            self.taken.append((self.now, amount))
        else:
            assert verdict.retry_seconds > 0
            later = MemoryStore(clock=lambda: self.now + verdict.retry_seconds)
            later._drained.update(self.store._drained)
            assert later.take_now("g", [Rate("t", self.LIMIT, amount)]).allowed, "it said when"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        grant, amount, index = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        used = data.draw(st.integers(0, int(amount)))
        before = self.store.take_now("g", [Rate("t", self.LIMIT, 0)]).rates[0]
        self.store.settle(grant, used)
        after = self.store.take_now("g", [Rate("t", self.LIMIT, 0)]).rates[0]
        back = (before.reset_seconds - after.reset_seconds) * self.LIMIT / 60
        assert -1e-6 <= back <= amount - used + 1e-6, "more came back than was taken"
        self.used[index] = (self.used[index][0], used)
        self.settled_any = True

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def _within(self, events: list[tuple[float, float]], minutes: float) -> None:
        for first, (start, _) in enumerate(events):
            total = 0.0
            for when, amount in events[first:]:
                total += amount
                assert total <= self.LIMIT * (minutes + (when - start) / 60) + 0.2

    @invariant()
    def what_is_used_in_any_window_is_bounded_as_documented(self) -> None:
        self._within(self.used, 2)

    @invariant()
    def what_is_taken_is_bounded_more_closely_while_nothing_comes_back(self) -> None:
        if not self.settled_any:
            self._within(self.taken, 1)


_Minute.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestMinute = _Minute.TestCase


def test_allowance_that_has_passed_unused_does_not_come_back() -> None:
    now = 0.0
    store = MemoryStore(clock=lambda: now)
    early = store.take_now("g", [Rate("t", 100, 100)])
    now = 60.0
    assert store.take_now("g", [Rate("t", 100, 100)]).allowed
    store.settle(early, 0)
    assert not store.take_now("g", [Rate("t", 100, 50)]).allowed


def test_a_share_is_the_same_part_of_every_limit_and_one_at_least() -> None:
    store = MemoryStore(share=0.25)
    taken = [store.take_now("g", [Rate("r", 60)]).allowed for _ in range(20)]
    assert sum(taken) == 15
    assert [store.take_now("g", [Rate("few", 2)]).allowed for _ in range(2)] == [True, False]
    assert store.take_now("g", [Rate("few", 2)]).rates[0].retry_seconds == pytest.approx(120, abs=1)
    slots = [store.take_now("g", [], [Slots("s", 8)]).allowed for _ in range(3)]
    assert slots == [True, True, False]
    assert store.take_now("g", [], [Slots("one", 2)]).allowed
    assert not store.take_now("g", [], [Slots("one", 2)]).allowed


def test_memory_is_bounded_and_the_latest_are_remembered() -> None:
    store = MemoryStore(max_keys=3)
    for key in ("a", "b", "c"):
        store.take_now("g", [Rate(key, 1)])
    store.settle(store.take_now("g", [Rate("a", 1000)], [Slots("s", 1)]))
    assert not store.take_now("g", [Rate("a", 1)]).allowed
    store.take_now("g", [Rate("d", 1)])
    assert len(store._drained) == 3
    assert not store._used


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_that_makes_no_sense_is_refused_at_boot(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        MemoryStore(share=share)


@given(limit=st.floats(0.01, 1e9), share=st.floats(0.004, 1))
def test_a_full_bucket_never_admits_one_more(limit: float, share: float) -> None:
    drain = Drain(limit, share)
    assert drain.fits(0.0, drain.capacity)
    assert not drain.fits(drain.room, 1)
    assert drain.verdict(drain.room, 1, allowed=False).remaining == 0
    assert drain.verdict(0.0, 0, allowed=True).remaining == int(drain.capacity)
