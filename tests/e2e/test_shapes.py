"""What is posted to OpenAI's older paths: Cursor's mixed shapes, and texts to be completed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .gateway import KEY, Gateway
from .upstream import Upstream

MODELS = {
    "sonnet": "/v1/messages",
    "local:llama3.1:8b": "/api/chat",
    "sim:gpt-4o": "/openai/v1/chat/completions",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FLAT = {"type": "function", "name": "get_weather", "description": "The weather", "parameters": SCHEMA}
ANTHROPICS = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}
PATCH = {"type": "custom", "name": "ApplyPatch", "description": "Changes files", "format": {"type": "text"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}

#: Bodies as Cursor posts them to /chat/completions: of Responses, and with Anthropic's tools and turns.
SHAPES: dict[str, dict[str, Any]] = {
    "responses": {
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        ],
        "tools": [FLAT, PATCH],
        "stream": True,
    },
    "anthropic": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "content": [{**CALL, "id": "toolu_0"}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_0", "content": "no answer"}],
            },
        ],
        "system": "Be brief.",
        "tools": [ANTHROPICS],
        "tool_choice": {"type": "auto"},
        "stream": True,
        "max_tokens": 500,
    },
}


@pytest.fixture
def client(all_providers: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{all_providers.base_url}/v1", api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_a_foreign_shape_is_answered_in_chat_chunks(
    client: openai.OpenAI, upstream: Upstream, model: str, shape: str
) -> None:
    upstream.script({"path": MODELS[model], "blocks": [CALL], "stop_reason": "tool_use"})
    stream = client.post(
        "/chat/completions",
        body={"model": model, **SHAPES[shape]},
        cast_to=ChatCompletionChunk,
        stream=True,
        stream_cls=openai.Stream[ChatCompletionChunk],
    )
    chunks = list(stream)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert calls[0].function is not None
    assert calls[0].function.name == "get_weather"
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert json.loads(arguments) == {"city": "Oslo"}
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert ends == ["tool_calls"]
    assert len(upstream.asked(MODELS[model])) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_patch_is_plain_text_both_ways(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Cursor's ApplyPatch: a tool whose input is a text that a grammar describes."""
    text = "*** Begin Patch\n*** End Patch"
    block = {"type": "tool_use", "id": "toolu_1", "name": "ApplyPatch", "input": {"input": text}}
    upstream.script({"path": MODELS[model], "blocks": [block], "stop_reason": "tool_use"})
    answer = client.post(
        "/chat/completions",
        body={"model": model, "input": "Patch it", "tools": [FLAT, PATCH]},
        cast_to=ChatCompletion,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    (call,) = calls
    assert call.type == "custom"
    assert (call.custom.name, call.custom.input) == ("ApplyPatch", text)


# ---- /v1/completions


@pytest.mark.parametrize("model", ["local:deepseek-coder-v2:16b", "sim:gpt-3.5-turbo-instruct"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_gap_in_a_text_is_filled(client: openai.OpenAI, model: str, stream: bool) -> None:
    asked: Any = {
        "model": model,
        "prompt": "def add(a, b):\n    ",
        "suffix": "\n\nprint(add(1, 2))",
        "max_tokens": 40,
    }
    if stream:
        chunks = list(client.completions.create(**asked, stream=True))
        text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    else:
        answer = client.completions.create(**asked)
        assert answer.object == "text_completion"
        text = answer.choices[0].text
    assert text


def test_a_model_that_only_chats_says_which_ones_complete(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="only chats") as refused:
        client.completions.create(model="sonnet", prompt="def add(")
    assert "local:<model> or sim:<model>" in str(refused.value)
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_codex_may_say_its_version_when_it_asks_for_models(all_providers: Gateway) -> None:
    status, page = all_providers.get("/v1/models?client_version=0.169.0", **{"x-api-key": KEY})
    assert status == 200
    assert json.loads(page)["data"]
