"""The official Python SDK of OpenAI chats, streams and uses tools through a real Granian."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from .gateway import KEY, Gateway
from .upstream import Upstream

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "The time in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
]


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0) as sdk:
        yield sdk


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_chat_is_answered(client: openai.OpenAI, upstream: Upstream) -> None:
    answer = client.chat.completions.create(model="sonnet", messages=ask("Hello there"))
    choice = answer.choices[0]
    assert choice.message.content
    assert "Hello there" in choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.model == "sonnet"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    (received,) = upstream.chats
    assert received["body"]["model"] == "claude-sonnet-5-5"
    assert received["body"]["stream"] is True


def test_a_stream_arrives_in_pieces_and_ends_with_usage(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.script({"tokens": 50, "delay_ms": 1})
    stream = client.chat.completions.create(
        model="sonnet", messages=ask("Go"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 10
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


def test_the_first_token_arrives_while_the_upstream_is_still_writing(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    upstream.script({"tokens": 40, "delay_ms": 50})
    with client.chat.completions.create(model="sonnet", messages=ask("Go"), stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                (received,) = upstream.chats
                assert not received["completed"]
                assert received["events_written"] < 40
                break


def test_two_tools_are_called_and_their_results_merged_in_order(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    messages = ask("use two tools: get_weather and get_time")
    upstream.script(
        {
            "blocks": [
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {"city": "Oslo"}},
            ],
            "stop_reason": "tool_use",
        }
    )
    calls: dict[int, dict[str, str]] = {}
    finish = None
    for chunk in client.chat.completions.create(model="sonnet", messages=messages, tools=TOOLS, stream=True):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for delta in choice.delta.tool_calls or ():
                call = calls.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += delta.id or ""
                if delta.function is not None:
                    call["name"] += delta.function.name or ""
                    call["arguments"] += delta.function.arguments or ""
    assert finish == "tool_calls"
    assert [calls[i]["name"] for i in (0, 1)] == ["get_weather", "get_time"]
    assert [json.loads(calls[i]["arguments"]) for i in (0, 1)] == [{"city": "Oslo"}, {"city": "Oslo"}]

    messages.append(
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [
                {
                    "id": c["id"],
                    "type": "function",
                    "function": {"name": c["name"], "arguments": c["arguments"]},
                }
                for c in calls.values()
            ],
        }
    )
    # In the wrong order on purpose: the upstream gets them in the order of the calls.
    messages += [
        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "noon"},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"},
        {"role": "user", "content": "Thanks. So?"},
    ]
    answer = client.chat.completions.create(model="sonnet", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason in ("stop", "tool_calls")
    last = upstream.chats[-1]["body"]["messages"][-1]
    assert last["role"] == "user"
    assert [block["type"] for block in last["content"]] == ["tool_result", "tool_result", "text"]
    assert [block["tool_use_id"] for block in last["content"][:2]] == ["toolu_1", "toolu_2"]


def test_structured_output_is_parsed_by_the_sdk(client: openai.OpenAI, upstream: Upstream) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
    }
    answer = client.chat.completions.create(
        model="sonnet",
        messages=ask("As JSON"),
        response_format={"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"answer"}
    sent = upstream.chats[-1]["body"]["output_config"]["format"]
    assert sent["schema"]["additionalProperties"] is False


def test_what_the_model_refuses_is_dropped_and_named(client: openai.OpenAI, upstream: Upstream) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sonnet", messages=ask("Hi"), temperature=0, top_p=0.9, seed=7, presence_penalty=0.5
    )
    dropped = raw.headers["x-gateway-dropped-params"].split(", ")
    assert set(dropped) == {"temperature", "top_p", "seed", "presence_penalty"}
    assert raw.headers["x-provider"] == "anthropic"
    assert raw.headers["x-gateway"] == "claude-gateway"
    assert raw.headers["x-gateway-model"] == "claude-sonnet-5-5"
    assert raw.headers["x-model-source"] == "custom"
    assert raw.headers["x-request-id"]
    assert "temperature" not in upstream.chats[-1]["body"]


def test_what_is_too_long_keeps_its_head_and_tail_and_says_so(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    long = "HEAD " + "x" * 60_000 + " TAIL"
    raw = client.chat.completions.with_raw_response.create(
        model="sonnet", messages=[{"role": "system", "content": long}, *ask("Hi")]
    )
    (system,) = upstream.chats[-1]["body"]["system"]
    assert len(system["text"]) <= 40_000
    assert system["text"].startswith("HEAD ")
    assert system["text"].endswith(" TAIL")
    assert "characters left out" in system["text"]
    assert int(raw.headers["x-gateway-saved-tokens"]) >= 5_000


def test_without_max_tokens_a_thinking_model_gets_room_to_think(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    client.chat.completions.create(model="claude-sonnet-4-5", messages=ask("Hi"))
    client.chat.completions.create(model="sonnet", messages=ask("Hi"))
    client.chat.completions.create(model="sonnet", messages=ask("Hi"), max_tokens=77)
    plain, thinking, asked = (chat["body"]["max_tokens"] for chat in upstream.chats)
    assert plain == 1200
    assert thinking == 1200 + 16_384
    assert asked == 77


def test_a_retired_model_is_answered_by_its_successor(client: openai.OpenAI, upstream: Upstream) -> None:
    raw = client.chat.completions.with_raw_response.create(model="claude-sonnet-4-0", messages=ask("Hi"))
    assert "retired" in raw.headers["warning"]
    assert upstream.chats[-1]["body"]["model"] == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("scenario", "error", "status", "code"),
    [
        ({"status": 429, "retry_after": 7}, openai.RateLimitError, 429, "rate_limit_exceeded"),
        ({"status": 529}, openai.InternalServerError, 503, "upstream_overloaded"),
        ({"status": 500}, openai.InternalServerError, 502, "upstream_error"),
        ({"status": 401}, openai.InternalServerError, 502, "upstream_auth"),
        ({"status": 403}, openai.InternalServerError, 502, "upstream_auth"),
        (
            {"status": 400, "message": "prompt is too long: 210000 tokens > 200000 maximum"},
            openai.BadRequestError,
            400,
            "context_length_exceeded",
        ),
        ({"fault": "drop"}, openai.InternalServerError, 502, None),
        ({"fault": "bad_http"}, openai.InternalServerError, 502, None),
        ({"fault": "error", "after": 0}, openai.InternalServerError, 503, "upstream_overloaded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_failure_before_the_first_byte_has_its_status(
    client: openai.OpenAI,
    upstream: Upstream,
    scenario: dict[str, Any],
    error: type[openai.APIStatusError],
    status: int,
    code: str | None,
    stream: bool,
) -> None:
    # Twice: a reused connection that is dropped without a byte is a keep-alive race, tried once more.
    upstream.script(*[scenario] * (2 if scenario.get("fault") == "drop" else 1))
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="sonnet", messages=ask("Hi"), stream=stream)
    assert caught.value.status_code == status
    if code is not None:
        assert caught.value.code == code
    if "retry_after" in scenario:
        assert caught.value.response.headers["retry-after"] == "7"
    assert "canary" not in caught.value.response.text


@pytest.mark.parametrize("fault", ["reset", "truncate", "cut", "error", "bad_json", "bad_utf8"])
def test_a_stream_that_breaks_off_says_so(client: openai.OpenAI, upstream: Upstream, fault: str) -> None:
    upstream.script({"tokens": 30, "fault": fault, "delay_ms": 1})
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="sonnet", messages=ask("Hi"), stream=True))


@pytest.mark.parametrize("fault", ["reset", "truncate", "cut", "error", "bad_json", "bad_utf8"])
def test_an_answer_that_breaks_off_is_an_error_not_half_an_answer(
    client: openai.OpenAI, upstream: Upstream, fault: str
) -> None:
    upstream.script({"tokens": 30, "fault": fault})
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="sonnet", messages=ask("Hi"))


def test_models_are_listed_for_the_sdk(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert ids[:3] == ["sonnet", "opus", "haiku"]
    assert "claude-sonnet-5-5" in ids
    assert client.models.retrieve("claude-sonnet-5-5").owned_by == "anthropic"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_a_wrong_key_is_401_in_the_callers_dialect(gateway: Gateway) -> None:
    with (
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key="wrong", max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        sdk.chat.completions.create(model="sonnet", messages=ask("Hi"))
    assert caught.value.code == "invalid_api_key"
