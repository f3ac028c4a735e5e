"""``/v1/completions`` and custom tools of the simulated OpenAI API: what it refuses, and what it answers."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .test_openai_api import HI, served, tool

pytestmark = pytest.mark.anyio

MODEL = "gpt-3.5-turbo-instruct"
PATCH: Any = {"type": "custom", "custom": {"name": "patch"}}


async def test_the_sdk_gets_the_same_text_streamed_and_whole() -> None:
    async with served() as (_, client):
        asked: Any = {"model": MODEL, "prompt": ["one", "two"], "n": 2, "echo": True, "max_tokens": 30}
        whole = await client.completions.create(**asked)
        assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
        assert [choice.text[:3] for choice in whole.choices] == ["one", "one", "two", "two"]
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 4 * 30
        stream = await client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        *parts, last = [part async for part in stream]
        for choice in whole.choices:
            said = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
            assert "".join(part.text for part in said) == choice.text
            assert said[-1].finish_reason == choice.finish_reason == "length"
        assert (last.choices, last.usage) == ([], whole.usage)


async def test_an_answer_is_short_unless_it_may_be_longer() -> None:
    async with served() as (_, client):
        found = await client.completions.create(model=MODEL, prompt=[1, 2, 3])
        assert found.usage is not None
        assert found.usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"prompt": None}, "prompt", "Missing required parameter"),
        ({"prompt": {"a": 1}}, "prompt", "Invalid type"),
        ({"prompt": []}, "prompt", "Invalid type"),
        ({"messages": HI}, "messages", "Unknown parameter"),
        ({"suffix": 1}, "suffix", "Invalid type"),
        ({"logprobs": 6}, "logprobs", "above maximum"),
        ({"logprobs": True}, "logprobs", "Invalid type"),
        ({"n": 2, "best_of": 1}, None, "more choices than it will generate"),
        ({"best_of": 2, "stream": True}, None, "cannot stream when best_of"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream'"),
        ({"prompt": "word " * 9_000}, "messages", "maximum context length"),
    ],
)
async def test_what_the_api_refuses_is_refused(body: dict[str, Any], param: str | None, said: str) -> None:
    async with served() as (_, client):
        with pytest.raises(openai.BadRequestError, match=said) as refused:
            await client.post("/completions", body={"model": MODEL, "prompt": "x", **body}, cast_to=object)
        assert refused.value.param == param


async def test_each_model_has_its_endpoint() -> None:
    async with served() as (_, client):
        with pytest.raises(openai.NotFoundError, match="Did you mean to use v1/chat/completions"):
            await client.completions.create(model="gpt-4o", prompt="x")
        with pytest.raises(openai.NotFoundError, match="Did you mean to use v1/completions"):
            await client.chat.completions.create(model=MODEL, messages=HI)
        with pytest.raises(openai.NotFoundError):
            await client.completions.create(model="quirk-no-completions", prompt="x")
        with pytest.raises(openai.BadRequestError, match="suffix"):
            await client.completions.create(model="quirk-no-suffix", prompt="x", suffix="y")
        assert (await client.completions.create(model="quirk-no-suffix", prompt="x")).choices


async def test_a_custom_tool_is_called_with_free_text() -> None:
    async with served() as (_, client):
        asked: Any = {"model": "gpt-4o", "messages": HI, "tools": [tool("look"), PATCH]}
        asked["tool_choice"] = {"type": "custom", "custom": {"name": "patch"}}
        whole = await client.chat.completions.create(**asked)
        (call,) = whole.choices[0].message.tool_calls or []
        assert call.type == "custom"
        assert (call.custom.name, call.custom.input) == ("patch", "hi")
        stream = await client.chat.completions.create(**asked, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
        parts = [part.model_dump() for delta in deltas for part in delta.tool_calls or ()]
        assert "".join(part["custom"]["input"] for part in parts) == "hi"


CALLED: Any = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}],
}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [PATCH]},
        {"tools": [tool("look")], "tool_choice": {"type": "custom", "custom": {"name": "look"}}},
        {
            "tools": [tool("look")],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "look"}}]},
            },
        },
        {"messages": [*HI, CALLED, {"role": "tool", "tool_call_id": "a", "content": "ok"}]},
    ],
)
async def test_servers_without_custom_tools_refuse_them_wherever_they_stand(body: dict[str, Any]) -> None:
    async with served() as (_, client):
        with pytest.raises(openai.BadRequestError, match="Field required"):
            await client.chat.completions.create(**{"model": "quirk-functions-only", "messages": HI, **body})
        with pytest.raises(openai.InternalServerError, match="Failed to parse tools"):
            await client.chat.completions.create(
                **{"model": "quirk-functions-only-500", "messages": HI, **body}
            )
        plain: Any = {"messages": HI, "tools": [tool("look")]}
        assert (await client.chat.completions.create(model="quirk-functions-only", **plain)).choices
