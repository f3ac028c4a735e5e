"""The store in memory: bounded in bytes, turns and time; what is in use stays."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.thinking.stores import MemoryStore
from providers.thinking.turns import KeptTurn, kept_turn


def turn(size: int = 100, model: str = "m") -> KeptTurn:
    return KeptTurn(model, b"", b"", ({"type": "text", "text": "x"},), size)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(
        st.tuples(st.sampled_from("pg"), st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 400)),
        max_size=60,
    )
)
def test_it_never_holds_more_than_it_may(steps: list[tuple[str, str, int, int]]) -> None:
    store = MemoryStore(max_bytes=1_000, max_turns=7)
    held: dict[tuple[str, str], int] = {}
    for step, session, key, size in steps:
        if step == "p":
            store.put(session, {str(key): turn(size)})
            held[session, str(key)] = size
        else:
            store.find(session, [str(key)])
        assert len(store) <= 7
        assert store.size <= 1_000
        known = {place: size for place, size in held.items() if store.find(place[0], [place[1]])}
        assert sum(known.values()) == store.size


def test_what_is_asked_for_outlives_what_is_not() -> None:
    store = MemoryStore(max_turns=2)
    store.put("s", {"old": turn(), "new": turn()})
    store.find("s", ["old"])
    store.put("s", {"third": turn()})
    assert set(store.find("s", ["old", "new", "third"])) == {"old", "third"}


def test_it_forgets_in_time_and_use_puts_that_off() -> None:
    clock = Clock()
    store = MemoryStore(ttl=10, clock=clock)
    store.put("s", {"a": turn(), "b": turn()})
    clock.now = 9
    store.find("s", ["a"])
    clock.now = 11
    assert set(store.find("s", ["a", "b"])) == {"a"}
    store.put("s", {"c": turn()})
    assert len(store) == 2  # b is not only hidden
    clock.now = 21
    assert store.find("s", ["a", "b", "c"]) == {}


def test_the_later_turn_of_a_key_counts() -> None:
    store = MemoryStore()
    store.put("s", {"a": turn(100, "one")})
    store.put("s", {"a": turn(50, "two")})
    assert store.find("s", ["a"])["a"].model == "two"
    assert store.size == 50


def test_a_turn_larger_than_the_store_is_not_kept() -> None:
    store = MemoryStore(max_bytes=100)
    store.put("s", {"a": turn(101)})
    assert (len(store), store.size) == (0, 0)


@pytest.mark.parametrize("character", ["a", "ä", "思", "😀"])
def test_the_bound_is_one_of_bytes_in_every_script(character: str) -> None:
    limit = 4 * 1024 * 1024
    store = MemoryStore(max_bytes=limit)
    tracemalloc.start()
    try:
        for number in range(200):
            thinking = {"type": "thinking", "thinking": character * 50_000 + str(number), "signature": "s"}
            orjson.dumps(thinking)  # as it is when it is sent: the string keeps its UTF-8 form
            store.put("s", {str(number): kept_turn("m", b"", [thinking])})
            del thinking
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) < 200  # some had to go
    assert limit / 2 < held < limit * 1.1


def test_threads_may_share_it() -> None:
    store = MemoryStore(max_turns=50)

    def work(worker: int) -> None:
        for number in range(2_000):
            store.put(f"s{worker % 2}", {str(number % 70): turn(10)})
            store.find("s0", [str(number % 70), "1"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) <= 50
    assert store.size == 10 * len(store)


@pytest.mark.anyio
async def test_it_gives_what_it_has_at_once() -> None:
    store = MemoryStore()
    store.put("s", {"a": turn()})
    assert await store.get("s", ["a", "b"]) == {"a": turn()}
    assert await store.get("t", ["a"]) == {}
    await store.aclose()
