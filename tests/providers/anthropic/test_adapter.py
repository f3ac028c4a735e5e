"""The Claude adapter: what goes over the wire, and what comes back from a strict upstream."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from perf.simulated import Scenario, SimulatedUpstream
from providers.anthropic.adapter import AnthropicProvider
from providers.base import ChatReply, Provider, SpeaksMessages
from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    Timeout,
    Unreachable,
    UpstreamFailed,
)
from providers.http import open_client
from providers.http.types import Timeouts
from providers.types import ChatCall, MessagesCall
from tests.providers.translate.events import GOLDEN, chunks

from .sources import Client, Scripted

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-SECRET"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0}


def call(**body: Any) -> ChatCall:
    return ChatCall({**BODY, **body}, "claude-opus-5-5", "opus")


async def test_what_is_sent() -> None:
    client = Client(Scripted(GOLDEN["text"]))
    provider: Provider = AnthropicProvider(client, api_key=KEY, base_url="https://example.test/v1/")
    reply: ChatReply = await provider.chat(call())
    method, url, headers, body = client.asked[0]
    assert (method, url) == ("POST", "https://example.test/v1/messages")
    assert headers == {
        b"x-api-key": KEY.encode(),
        b"user-agent": b"claude-gateway",
        b"content-type": b"application/json",
        b"anthropic-version": b"2026-10-21",
        b"accept": b"text/event-stream",
        b"accept-encoding": b"identity",
    }
    sent = orjson.loads(body)
    assert (sent["model"], sent["stream"], sent["max_tokens"]) == ("claude-opus-5-5", True, 1200 + 16_384)
    assert reply.dropped == ("temperature",)
    assert (reply.model, reply.upstream_request_id) == ("claude-opus-5-5", "req_1")
    completion = await reply.completion()
    assert completion["model"] == "opus"


async def test_a_bad_request_never_reaches_the_upstream() -> None:
    client = Client()
    with pytest.raises(BadRequest):
        await AnthropicProvider(client, api_key=KEY).chat(call(n=3))
    assert client.asked == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, BadRequest), (401, AuthFailed), (429, RateLimited), (500, UpstreamFailed), (529, Overloaded)],
)
async def test_a_refusal_is_its_error_and_closes_the_response(
    status: int, expected: type[ProviderError]
) -> None:
    body = orjson.dumps({"type": "error", "error": {"type": "x", "message": f"bad {KEY}"}})
    response = Scripted(body, status=status, headers=((b"request-id", b"req_7"), (b"retry-after", b"3")))
    with pytest.raises(expected) as failure:
        await AnthropicProvider(Client(response), api_key=KEY).chat(call())
    assert type(failure.value) is expected
    assert failure.value.upstream_request_id == "req_7"
    assert "SECRET" not in str(failure.value)
    assert response.closed


async def test_a_refusal_whose_body_breaks_off_keeps_its_status() -> None:
    response = Scripted(ProtocolError("reset"), status=529, headers=())
    with pytest.raises(Overloaded):
        await AnthropicProvider(Client(response), api_key=KEY).chat(call())


async def test_an_answer_that_is_no_event_stream_is_a_protocol_error() -> None:
    response = Scripted(b"<html>", headers=((b"content-type", b"text/html"),))
    with pytest.raises(ProtocolError) as failure:
        await AnthropicProvider(Client(response), api_key=KEY).chat(call())
    assert failure.value.code == "upstream_content_type"
    assert response.closed


async def test_failures_of_the_connection_name_the_provider() -> None:
    with pytest.raises(Unreachable) as failure:
        await AnthropicProvider(Client(Unreachable("refused")), api_key=KEY).chat(call())
    assert failure.value.provider == "anthropic"


async def test_the_model_list_is_read_to_its_end_and_learnt_from() -> None:
    json = ((b"content-type", b"application/json"),)
    pages = [
        {"data": [{"id": "claude-new-1", "max_tokens": 5_000}], "has_more": True},
        {"data": [{"id": "claude-new-2"}], "has_more": False},
    ]
    client = Client(*(Scripted(orjson.dumps(page), headers=json) for page in pages), Scripted(GOLDEN["text"]))
    provider = AnthropicProvider(client, api_key=KEY)
    assert [model.id for model in await provider.models()] == ["claude-new-1", "claude-new-2"]
    assert client.asked[0][1].endswith("/v1/models?limit=1000")
    assert client.asked[1][1].endswith("/v1/models?limit=1000&after_id=claude-new-1")
    await provider.chat(ChatCall({**BODY, "max_tokens": 9_000}, "claude-new-1", "new"))
    assert orjson.loads(client.asked[2][3])["max_tokens"] == 5_000


@pytest.mark.parametrize("page", [b"", b"[]", b"{"])
async def test_a_model_list_that_makes_no_sense_is_a_protocol_error(page: bytes) -> None:
    response = Scripted(page, headers=((b"content-type", b"application/json"),))
    with pytest.raises(ProtocolError):
        await AnthropicProvider(Client(response), api_key=KEY).models()
    assert response.closed


async def test_messages_are_passed_on_with_the_callers_headers_and_the_gateways_key() -> None:
    client = Client(Scripted(GOLDEN["usage"]), Scripted(GOLDEN["usage"]))
    provider = AnthropicProvider(client, api_key=KEY)
    assert isinstance(provider, SpeaksMessages)
    own = ((b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"x-2026-01-01"))
    reply = await provider.messages(MessagesCall(b'{"model": 1}', "claude-opus-5-5", own, b"beta=true"))
    assert b"".join([piece async for piece in reply.chunks()]) == GOLDEN["usage"]
    assert reply.usage.cache_read_tokens == 100
    _, url, headers, body = client.asked[0]
    assert (url, body) == ("https://api.anthropic.com/v1/messages?beta=true", b'{"model": 1}')
    assert headers[b"anthropic-version"] == b"2023-06-01"
    assert headers[b"anthropic-beta"] == b"x-2026-01-01"
    assert headers[b"x-api-key"] == KEY.encode()
    await provider.messages(MessagesCall(b"{}", "claude-opus-5-5"))
    assert client.asked[1][2][b"anthropic-version"] == b"2026-10-21"


TOOLS = [
    {
        "type": "function",
        "function": {"name": "get.weather", "parameters": {"type": "object", "properties": {}}},
    }
]


async def test_a_tool_loop_against_the_strict_upstream() -> None:
    """Over a socket: the model calls a tool whose name had to change, gets its result, and answers."""
    async with SimulatedUpstream() as sim:
        provider = AnthropicProvider(open_client("engine"), api_key=KEY, base_url=sim.base_url)
        try:
            use = {"type": "tool_use", "id": "toolu_1", "name": "PLACEHOLDER", "input": {"city": "Ulm"}}
            first = call(tools=TOOLS, stream=True, stream_options={"include_usage": True})
            await (await provider.chat(first)).completion()
            use["name"] = sim.requests[-1].body["tools"][0]["name"]
            assert use["name"] != "get.weather"
            sim.script(Scenario(blocks=[use], stop_reason="tool_use", split=7))
            reply = await provider.chat(first)
            found = chunks(b"".join([piece async for piece in reply.sse()]))
            calls = [d["tool_calls"][0] for c in found[:-1] for d in _deltas(c) if "tool_calls" in d]
            assert calls[0]["function"]["name"] == "get.weather"
            arguments = "".join(c["function"]["arguments"] for c in calls)
            assert orjson.loads(arguments) == {"city": "Ulm"}
            assert reply.finish_reason == "tool_calls"
            called = {"name": "get.weather", "arguments": arguments}
            history = [
                *BODY["messages"],
                {"role": "assistant", "content": "", "tool_calls": [{**calls[0], "function": called}]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
            ]
            sim.script(Scenario(text="It is sunny."))
            answer = await (await provider.chat(call(messages=history, tools=TOOLS))).completion()
            assert answer["choices"][0]["message"]["content"] == "It is sunny."
            assert sim.connections == 1  # every answer was read to its end, so one connection did
        finally:
            await provider.aclose()


def _deltas(chunk: Any) -> list[Any]:
    return [choice["delta"] for choice in chunk["choices"]]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (Scenario(status=400, message="prompt is too long: 5 tokens > 4 maximum"), ContextTooLong),
        (Scenario(status=401), AuthFailed),
        (Scenario(status=429, retry_after=3600), RateLimited),
        (Scenario(status=529), Overloaded),
        (Scenario(fault="bad_http"), ProtocolError),
        (Scenario(fault="error", error_type="overloaded_error"), Overloaded),
        (Scenario(fault="truncate"), ProtocolError),
        (Scenario(fault="cut"), ProtocolError),
        (Scenario(fault="reset"), ProtocolError),
        (Scenario(fault="bad_json"), ProtocolError),
        (Scenario(fault="bad_utf8"), ProtocolError),
        (Scenario(fault="stall"), Timeout),
        (Scenario(fault="hang"), Timeout),
    ],
    ids=lambda value: (value.fault or str(value.status)) if isinstance(value, Scenario) else "",
)
@pytest.mark.parametrize("stream", [True, False])
async def test_every_fault_of_an_upstream_is_its_error_streamed_or_not(
    scenario: Scenario, expected: type[ProviderError], stream: bool
) -> None:
    timeouts = Timeouts(connect=2, first_byte=0.3, idle=0.3, total=5)
    async with SimulatedUpstream() as sim:
        provider = AnthropicProvider(
            open_client("engine"), api_key=KEY, base_url=sim.base_url, timeouts=timeouts
        )
        sim.script(scenario)
        out = bytearray()
        try:
            with pytest.raises(expected) as failure:
                await _answered(provider, stream, out)
        finally:
            await provider.aclose()
        assert failure.value.provider == "anthropic"
        assert "SECRET" not in str(failure.value)
        assert b"[DONE]" not in out


async def _answered(provider: AnthropicProvider, stream: bool, out: bytearray) -> None:
    reply = await provider.chat(call(stream=stream))
    if stream:
        async for piece in reply.sse():
            out += piece
    else:
        await reply.completion()


async def test_cancelling_a_chat_stops_the_upstream_at_once() -> None:
    async with SimulatedUpstream() as sim:
        provider = AnthropicProvider(open_client("engine"), api_key=KEY, base_url=sim.base_url)
        try:
            sim.script(Scenario(fault="hang"))
            waiting = asyncio.create_task(provider.chat(call()))
            while not sim.requests:
                await asyncio.sleep(0.005)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            async with asyncio.timeout(2):
                while sim.connections:
                    await asyncio.sleep(0.005)
        finally:
            await provider.aclose()
