"""The table of faults: each has its own status, through a real gateway, in the caller's dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import settings_for
from .gateway import Gateway, free_port, running_gateway
from .test_serve import chat
from .upstream import Upstream


def answer(gateway: Gateway, model: str = "sonnet") -> tuple[int, dict[str, Any]]:
    status, body = chat(gateway, model=model)
    return status, json.loads(body)["error"]


def test_an_unreachable_provider_is_502(upstream: Upstream) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with running_gateway(**settings_for(upstream, ANTHROPIC_BASE_URL=nobody)) as gateway:
        status, error = answer(gateway)
        assert (status, error["code"]) == (502, "upstream_connect")
        assert gateway.get("/ready")[0] == 200
        # The list falls back to what this release knows.
        assert gateway.metric("gateway_upstream_errors_total", stage="connect") == 1


def test_a_name_that_does_not_resolve_is_502(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, ANTHROPIC_BASE_URL="http://nowhere.invalid")) as gateway:
        status, error = answer(gateway)
        assert (status, error["code"]) == (502, "upstream_dns")


@pytest.mark.parametrize("scenario", [{"fault": "hang"}, {"tokens": 20, "fault": "stall"}])
def test_a_provider_that_takes_too_long_is_504(upstream: Upstream, scenario: dict[str, Any]) -> None:
    patience = {"UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "0.5", "UPSTREAM_IDLE_TIMEOUT_SECONDS": "0.5"}
    with running_gateway(**settings_for(upstream, **patience)) as gateway:
        upstream.script(scenario)
        status, error = answer(gateway)
        assert (status, error["type"]) == (504, "timeout_error")
    upstream.wait_for(lambda chats: chats[-1]["closed_by_client_at"] is not None)


def test_what_is_not_configured_is_500_and_names_the_variable(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, ANTHROPIC_API_KEY="")) as gateway:
        status, error = answer(gateway)
        assert status == 500
        assert "ANTHROPIC_API_KEY" in error["message"]
        status, error = answer(gateway, "local:llama3.1:8b")
        assert status == 500
        assert "LOCAL_LLM_BASE_URL" in error["message"]


def test_a_local_model_outside_the_allow_list_is_400(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, LOCAL_LLM_BASE_URL="http://127.0.0.1:11434")) as gateway:
        status, error = answer(gateway, "local:made-up")
        assert (status, error["code"]) == (400, "model_not_allowed")
        assert "qwen2.5-coder:14b-instruct" in error["message"]


def test_an_unknown_model_is_404(gateway: Gateway) -> None:
    status, error = answer(gateway, "gpt-4o")
    assert (status, error["code"]) == (404, "model_not_found")
