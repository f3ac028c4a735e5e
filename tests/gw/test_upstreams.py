"""What a worker opens when it starts: the store of Claude's thinking among it, shared by Redis."""

from __future__ import annotations

from typing import Any

import pytest

from gw.settings import load
from gw.upstreams import Upstreams
from perf.simulated import SimulatedUpstream
from providers.types import ChatCall
from tests.services import running_redis

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}


def opened(origin: str, redis_url: str | None) -> Upstreams:
    environ = {"GATEWAY_API_KEY": "k" * 32, "ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": origin}
    return Upstreams(load({**environ, **({} if redis_url is None else {"REDIS_URL": redis_url})}))


async def ask(worker: Upstreams, history: list[Json]) -> Json:
    assert worker.claude is not None
    body = {"messages": history, "tools": [TOOL], "max_tokens": 8_000}
    call = ChatCall(body, "claude-opus-5-5", "opus", session=lambda: "session")
    message: Json = (await (await worker.claude.chat(call)).completion())["choices"][0]["message"]
    return message


async def move_to_another_worker(redis_url: str | None) -> list[str]:
    """A conversation whose tool is called by one worker and whose result goes to another: the kinds of blocks
    of the assistant's turn as the upstream gets it back."""
    async with SimulatedUpstream() as upstream:
        one, two = (opened(upstream.base_url, redis_url) for _ in range(2))
        history: list[Json] = [{"role": "user", "content": "Please use the tool read."}]
        first = await ask(one, history)
        await one.close()  # what it has kept is written by then
        history += [
            {"role": "assistant", "content": first["content"], "tool_calls": first["tool_calls"]},
            {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "42"},
        ]
        await ask(two, history)
        await two.close()
        turn = upstream.requests[-1].body["messages"][1]["content"]
        return [block["type"] for block in turn]


async def test_workers_share_thinking_by_redis() -> None:
    with running_redis() as redis:
        assert await move_to_another_worker(redis.url) == ["thinking", "text", "tool_use"]


@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:1/0"])
async def test_without_redis_a_worker_that_does_not_know_the_thinking_leaves_it_out(
    redis_url: str | None,
) -> None:
    assert await move_to_another_worker(redis_url) == ["text", "tool_use"]
