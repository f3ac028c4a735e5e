"""The length of the context: few sizes, kept while the model is loaded, calibrated, never too large."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import ContextTooLong, Overloaded, UpstreamFailed
from providers.estimate import FEWEST_BYTES, MOST_BYTES
from providers.ollama.context import (
    KEEP_ALIVE,
    LARGEST_UNTOLD,
    RESERVE,
    SMALLEST,
    Contexts,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def choose(
    contexts: Contexts, size: int, *, limit: int | None = 131_072, num_predict: int = 1_200, images: int = 0
) -> int:
    return contexts.choose("m", size, images=images, num_predict=num_predict, limit=limit)


@given(
    size=st.integers(0, 10_000_000),
    num_predict=st.integers(1, 1_000_000),
    limit=st.one_of(st.none(), st.integers(1_024, 1_000_000)),
    images=st.integers(0, 20),
)
def test_a_size_is_a_power_of_two_or_the_models_own_and_never_more(
    size: int, num_predict: int, limit: int | None, images: int
) -> None:
    try:
        found = choose(Contexts(), size, limit=limit, num_predict=num_predict, images=images)
    except ContextTooLong:
        assert limit is not None
        assert size / MOST_BYTES > limit
        return
    assert found == limit or found in {SMALLEST << n for n in range(10)}
    assert found <= (limit or LARGEST_UNTOLD)


def test_a_small_prompt_gets_the_smallest_size_whatever_limit_the_client_sends() -> None:
    """Agents send limits of 32,000 and 128,000 for answers of a few hundred tokens."""
    assert choose(Contexts(), 2_000, num_predict=128_000) == SMALLEST
    assert choose(Contexts(), 2_000, num_predict=1_200) == SMALLEST


def test_a_model_smaller_than_the_smallest_size_gets_its_own() -> None:
    assert choose(Contexts(), 100, limit=8_192) == 8_192


def test_the_answer_has_its_room_beside_the_prompt() -> None:
    size = int(3.2 * (SMALLEST - RESERVE))
    assert choose(Contexts(), size - 10, num_predict=RESERVE) == SMALLEST
    assert choose(Contexts(), size + 10, num_predict=RESERVE) == 2 * SMALLEST


def test_images_count() -> None:
    assert choose(Contexts(), 100, images=20) > SMALLEST


def test_a_prompt_that_cannot_fit_is_refused_in_openais_words() -> None:
    with pytest.raises(ContextTooLong) as caught:
        choose(Contexts(), 1_000_000, limit=32_768)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message.startswith("This model's maximum context length is 32768 tokens. However,")


def test_a_prompt_that_may_fit_is_left_to_ollama_to_judge() -> None:
    assert choose(Contexts(), 32_768 * 5, limit=32_768) == 32_768


def test_a_model_keeps_its_larger_size_while_it_is_loaded() -> None:
    """A smaller one would reload it."""
    clock = Clock()
    contexts = Contexts(clock)
    large = choose(contexts, 100_000)
    contexts.loaded("m", large)
    assert large > SMALLEST
    clock.now += KEEP_ALIVE - 1
    assert choose(contexts, 100) == large
    clock.now += 2
    assert choose(contexts, 100) == SMALLEST
    assert choose(contexts, 1_000_000 // 2) > large  # and a larger one when it is needed


def test_the_estimate_follows_what_ollama_counts() -> None:
    contexts = Contexts()
    size = 60_000  # at 3.2 bytes a token some 19k tokens, at 5 bytes 12k
    assert choose(contexts, size) == 2 * SMALLEST
    for _ in range(3):
        contexts.counted("m", size, 12_000)
    assert choose(contexts, size) == SMALLEST
    for _ in range(30):
        contexts.counted("m", size, 30_000)
    assert choose(contexts, size) == 2 * SMALLEST  # now at 2 bytes a token
    assert choose(contexts, 2 * size) == 4 * SMALLEST


@given(counts=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(-5, 1_000_000)), max_size=30))
def test_no_count_leads_the_estimate_out_of_bounds(counts: list[tuple[int, int]]) -> None:
    """A prompt that came from a cache may be counted as a handful of tokens."""
    contexts = Contexts()
    for size, tokens in counts:
        contexts.counted("m", size, tokens)
    size = 60_000
    assert size / MOST_BYTES <= choose(contexts, size, num_predict=1) <= 2 * (size / FEWEST_BYTES + RESERVE)


@pytest.mark.parametrize(
    ("num_ctx", "size", "tokens", "limit", "expected"),
    [
        (16_384, 20_000, None, 131_072, 32_768),
        (16_384, 45_000, None, 131_072, 32_768),  # at most 30,000 tokens
        (16_384, 50_000, None, 131_072, 65_536),  # some 33,000, if it is nothing but digits
        (16_384, 50_000, None, 20_480, 20_480),
        (16_384, 50_000, 40_000, 131_072, 65_536),
        (16_384, 50_000, 20_000, 20_480, 20_480),
        (16_384, 50_000, 20_480, 20_480, None),  # the prompt alone fills it
        (32_768, 50_000, None, 32_768, None),
        (32_768, 50_000, 50_000, 32_768, None),
        (131_072, 200_000, None, None, None),
        (65_536, 100_000, None, None, 131_072),
    ],
)
def test_a_refused_prompt_gets_the_next_size_that_holds_it(
    num_ctx: int, size: int, tokens: int | None, limit: int | None, expected: int | None
) -> None:
    """At once: what Ollama refuses a second time is the caller's."""
    found = Contexts().larger(num_ctx, size=size, tokens=tokens, num_predict=1_200, limit=limit)
    assert found == expected


