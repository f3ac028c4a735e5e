"""Anthropic's SDK against models that are not Claude: translated, and none the worse for it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from providers.translate.unsigned import UNSIGNED

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .upstream import Upstream

#: Model → where its upstream is asked.
MODELS = {"local:qwen3:8b": "/api/chat", "sim:gpt-5.1": "/openai/v1/chat/completions"}
TOOL: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(all_providers: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=all_providers.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module", autouse=True)
def learnt(all_providers: Gateway) -> None:
    """What a server refuses is learnt by asking it: the scripted answers are for the requests after that."""
    with anthropic.Anthropic(base_url=all_providers.base_url, api_key=KEY) as sdk:
        for model in MODELS:
            sdk.messages.create(model=model, max_tokens=50, messages=ask("Hi"))


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_is_answered(
    client: anthropic.Anthropic, upstream: Upstream, model: str, stream: bool
) -> None:
    upstream.script({"path": MODELS[model], "text": "Good day to you."})
    asked: Any = {"model": model, "max_tokens": 500, "system": "Be polite.", "messages": ask("Hello")}
    if stream:
        with client.messages.stream(**asked) as events:
            kinds = [event.type for event in events]
            answer = events.get_final_message()
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
    else:
        answer = client.messages.create(**asked)
    assert [block.text for block in answer.content if block.type == "text"] == ["Good day to you."]
    assert answer.stop_reason == "end_turn"
    assert answer.model == model
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    (received,) = upstream.asked(MODELS[model])
    assert received["body"]["messages"][0] == {"role": "system", "content": "Be polite."}


def test_tools_are_called_and_their_results_read(
    client: anthropic.Anthropic, upstream: Upstream, model: str
) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    script = {"blocks": [{"type": "text", "text": "Looking."}, call], "stop_reason": "tool_use"}
    upstream.script({"path": MODELS[model], **script})
    with client.messages.stream(
        model=model, max_tokens=500, messages=ask("Weather?"), tools=[TOOL]
    ) as stream:
        first = stream.get_final_message()
    assert first.stop_reason == "tool_use"
    (use,) = [block for block in first.content if block.type == "tool_use"]
    assert (use.name, use.input) == ("get_weather", {"city": "Oslo"})
    history: Any = [
        *ask("Weather?"),
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]},
    ]
    second = client.messages.create(model=model, max_tokens=500, messages=history, tools=[TOOL])
    assert second.stop_reason == "end_turn"
    sent = upstream.asked(MODELS[model])[1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "rain"


def test_thinking_is_shown_and_claude_is_spared_it_later(
    client: anthropic.Anthropic, upstream: Upstream
) -> None:
    model = "local:qwen3:8b"
    blocks = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Four."}]
    upstream.script({"path": MODELS[model], "blocks": blocks})
    with client.messages.stream(
        model=model,
        max_tokens=3000,
        messages=ask("2+2?"),
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        answer = stream.get_final_message()
    thought, said = answer.content
    assert thought.type == "thinking"
    assert (thought.thinking, thought.signature) == ("Hm.", UNSIGNED)
    history: Any = [
        *ask("2+2?"),
        {"role": "assistant", "content": [thought.model_dump(), said.model_dump(exclude_none=True)]},
        *ask("And 3+3?"),
    ]
    client.messages.create(model="claude-sonnet-5-5", max_tokens=500, messages=history)
    (received,) = upstream.asked("/v1/messages")
    assert received["body"]["messages"][1]["content"] == [{"type": "text", "text": "Four."}]


def test_tokens_are_counted_and_an_estimate_says_that_it_is_one(
    client: anthropic.Anthropic, upstream: Upstream
) -> None:
    words: Any = ask("one two three four five six seven eight nine ten " * 20)
    for model in MODELS:
        counted = client.messages.with_raw_response.count_tokens(model=model, messages=words, tools=[TOOL])
        assert counted.headers["x-gateway-estimated"] == "input_tokens"
        assert 100 < counted.parse().input_tokens < 1000
        assert upstream.asked(MODELS[model]) == []
    exact = client.messages.with_raw_response.count_tokens(model="sonnet", messages=words)
    assert "x-gateway-estimated" not in exact.headers
    assert exact.parse().input_tokens > 0
    (received,) = upstream.asked("/v1/messages/count_tokens")
    assert "max_tokens" not in received["body"]


def test_what_is_counted_is_what_would_be_sent(client: anthropic.Anthropic, upstream: Upstream) -> None:
    """Clipped exactly as the request itself is."""
    long = ask("word " * 60_000)
    client.messages.count_tokens(model="sonnet", messages=long)
    client.messages.create(model="sonnet", max_tokens=5, messages=long)
    (counted,) = upstream.asked("/v1/messages/count_tokens")
    (sent,) = upstream.asked("/v1/messages")
    assert counted["body"]["messages"] == sent["body"]["messages"]
    assert len(sent["body"]["messages"][0]["content"]) < 130_000


def test_claude_codes_26_counts_at_once_leave_its_minute_alone(shared_upstream: Upstream) -> None:
    settings = settings_for(shared_upstream) | {"RATE_LIMIT_RPM": "3"}
    with (
        running_gateway(**settings) as limited,
        anthropic.Anthropic(base_url=limited.base_url, api_key=KEY, max_retries=0) as sdk,
    ):
        for _ in range(26):
            sdk.messages.count_tokens(model="sonnet", messages=ask("Hi"))
        sdk.messages.create(model="sonnet", max_tokens=5, messages=ask("Hi"))
        for _ in range(4):
            sdk.messages.count_tokens(model="sonnet", messages=ask("Hi"))
        with pytest.raises(anthropic.RateLimitError):
            sdk.messages.count_tokens(model="sonnet", messages=ask("Hi"))


def test_errors_come_in_anthropics_envelope(
    client: anthropic.Anthropic, upstream: Upstream, model: str
) -> None:
    nothing: Any = [{"role": "user", "content": 5}]
    with pytest.raises(anthropic.BadRequestError) as wrong:
        client.messages.create(model=model, max_tokens=50, messages=nothing)
    assert wrong.value.type == "invalid_request_error"
    assert "messages.0" in str(wrong.value)
    assert wrong.value.response.headers["x-should-retry"] == "false"
    upstream.script({"path": MODELS[model], "status": 503})
    with pytest.raises(anthropic.APIStatusError) as away:
        client.messages.create(model=model, max_tokens=50, messages=ask("Hi"))
    assert away.value.status_code in (502, 503)
    with (
        anthropic.Anthropic(base_url=client.base_url, api_key="wrong", max_retries=2) as stranger,
        pytest.raises(anthropic.AuthenticationError) as refused,
    ):
        stranger.messages.create(model=model, max_tokens=50, messages=ask("Hi"))
    assert refused.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("fault", ["reset", "truncate", "cut"])
def test_a_stream_that_breaks_off_says_so(
    client: anthropic.Anthropic, upstream: Upstream, model: str, fault: str
) -> None:
    upstream.script({"path": MODELS[model], "tokens": 30, "fault": fault, "after": 8, "delay_ms": 1})
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        client.messages.stream(model=model, max_tokens=500, messages=ask("Hi")) as stream,
    ):
        list(stream)
    assert broken.value.status_code == 200  # it had begun


def test_parameters_that_have_no_place_are_named(
    client: anthropic.Anthropic, upstream: Upstream, model: str
) -> None:
    answer = client.messages.with_raw_response.create(
        model=model,
        max_tokens=50,
        messages=ask("Hi"),
        extra_body={"context_management": {"edits": []}, "diagnostics": {"previous_message_id": None}},
    )
    dropped = answer.headers["x-gateway-dropped-params"].split(", ")
    assert "context_management" in dropped


def test_a_base_url_without_v1_is_as_good(all_providers: Gateway, upstream: Upstream) -> None:
    """And Claude Code's ``HEAD /api/hello`` needs no key."""
    body = json.dumps({"model": "local:qwen3:8b", "max_tokens": 9, "messages": ask("Hi")}).encode()
    request = urllib.request.Request(f"{all_providers.base_url}/messages", body, {"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.load(answer)["type"] == "message"
    hello = urllib.request.Request(f"{all_providers.base_url}/api/hello", method="HEAD")
    with urllib.request.urlopen(hello, timeout=20) as answer:
        assert answer.status == 200
