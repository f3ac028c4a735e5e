"""Agents before ordinary servers: what Claude Code, Codex and Cursor send is asked so that each kind takes
it, after refusals in the words of that kind; and it is asked so at once the next time."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest

from perf.simulated import SimulatedUpstream
from providers.http import open_client
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.translate import messages_chat, responses_chat
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall

from .test_adapter import read

pytestmark = pytest.mark.anyio

LONG = "mcp__plugin_chrome-devtools-mcp_chrome-devtools__performance_analyze_insight"
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"url": {"type": "string", "format": "uri"}, "depth": {"type": "integer", "const": 3}},
    "additionalProperties": False,
}
MARK = {"cache_control": {"type": "ephemeral"}}


def claude_code(model: str) -> ChatCall:
    """The second turn of a session: a tool has answered, a hook has a word to add."""
    body = {
        "model": model,
        "max_tokens": 32_000,
        "stream": True,
        "system": [
            {"type": "text", "text": "You are an agent."},
            {"type": "text", "text": "Be brief.", **MARK},
        ],
        "tools": [{"name": LONG, "description": "Looks.", "input_schema": SCHEMA, "strict": True}],
        "tool_choice": {"type": "tool", "name": LONG},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
        "messages": [
            {"role": "user", "content": "look"},
            {"role": "user", "content": [{"type": "text", "text": "at it", **MARK}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": LONG, "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a tree"},
                    {"type": "text", "text": "go on", **MARK},
                ],
            },
            {"role": "system", "content": "A hook says hello."},
        ],
    }
    chat = messages_chat.to_chat(body)
    return ChatCall(chat.body, model, f"x:{model}", writer=MessageWriter)


def codex(model: str) -> ChatCall:
    """A first turn: instructions, a developer's message, custom tools, a cache key."""
    body = {
        "model": model,
        "stream": True,
        "store": False,
        "instructions": "You are an agent.",
        "input": [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "A sandbox."}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<env/>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}]},
        ],
        "tools": [
            {"type": "function", "name": "shell", "description": "", "strict": False, "parameters": SCHEMA},
            {"type": "custom", "name": "apply_patch", "description": "", "format": {"type": "text"}},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "xhigh", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "session",
    }
    asked = responses_chat.to_chat(body, model=model, signed=False)
    return ChatCall(asked.body, model, f"x:{model}", writer=asked.writer)


def cursor(model: str) -> ChatCall:
    """A chat with markers and a tool by name, as its own."""
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are an agent.", **MARK}]},
            {"role": "user", "content": [{"type": "text", "text": "look"}]},
            {"role": "system", "content": "A rule."},
            {"role": "user", "content": "now"},
        ],
        "tools": [{"type": "function", "function": {"name": LONG, "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": LONG}},
    }
    return ChatCall(body, model, f"x:{model}")


KINDS = [
    "range",
    "window",
    "strings",
    "no-developer",
    "system-first",
    "alternating",
    "no-system",
    "no-stream",
    "word-choice",
    "no-strict",
    "plain-schemas",
    "three-efforts",
    "functions-only",
    "nine-letter-ids",
    "no-stream-options",
    "strings+no-developer+system-first+plain-schemas+range",
    "functions-only-500+alternating+strings+word-choice",
    "no-system+strings+no-stream+legacy-max-tokens",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", [claude_code, codex, cursor])
async def test_every_kind_of_server_answers_every_kind_of_agent_and_is_known_then(
    client: Any, kind: str
) -> None:
    asks = partial(client, f"quirk-{kind}")
    async with SimulatedUpstream() as sim:
        http = open_client("engine")
        upstream = OpenAICompatibleProvider(http, name="x", base_url=f"{sim.base_url}/openai/v1", api_key="k")
        for _ in range(2):
            before = len(sim.requests)
            reply = await upstream.chat(asks())
            written = await read(reply)
            assert reply.finish_reason in ("stop", "tool_calls"), written
            if client is not codex and reply.finish_reason == "tool_calls":
                assert LONG.encode() in written
        assert len(sim.requests) - before == 1
        await http.aclose()


async def test_what_a_model_cannot_write_is_lowered_and_named() -> None:
    async with SimulatedUpstream() as sim:
        http = open_client("engine")
        upstream = OpenAICompatibleProvider(http, name="x", base_url=f"{sim.base_url}/openai/v1", api_key="k")
        reply = await upstream.chat(claude_code("quirk-range"))
        await read(reply)
        assert "max_tokens" in reply.dropped
        assert orjson.loads(sim.requests[-1].raw)["max_tokens"] == 8_192
        await http.aclose()
