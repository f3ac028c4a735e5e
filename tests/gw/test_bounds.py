"""What a request could cost at most is never less than what it does cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gw.bounds import cost_bound
from gw.dispatch import Dispatcher
from gw.prices import PriceBook
from middleware._body import Body
from middleware._state import DEFAULTED

from .stub import StubProvider, settings

NOW = 1_795_000_000.0  # November 2026
NANO = 10**9


def bound(path: str, body: dict[str, Any], *, defaulted: bool = False) -> int | None:
    chosen = settings(ANTHROPIC_API_KEY="k" * 20, LOCAL_LLM_BASE_URL="http://127.0.0.1:11434")
    dispatcher = Dispatcher(
        claude=chosen.claude,
        local=chosen.local,
        anthropic=StubProvider("anthropic"),
        ollama=StubProvider("ollama"),
        others={},
        successors={},
    )
    price = cost_bound(dispatcher, PriceBook(), 1_200, clock=lambda: NOW)

    async def receive() -> Any:
        raise AssertionError("it was read")

    state = {DEFAULTED: {"max_tokens"}} if defaulted else {}
    return price(Body(orjson.dumps(body), receive), {"path": path, "state": state})


def test_the_prompt_and_all_of_the_answer_are_counted() -> None:
    # Opus 5.5: 20 USD a million of output.
    found = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 1_000_000})
    assert found is not None
    assert 20 * NANO <= found <= 20.01 * NANO
    large = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 1, "x": "a" * 3_000_000})
    assert large is not None
    assert large >= 8 * NANO  # a million tokens, written into a cache for an hour


@pytest.mark.parametrize("path", ["/v1/messages", "/messages", "/v1/responses"])
def test_a_provider_that_the_dialect_does_not_know_makes_nothing_cheaper(path: str) -> None:
    asked = {"model": "opus", "max_tokens": 1_000, "max_output_tokens": 1_000}
    assert bound(path, {**asked, "provider": "local"}) == pytest.approx(bound(path, asked), rel=0.01)


def test_a_local_model_costs_nothing() -> None:
    assert bound("/v1/chat/completions", {"model": "local", "max_tokens": 1_000}) == 0
    assert bound("/v1/chat/completions", {"model": "qwen2.5:7b", "provider": "local"}) == 0


def test_what_is_going_to_be_refused_costs_nothing() -> None:
    assert bound("/v1/chat/completions", {"model": "no-such-model"}) == 0


def test_nobody_knows_the_price_of_an_unknown_model() -> None:
    assert bound("/v1/chat/completions", {"model": "claude-of-next-year"}) is None


def test_each_of_several_answers_is_counted() -> None:
    one = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 10_000})
    four = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 10_000, "n": 4})
    assert one is not None
    assert four == pytest.approx(4 * one, rel=0.01)


def test_a_default_may_grow_by_the_room_for_thinking_and_tools() -> None:
    wished = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 1_200})
    defaulted = bound("/v1/chat/completions", {"model": "opus", "max_tokens": 1_200}, defaulted=True)
    assert wished is not None
    assert defaulted is not None
    assert defaulted - wished >= 20_000 * 20_000  # that many tokens, at 20,000 nano-dollars each


def test_speed_costs_more() -> None:
    usual = bound("/v1/messages", {"model": "opus", "max_tokens": 10_000})
    fast = bound("/v1/messages", {"model": "opus", "max_tokens": 10_000, "speed": "fast"})
    assert usual is not None
    assert fast is not None
    assert fast > 1.5 * usual


def test_computing_in_the_us_costs_a_tenth_more() -> None:
    body = {"model": "opus", "max_tokens": 10_000}
    usual = bound("/v1/messages", {**body, "inference_geo": "xx"})  # as long, and means nothing
    there = bound("/v1/messages", {**body, "inference_geo": "us"})
    assert usual is not None
    assert there == (usual * 11 + 5) // 10


def test_embeddings_write_nothing() -> None:
    body = {"model": "opus", "input": "text"}
    found, chat = bound("/v1/embeddings", body), bound("/v1/chat/completions", body)
    assert found is not None
    assert chat is not None
    assert found < chat / 100
