"""The stack stands in the order that its comments argue for, and each layer is where it must be."""

from __future__ import annotations

from typing import Any

import pytest

from gw.app import ADMIN, PUBLIC, Layer, layers
from gw.dispatch import Dispatcher
from gw.settings import Settings, load
from middleware.disconnect import InFlight
from middleware.rate_limit import RateLimitMiddleware

from .stub import nothing_behind

pytestmark = pytest.mark.anyio

KEY = {"GATEWAY_API_KEY": "a-perfectly-long-test-key"}


def stack_of(settings: Settings) -> list[Layer]:
    dispatcher = Dispatcher(
        claude=settings.claude, local=settings.local, anthropic=None, ollama=None, others={}, successors={}
    )
    return layers(
        settings,
        metrics=None,
        in_flight=InFlight(),
        access_log=False,
        backing=nothing_behind(settings),
        dispatcher=dispatcher,
    )


def names(**environ: str) -> list[str]:
    stack = stack_of(load({**KEY, **environ}))
    return [getattr(layer.middleware, "__name__", "") for layer in stack]


def test_the_order_of_the_stack() -> None:
    assert names(CORS_ORIGINS="https://chat.example.com", ENABLE_MULTI_PROJECT="1") == [
        "TelemetryMiddleware",
        "CorsMiddleware",
        "DisconnectMiddleware",
        "RequestGuardMiddleware",
        "AuthMiddleware",
        "AuthMiddleware",
        "RateLimitMiddleware",
        "RateLimitMiddleware",
        "BodyLimitMiddleware",
        "KeepAliveMiddleware",
        "KeyPolicyMiddleware",
        "QuotaMiddleware",
        "LimitsMiddleware",
        "BudgetMiddleware",
        "SettleMiddleware",
    ]


@pytest.mark.parametrize(
    ("off", "what"),
    [
        ({"RATE_LIMIT_ENABLED": "0"}, "RateLimitMiddleware"),
        ({"SSE_KEEPALIVE_SECONDS": "0"}, "KeepAliveMiddleware"),
        ({"CORS_ORIGINS": ""}, "CorsMiddleware"),
    ],
)
def test_what_can_be_switched_off(off: dict[str, str], what: str) -> None:
    on = {"CORS_ORIGINS": "https://chat.example.com"}
    assert set(names(**on)) - set(names(**(on | off))) == {what}


def test_pages_of_other_origins_may_not_call_unless_they_are_named() -> None:
    assert "CorsMiddleware" not in names()


def test_no_part_of_the_surface_is_left_unguarded() -> None:
    """One auth layer guards /admin, the other everything else; what neither guards is the health pages."""
    settings = load(KEY)
    guards = [layer.options for layer in stack_of(settings) if "keys" in layer.options]
    assert [set(g.get("only", ())) for g in guards] == [set(), {"/admin"}]
    assert [set(g.get("skip", ())) for g in guards] == [{"/admin"}, set()]
    assert set(guards[0]["public"]) == {"/live", "/ready", "/health", "/api/hello"}


async def test_workers_share_the_rate_even_when_they_are_more_than_its_requests() -> None:
    settings = load({**KEY, "RATE_LIMIT_RPM": "2", "WEB_CONCURRENCY": "8"})
    chats, counts = _rates(settings)
    # Shares of a quarter of a request, and of two and a half, a minute.
    assert [(await chats["limiter"].take("k")).allowed for _ in range(2)] == [True, False]
    assert [(await counts["limiter"].take("k")).allowed for _ in range(3)] == [True, True, False]


def _rates(settings: Settings) -> list[dict[str, Any]]:
    return [layer.options for layer in stack_of(settings) if layer.middleware is RateLimitMiddleware]


def test_keys_of_projects_keep_their_limits_where_the_general_one_is_off() -> None:
    assert "RateLimitMiddleware" in names(RATE_LIMIT_ENABLED="0", ENABLE_MULTI_PROJECT="1")


def test_every_request_is_counted_under_exactly_one_rate() -> None:
    """But for those of /admin and the public pages, which no rate is for."""
    chats, counts = _rates(load(KEY))
    assert set(counts["only"]) == set(chats["skip"]) - {*PUBLIC, *ADMIN}


@pytest.mark.parametrize(
    ("environ", "deadline"),
    [
        ({}, 630),
        ({"LOCAL_LLM_TIMEOUT_SECONDS": "900"}, 630),  # local models are off
        ({"LOCAL_LLM_TIMEOUT_SECONDS": "900", "LOCAL_LLM_BASE_URL": "http://127.0.0.1:11434"}, 930),
        ({"LOCAL_LLM_BASE_URL": "http://127.0.0.1:11434"}, 630),
    ],
)
def test_the_deadline_leaves_the_slowest_provider_its_time(environ: dict[str, str], deadline: float) -> None:
    stack = stack_of(load({**KEY, **environ}))
    (options,) = [layer.options for layer in stack if "deadline" in layer.options]
    assert options["deadline"] == deadline
