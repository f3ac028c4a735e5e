"""The provider of ``gw demo`` answers chats as any provider does, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.base import Provider, SpeaksMessages
from providers.errors import BadRequest, ProtocolError
from providers.simulated.adapter import SimulatedProvider
from providers.types import ChatCall, MessagesCall

pytestmark = pytest.mark.anyio

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def provider() -> SimulatedProvider:
    return SimulatedProvider(pace=0)


def call(text: str = "hello", **more: Any) -> ChatCall:
    body = {"model": "sonnet", "max_tokens": 500, "messages": [{"role": "user", "content": text}], **more}
    return ChatCall(body=body, model="claude-sonnet-5", requested_model="sonnet")


async def test_it_is_a_provider_of_both_dialects() -> None:
    simulated: Provider = provider()
    assert isinstance(simulated, SpeaksMessages)
    assert "claude-opus-5-5" in [model.id for model in await simulated.models()]
    await simulated.aclose()


async def test_a_chat_is_answered_whole() -> None:
    reply = await provider().chat(call("tell me of trees"))
    completion = await reply.completion()
    assert completion["object"] == "chat.completion"
    assert "tell me of trees" in completion["choices"][0]["message"]["content"]
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert reply.usage.output_tokens > 0


async def test_a_chat_is_streamed_with_tools() -> None:
    reply = await provider().chat(call("use get_weather", stream=True, tools=[TOOL]))
    data = b"".join([piece async for piece in reply.sse()])
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in map(json.loads, lines[:-1]) if chunk["choices"]]
    calls = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "get_weather"
    arguments = "".join(part["function"].get("arguments", "") for part in calls)
    assert json.loads(arguments) == {"city": "use get_weather"}
    assert reply.finish_reason == "tool_calls"


async def test_a_paced_stream_arrives_in_pieces_and_can_be_left() -> None:
    reply = await SimulatedProvider(pace=0.001).chat(call(stream=True))
    stream = reply.sse()
    first = await anext(stream)
    assert b"data: " in first
    await reply.aclose()
    with pytest.raises(ProtocolError):  # what is left half-way never looks complete
        [piece async for piece in stream]


async def test_a_request_that_no_provider_could_answer_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        await provider().chat(call(n=2))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_messages_dialect_is_spoken_too(stream: bool) -> None:
    body = {"max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    reply = await provider().messages(MessagesCall(json.dumps(body).encode(), "claude-opus-5"))
    data = b"".join([piece async for piece in reply.chunks()])
    assert reply.stream is stream
    assert (b"event: message_stop" in data) is stream
    assert reply.model == "claude-opus-5"
    assert reply.usage.output_tokens > 0


async def test_what_is_counted_is_what_an_answer_reports() -> None:
    body: dict[str, Any] = {
        "system": "Be brief.",
        "tools": [],
        "messages": [{"role": "user", "content": "hello"}],
    }
    counts = []
    for text in ("hello", "hello", "hello there, how are you?"):
        body["messages"][0]["content"] = text
        raw = json.dumps(body).encode()
        reply = await provider().messages(MessagesCall(raw, "claude-opus-5", endpoint="count_tokens"))
        counts.append(json.loads(b"".join([piece async for piece in reply.chunks()]))["input_tokens"])
        assert reply.usage.input_tokens == 0
        full = json.dumps({**body, "max_tokens": 9}).encode()
        answer = await provider().messages(MessagesCall(full, "claude-opus-5"))
        assert answer.usage.input_tokens == counts[-1]
    assert counts[0] == counts[1] < counts[2]


@pytest.mark.parametrize("endpoint", ["messages", "count_tokens"])
@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": 3}'])
async def test_a_body_that_is_no_messages_request_is_a_bad_request(body: bytes, endpoint: Any) -> None:
    with pytest.raises(BadRequest):
        await provider().messages(MessagesCall(body, "claude-opus-5", endpoint=endpoint))
