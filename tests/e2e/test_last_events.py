"""A stream that the gateway itself breaks off ends as its dialect ends, and the SDKs understand it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest

from .conftest import others_at, settings_for
from .gateway import KEY, Gateway, running_gateway
from .upstream import Upstream

MODEL = "local:llama3.1:8b"
SAID: Any = [{"role": "user", "content": "Hi"}]


def responses(gateway: Gateway) -> list[Any]:
    with (
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0) as sdk,
        sdk.responses.stream(model=MODEL, input="Hi") as stream,
    ):
        return list(stream)


def chat(gateway: Gateway) -> openai.APIError:
    with (
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0) as sdk,
        pytest.raises(openai.APIError) as failed,
    ):
        list(sdk.chat.completions.create(model=MODEL, messages=SAID, stream=True))
    return failed.value


def messages(gateway: Gateway) -> anthropic.APIStatusError:
    with (
        anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0) as sdk,
        pytest.raises(anthropic.APIStatusError) as failed,
        sdk.messages.stream(model=MODEL, max_tokens=4_000, messages=SAID) as stream,
    ):
        list(stream)
    return failed.value


@pytest.mark.parametrize("silent", [True, False], ids=["before the first event", "between two events"])
def test_a_gateway_that_stops_ends_every_stream_in_its_dialect(upstream: Upstream, silent: bool) -> None:
    slow = {"hold_ms": 20_000} if silent else {"tokens": 2_000, "delay_ms": 20}
    settings = {"SSE_KEEPALIVE_SECONDS": "0.2", "DRAIN_TIMEOUT_SECONDS": "0.5"}
    asks: list[Callable[[Gateway], Any]] = [responses, chat, messages]
    with (
        running_gateway(**settings_for(upstream, **others_at(upstream), **settings)) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        upstream.script(*[{"path": "/api/chat", **slow}] * len(asks))
        answers = [pool.submit(ask, gateway) for ask in asks]
        upstream.wait_until("/api/chat", lambda asked: len(asked) == len(asks))
        # Behind the first sign of life.
        threading.Timer(0.6, gateway.process.send_signal, [signal.SIGTERM]).start()
        events, refused, overloaded = (answer.result(timeout=30) for answer in answers)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.failed"
    assert "shutting down" in events[-1].response.error.message
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == list(range(len(events)))
    assert (len(events) == 2) is silent
    assert refused.code == "shutting_down"
    assert overloaded.type == "overloaded_error"
