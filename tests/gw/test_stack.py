"""The stack stands in the order that its comments argue for, and each layer is where it must be."""

from __future__ import annotations

import pytest

from gw.app import ADMIN, PUBLIC, layers
from gw.settings import load
from middleware.disconnect import InFlight

KEY = {"GATEWAY_API_KEY": "a-perfectly-long-test-key"}


def names(**environ: str) -> list[str]:
    stack = layers(load({**KEY, **environ}), metrics=None, in_flight=InFlight(), access_log=False)
    return [getattr(layer.middleware, "__name__", "") for layer in stack]


def test_the_order_of_the_stack() -> None:
    assert names(CORS_ORIGINS="https://chat.example.com") == [
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
        "LimitsMiddleware",
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
    guards = [
        layer.options
        for layer in layers(settings, metrics=None, in_flight=InFlight(), access_log=False)
        if "keys" in layer.options
    ]
    assert [set(g.get("only", ())) for g in guards] == [set(), {"/admin"}]
    assert [set(g.get("skip", ())) for g in guards] == [{"/admin"}, set()]
    assert set(guards[0]["public"]) == {"/live", "/ready", "/health", "/api/hello"}


def test_workers_share_the_rate_even_when_they_are_more_than_its_requests() -> None:
    settings = load({**KEY, "RATE_LIMIT_RPM": "2", "WEB_CONCURRENCY": "8"})
    stack = layers(settings, metrics=None, in_flight=InFlight(), access_log=False)
    chats, counts = [layer.options for layer in stack if "rpm" in layer.options]
    assert chats["rpm"] == 0.25
    assert counts["rpm"] == 2.5


def test_every_request_is_counted_under_exactly_one_rate() -> None:
    """But for those of /admin and the public pages, which no rate is for."""
    stack = layers(load(KEY), metrics=None, in_flight=InFlight(), access_log=False)
    chats, counts = [layer.options for layer in stack if "rpm" in layer.options]
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
    stack = layers(load({**KEY, **environ}), metrics=None, in_flight=InFlight(), access_log=False)
    (options,) = [layer.options for layer in stack if "deadline" in layer.options]
    assert options["deadline"] == deadline
