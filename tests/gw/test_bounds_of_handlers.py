"""The most that a request can cost: never less than what its handler may then spend."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gw.app import _dispatcher
from gw.bounds import cost_bound
from gw.prices import PriceBook
from gw.settings import load
from gw.upstreams import Upstreams
from middleware._body import Body
from middleware._state import DEFAULTED
from middleware.budget import Price
from providers.translate.params import ALLOWANCE

#: 2026-11-24; Sonnet 5.5 is $10 per million tokens written then, Opus 5.5 is $20.
NOW = 1_795_478_400.0
SONNET, OPUS = 10_000, 20_000
ENVIRONMENT = {
    "GATEWAY_API_KEY": "bounds-gateway-key-0123456789abcdef",
    "ANTHROPIC_API_KEY": "sk-ant-bounds-0123456789",
    "LOCAL_LLM_BASE_URL": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module")
def price() -> Price:
    settings = load(ENVIRONMENT)
    return cost_bound(_dispatcher(settings, Upstreams(settings)), PriceBook(), 1_200, clock=lambda: NOW)


async def _nobody() -> dict[str, Any]:
    raise AssertionError("the body is there already")


def bound(price: Price, path: str, defaulted: tuple[str, ...] = (), **request: Any) -> int:
    found = price(Body(orjson.dumps(request), _nobody), {"path": path, "state": {DEFAULTED: set(defaulted)}})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/chat", {"message": "x", "max_tokens": 1000}),
        ("/chat", {"message": "x", "max_tokens": 1000, "model": "sonnet"}),
        ("/v1/messages", {"model": "sonnet", "provider": "local", "max_tokens": 1000}),
        ("/v1/messages", {"model": "sonnet", "provider": "nobody", "max_tokens": 1000}),
        ("/V1/Responses/", {"model": "sonnet", "provider": "local", "max_output_tokens": 1000}),
        ("/responses", {"model": "sonnet", "provider": "nobody", "max_output_tokens": 1000}),
        ("/v1/chat/completions", {"model": "sonnet", "max_completion_tokens": 1000}),
        ("/v1/chat/completions", {"model": "sonnet", "provider": "anthropic", "max_tokens": 1000}),
    ],
)
def test_what_is_priced_is_what_the_handler_asks(price: Price, path: str, request_: dict[str, Any]) -> None:
    assert bound(price, path, **request_) > 1000 * SONNET


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "no-such-model"},
        {"model": 5},
        {},
        {"model": "sonnet", "provider": "nobody"},
        {"model": "sonnet", "provider": "local"},  # nothing on this machine costs anything, nor is it there
    ],
)
def test_what_is_refused_or_free_costs_nothing(price: Price, request_: dict[str, Any]) -> None:
    assert bound(price, "/v1/chat/completions", messages=[], **request_) == 0


def test_answers_prompts_and_thinking_are_counted(price: Price) -> None:
    one = bound(price, "/v1/chat/completions", model="sonnet", max_tokens=1000)
    assert bound(price, "/v1/chat/completions", model="sonnet", max_tokens=1000, n=7) > 7 * 1000 * SONNET
    assert bound(price, "/v1/completions", model="sonnet", max_tokens=1000, prompt=["a"] * 9) > 8 * one
    quick = bound(price, "/v1/messages", model="opus", max_tokens=1000, speed="fast")
    assert quick > 1.5 * 1000 * OPUS
    efforts: list[dict[str, Any]] = [{"reasoning_effort": "max"}, {"reasoning": {"effort": "max"}}]
    for effort in efforts:
        asked = {"model": "sonnet", "max_tokens": 9, **effort}
        assert bound(price, "/v1/responses", ("max_tokens",), **asked) > ALLOWANCE["max"] * SONNET


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo%s"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/%s"}},
    ],
)
def test_the_bytes_of_an_image_are_not_taken_for_text(price: Price, block: dict[str, Any]) -> None:
    text = orjson.dumps(block).decode().replace("%s", "A" * 2_000_000)
    asked: dict[str, Any] = {"model": "sonnet", "max_tokens": 1}
    found = bound(
        price, "/v1/messages", **asked, messages=[{"role": "user", "content": [orjson.loads(text)]}]
    )
    assert 1_600 * 2_000 < found < 10_000 * 4_000 + SONNET
