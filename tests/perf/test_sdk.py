"""The official SDK, pointed straight at the simulated upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from perf.simulated import SimulatedUpstream

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
        "required": ["city", "unit"],
    },
}


@asynccontextmanager
async def both() -> AsyncIterator[tuple[SimulatedUpstream, anthropic.AsyncAnthropic]]:
    async with (
        SimulatedUpstream() as sim,
        anthropic.AsyncAnthropic(api_key="k", base_url=sim.base_url, max_retries=0) as client,
    ):
        yield sim, client


def ask(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-5",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


async def test_a_message_and_its_stream_are_the_same() -> None:
    async with both() as (_, client):
        for request in (
            ask("hello"),
            ask("use two tools please", tools=[WEATHER], thinking={"type": "adaptive"}),
            ask("hello", max_tokens=5),
            ask("say STOP", stop_sequences=["STOP"]),
        ):
            whole = await client.messages.create(**request)
            async with client.messages.stream(**request) as stream:
                streamed = await stream.get_final_message()
            left: Any = whole.to_dict()
            right: Any = streamed.to_dict()
            for block in (*left["content"], *right["content"]):
                for name in ("parsed_output", "citations"):
                    block.pop(name, None)
            assert left == right


async def test_a_tool_loop_ends_in_an_answer() -> None:
    async with both() as (_, client):
        request = ask("get_weather, please", tools=[WEATHER], thinking={"type": "adaptive"})
        first = await client.messages.create(**request)
        assert first.stop_reason == "tool_use"
        call = next(block for block in first.content if block.type == "tool_use")
        assert call.input == {"city": "get_weather, please", "unit": "c"}
        request["messages"] += [
            first.to_param(),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"}]},
        ]
        second = await client.messages.create(**request)
        assert second.stop_reason == "end_turn"
        assert second.content[-1].type == "text"
        assert "get_weather answered: “sun”" in second.content[-1].text


async def test_the_model_list_pages_and_parses() -> None:
    async with both() as (sim, client):
        names = [model.id async for model in client.models.list(limit=5)]
        assert len(names) == len(set(names)) > 10
        assert sum(entry.path.startswith("/v1/models?") for entry in sim.requests) == -(-len(names) // 5)
        old = await client.models.retrieve("claude-sonnet-4-5")
        assert old.lifecycle == "deprecated"
        assert old.retires_at is not None
        assert (old.retires_at.month, old.retires_at.day) == (11, 30)
        new = await client.models.retrieve("claude-opus-5-5")
        assert new.capabilities is not None
        assert not new.capabilities.thinking.types.disabled.supported
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("claude-0")


async def test_tokens_are_counted_as_they_are_billed() -> None:
    async with both() as (_, client):
        counted = await client.messages.count_tokens(
            model="claude-opus-5", messages=[{"role": "user", "content": "hello"}]
        )
        message = await client.messages.create(**ask("hello"))
        assert counted.input_tokens == message.usage.input_tokens


async def test_errors_are_the_sdks_own() -> None:
    async with both() as (sim, client):
        sim.script({"status": 529}, {"status": 429, "retry_after": 3})
        with pytest.raises(anthropic.APIStatusError) as overloaded:
            await client.messages.create(**ask())
        assert overloaded.value.status_code == 529
        assert (overloaded.value.request_id or "").startswith("req_sim_")
        with pytest.raises(anthropic.RateLimitError) as limited:
            await client.messages.create(**ask())
        assert limited.value.response.headers["retry-after"] == "3"
        with pytest.raises(anthropic.BadRequestError, match="prefill"):
            await client.messages.create(**ask() | {"messages": [
                {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]})  # fmt: skip


async def test_refusals_pauses_and_long_prompts_can_be_played() -> None:
    async with both() as (sim, client):
        sim.script(
            {"stop_reason": "refusal"},
            {"stop_reason": "pause_turn", "text": "wait"},
            {"stop_reason": "model_context_window_exceeded"},
            {"status": 400, "message": "prompt is too long: 210000 tokens > 200000 maximum"},
        )
        async with client.messages.stream(**ask()) as stream:
            refused = await stream.get_final_message()
        assert refused.stop_reason == "refusal"
        assert refused.stop_details is not None
        assert refused.stop_details.type == "refusal"
        assert (await client.messages.create(**ask())).stop_reason == "pause_turn"
        assert (await client.messages.create(**ask())).stop_reason == "model_context_window_exceeded"
        with pytest.raises(anthropic.BadRequestError, match="210000 tokens > 200000"):
            await client.messages.create(**ask())


async def test_the_second_marked_prefix_is_read_from_the_cache() -> None:
    async with both() as (_, client):
        mark = {"type": "ephemeral", "ttl": "1h"}
        system = [{"type": "text", "text": "rules " * 500, "cache_control": mark}]
        first = (await client.messages.create(**ask("one", system=system))).usage
        second = (await client.messages.create(**ask("two", system=system))).usage
        assert first.cache_read_input_tokens == 0
        assert first.cache_creation is not None
        assert first.cache_creation.ephemeral_1h_input_tokens == first.cache_creation_input_tokens
        assert second.cache_read_input_tokens == first.cache_creation_input_tokens
        assert (second.cache_read_input_tokens or 0) > 500
        assert second.cache_creation_input_tokens == 0
