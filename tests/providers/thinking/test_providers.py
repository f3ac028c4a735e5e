"""Wherever Claude answers, over a real socket: what it thought comes back with the results of its tools."""

from __future__ import annotations

from typing import Any

import pytest

from perf.simulated import SimulatedUpstream
from providers.base import Provider
from providers.http import EngineClient
from providers.types import ChatCall
from tests.providers.contract import Subject
from tests.providers.contract_stage import PATIENT
from tests.providers.subjects import ANTHROPIC, BEDROCK, SIMULATED, VERTEX

from .stage import TOOL, Json

pytestmark = pytest.mark.anyio


async def ask(provider: Provider, model: str, history: list[Json]) -> Json:
    body = {"messages": history, "tools": [TOOL], "max_tokens": 8_000}
    reply = await provider.chat(ChatCall(body, model, "sonnet", session=lambda: "s"))
    message: Json = (await reply.completion())["choices"][0]["message"]
    return message


@pytest.mark.parametrize("subject", [ANTHROPIC, BEDROCK, VERTEX], ids=lambda subject: subject.name)
async def test_thinking_comes_back_with_the_results(subject: Subject) -> None:
    async with SimulatedUpstream() as upstream:
        client = EngineClient()
        provider = subject.make(client, upstream.base_url, PATIENT)
        history: list[Json] = [{"role": "user", "content": "Please use the tool read."}]
        first = await ask(provider, subject.models.plain, history)
        assert first["reasoning_content"]
        history += [
            {"role": "assistant", "content": first["content"], "tool_calls": first["tool_calls"]},
            {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "42"},
        ]
        await ask(provider, subject.models.plain, history)
        turn = upstream.requests[-1].body["messages"][1]["content"]
        assert [block["type"] for block in turn] == ["thinking", "text", "tool_use"]
        assert turn[0]["thinking"] == first["reasoning_content"]
        await provider.aclose()
        await client.aclose()


async def test_the_simulated_provider_gets_its_thinking_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    provider: Any = SIMULATED.make(EngineClient(), "", PATIENT)
    planned: list[Json] = []
    plan = provider._planner.plan

    def remembered(_: object, request: Json) -> Any:
        planned.append(request)
        return plan(request)

    monkeypatch.setattr(type(provider._planner), "plan", remembered)
    history: list[Json] = [{"role": "user", "content": "Please use the tool read."}]
    first = await ask(provider, "claude-opus-5-5", history)
    call_id = first["tool_calls"][0]["id"]
    history += [
        {"role": "assistant", "content": first["content"], "tool_calls": first["tool_calls"]},
        {"role": "tool", "tool_call_id": call_id, "content": "42"},
    ]
    await ask(provider, "claude-opus-5-5", history)
    assert planned[-1]["messages"][1]["content"][0]["thinking"] == first["reasoning_content"]