def test_one_users_dense_text_does_not_refuse_anothers_prose() -> None:
    contexts = Contexts()
    for _ in range(30):
        contexts.counted("m", 30_000, 15_000)  # Chinese, or digits
    assert choose(contexts, 32_768 * 4, limit=32_768) == 32_768  # English, and it fits


def test_who_comes_while_a_larger_context_is_being_loaded_asks_for_no_less() -> None:
    contexts = Contexts()
    with contexts.loading("m", 65_536):
        assert choose(contexts, 100) == 65_536
        with contexts.loading("m", 65_536):
            contexts.loaded("m", SMALLEST)  # one that was asked for before
            contexts.loaded("m", SMALLEST)  # and is not unloaded yet
        assert choose(contexts, 100) == 65_536
    assert choose(contexts, 100) == 65_536


def test_a_context_that_cannot_be_loaded_is_not_asked_of_others() -> None:
    contexts = Contexts()
    contexts.loaded("m", 32_768)
    with pytest.raises(UpstreamFailed), contexts.loading("m", 65_536):
        raise UpstreamFailed("model requires more system memory")
    assert choose(contexts, 100) == 32_768


def test_a_client_that_leaves_while_a_context_is_loaded_does_not_burden_the_others_with_it() -> None:
    contexts = Contexts()
    contexts.loaded("m", 32_768)
    with pytest.raises(asyncio.CancelledError), contexts.loading("m", 65_536):
        raise asyncio.CancelledError
    assert choose(contexts, 100) == 32_768


def test_a_size_at_which_the_model_fails_is_not_kept() -> None:
    """Somebody else loaded it, and this request would have fitted into less."""
    contexts = Contexts()
    contexts.loaded("m", 131_072)
    with pytest.raises(UpstreamFailed), contexts.loading("m", 131_072):
        raise UpstreamFailed("model requires more system memory")
    assert choose(contexts, 100) == SMALLEST


def test_a_full_queue_changes_nothing_about_what_is_loaded() -> None:
    contexts = Contexts()
    contexts.loaded("m", 65_536)
    with pytest.raises(Overloaded), contexts.loading("m", 65_536):
        raise Overloaded("server busy")
    assert choose(contexts, 100) == 65_536
