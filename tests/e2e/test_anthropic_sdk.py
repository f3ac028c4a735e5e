"""Anthropic's official SDK chats, streams and uses tools through a real Granian, passed through."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from .gateway import KEY, Gateway
from .upstream import Upstream

TOOL: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_message_is_answered(client: anthropic.Anthropic, upstream: Upstream) -> None:
    answer = client.messages.create(model="claude-sonnet-5-5", max_tokens=500, messages=ask("Hello there"))
    assert "Hello there" in "".join(block.text for block in answer.content if block.type == "text")
    assert answer.usage.output_tokens > 0
    (received,) = upstream.chats
    assert received["headers"]["anthropic-version"]


def test_a_stream_and_its_tool_call_arrive(client: anthropic.Anthropic, upstream: Upstream) -> None:
    with client.messages.stream(
        model="sonnet", max_tokens=500, messages=ask("use the tool get_weather"), tools=[TOOL]
    ) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_message()
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    history: Any = [
        *ask("use the tool get_weather"),
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in final.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]},
    ]
    answer = client.messages.create(model="sonnet", max_tokens=500, tools=[TOOL], messages=history)
    assert answer.stop_reason in ("end_turn", "tool_use")
    assert upstream.chats[-1]["body"]["model"] == "claude-sonnet-5-5"


def test_a_request_reaches_claude_byte_for_byte(gateway: Gateway, upstream: Upstream) -> None:
    """Odd spacing, escapes and unknown fields included: nobody's prompt cache is broken by us."""
    body = (
        b'{ "max_tokens":50,  "model": "claude-opus-5-5","messages":[{"role":"user","content":"caf\\u00e9"}]}'
    )
    request = urllib.request.Request(
        gateway.base_url + "/v1/messages?beta=true",
        body,
        {
            "x-api-key": KEY,
            "content-type": "application/json",
            "anthropic-version": "2026-10-21",
            "anthropic-beta": "some-beta-2026-01-01",
        },
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["x-provider"] == "anthropic"
        assert answer.headers["request-id"]
        assert json.load(answer)["type"] == "message"
    (received,) = upstream.chats
    assert received["path"].startswith("/v1/messages")
    assert received["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert received["headers"]["anthropic-beta"] == "some-beta-2026-01-01"
    assert received["headers"]["anthropic-version"] == "2026-10-21"


def test_errors_come_in_anthropics_envelope(client: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.script({"status": 429, "retry_after": 3})
    with pytest.raises(anthropic.RateLimitError) as limited:
        client.messages.create(model="sonnet", max_tokens=50, messages=ask("Hi"))
    assert limited.value.response.headers["retry-after"] == "3"
    upstream.script({"status": 401})
    with pytest.raises(anthropic.InternalServerError) as refused:
        client.messages.create(model="sonnet", max_tokens=50, messages=ask("Hi"))
    assert refused.value.status_code == 502
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="gpt-4o", max_tokens=50, messages=ask("Hi"))
    with (
        anthropic.Anthropic(base_url=client.base_url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model="sonnet", max_tokens=50, messages=ask("Hi"))


@pytest.mark.parametrize("fault", ["reset", "truncate", "cut", "error"])
def test_a_stream_that_breaks_off_says_so(
    client: anthropic.Anthropic, upstream: Upstream, fault: str
) -> None:
    upstream.script({"tokens": 30, "fault": fault, "delay_ms": 1})
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model="sonnet", max_tokens=500, messages=ask("Hi")) as stream,
    ):
        list(stream)


def test_models_are_listed_for_the_sdk(client: anthropic.Anthropic) -> None:
    models = {model.id: model for model in client.models.list(limit=1000)}
    assert models["claude-sonnet-5-5"].type == "model"
    assert models["claude-sonnet-5-5"].lifecycle == "active"
    assert client.models.retrieve("claude-opus-5-5").id == "claude-opus-5-5"
