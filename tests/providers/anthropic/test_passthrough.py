"""An answer of Claude on its way to a caller of the same dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic.adapter import AnthropicProvider
from providers.anthropic.headers import downward, upward
from providers.anthropic.passthrough import MessagesReply
from providers.base import RawReply
from providers.errors import ContextTooLong, Overloaded, ProtocolError, ProviderError, RateLimited, Timeout
from providers.http.types import Header
from providers.types import MessagesCall
from tests.providers.translate import events as e
from tests.providers.translate.events import GOLDEN

from .sources import Client, Scripted

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-SECRETSECRET"
BUSY: e.Event = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
JSON: tuple[Header, ...] = ((b"content-type", b"application/json"), (b"request-id", b"req_1"))
MESSAGE = orjson.dumps(
    {
        "type": "message",
        "model": "claude-new",
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
)


async def started(source: Scripted, **more: Any) -> MessagesReply:
    reply = MessagesReply(source, MessagesCall(b"{}", "asked", **more), provider="anthropic")
    await reply.start()
    return reply


async def read(reply: RawReply) -> tuple[bytes, ProviderError | None]:
    out = b""
    try:
        async for piece in reply.chunks():
            assert piece
            out += piece
    except ProviderError as failure:
        return out, failure
    return out, None


@given(name=st.sampled_from(sorted(GOLDEN)), size=st.integers(1, 400), trailing=st.sampled_from([b"", b"\n"]))
async def test_every_byte_of_an_answer_passes_however_it_comes(name: str, size: int, trailing: bytes) -> None:
    data = GOLDEN[name] + trailing
    source = Scripted(*(data[at : at + size] for at in range(0, len(data), size)))
    reply = await started(source)
    assert await read(reply) == (data, None)
    assert reply.usage.output_tokens == 42
    assert reply.model == "claude-opus-5-5"
    assert reply.stream
    assert source.closed


async def test_the_caller_is_told_the_limits_and_nothing_of_the_account_or_the_edge() -> None:
    theirs = (
        (b"anthropic-ratelimit-requests-remaining", b"3"),
        (b"anthropic-priority-input-tokens-limit", b"9"),
        (b"retry-after", b"2"),
        (b"x-should-retry", b"true"),
    )
    others = (
        (b"anthropic-organization-id", b"canary-1"),
        (b"anthropic-workspace-id", b"canary-2"),
        (b"set-cookie", b"canary-3"),
        (b"server", b"cloudflare"),
        (b"cf-ray", b"canary-4"),
        (b"via", b"1.1 google"),
        (b"x-envoy-upstream-service-time", b"7"),
        (b"connection", b"keep-alive"),
        (b"content-length", b"1"),
        (b"transfer-encoding", b"chunked"),
    )
    headers = [header for pair in zip(theirs, others, strict=False) for header in pair]
    headers += [*others[4:], (b"content-type", b"text/event-stream"), (b"request-id", b"req_1")]
    reply = await started(Scripted(GOLDEN["text"], headers=headers))
    assert reply.headers == theirs
    assert reply.upstream_request_id == "req_1"
    refused = Scripted(orjson.dumps(BUSY), status=529, headers=headers)
    with pytest.raises(Overloaded) as failure:
        await AnthropicProvider(Client(refused), api_key=KEY).messages(MessagesCall(b"{}", "m"))
    assert failure.value.upstream_headers == theirs


HARMLESS: Sequence[Header] = (
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"a"),
    (b"anthropic-beta", b"b"),
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"x-claude-code-session-id", b"s-1"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-client-request-id", b"r-1"),
)


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"cookie",
        b"forwarded",
        b"x-forwarded-for",
        b"x-real-ip",
        b"cf-connecting-ip",
        b"via",
        b"host",
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
        b"expect",
        b"content-length",
        b"content-type",
        b"accept",
        b"accept-encoding",
        b"origin",
        b"referer",
        b"traceparent",
        b"x-request-id",
        b"x-session-id",
        b"x-gateway-skill",
        b"x-claude-gateway-user-email",
        b"anthropic-organization-id",
        b"anthropic-workspace-id",
    ],
)
async def test_what_is_not_claudes_business_stays_here(name: bytes) -> None:
    client = Client(Scripted(GOLDEN["text"]))
    call = MessagesCall(b"{}", "m", ((name, b"canary"), *HARMLESS))
    await AnthropicProvider(client, api_key=KEY).messages(call)
    sent = client.headers[0]
    assert b"canary" not in [value for _, value in sent]
    assert [header for header in sent if header in HARMLESS] == list(HARMLESS)
    assert (b"x-api-key", KEY.encode()) in sent
    assert len({found for found, _ in sent}) == len(sent) - 1  # only anthropic-beta stands twice


async def test_a_caller_that_says_nothing_of_itself_is_the_gateway() -> None:
    client = Client(Scripted(GOLDEN["text"]))
    await AnthropicProvider(client, api_key=KEY).messages(MessagesCall(b"{}", "m"))
    sent = dict(client.headers[0])
    assert (sent[b"user-agent"], sent[b"anthropic-version"]) == (b"claude-gateway", b"2026-10-21")
    # An answer in a coding of its own could not be read while it passes.
    assert sent[b"accept-encoding"] == b"identity"


@pytest.mark.parametrize("name", [b"", b"x-stainless", b"anthropic", b"x-claude-code", b"x-appliance"])
def test_a_name_that_only_looks_alike_passes_in_neither_direction(name: bytes) -> None:
    assert upward([(name, b"")]) == []
    assert downward([(name, b"")]) == ()


@pytest.mark.parametrize("before", [(), (e.PING,), (e.PING, e.PING)])
async def test_an_error_in_place_of_an_answer_has_its_own_status(before: tuple[e.Event, ...]) -> None:
    source = Scripted(*map(e.sse, before), e.sse(BUSY))
    with pytest.raises(Overloaded) as failure:
        await started(source)
    assert failure.value.upstream_status == 529
    assert failure.value.upstream_error == BUSY["error"]
    assert failure.value.upstream_request_id == "req_1"
    assert failure.value.provider == "anthropic"
    assert source.closed


async def test_an_error_of_status_200_is_an_error() -> None:
    said = {"type": "invalid_request_error", "message": "prompt is too long: 5 tokens > 4 maximum"}
    source = Scripted(orjson.dumps({"type": "error", "error": said}), headers=JSON)
    with pytest.raises(ContextTooLong) as failure:
        await started(source)
    assert failure.value.upstream_error == said
    assert source.closed


async def test_an_error_in_the_middle_passes_as_it_is_and_is_still_known_as_one() -> None:
    head = e.stream(e.start(), *e.text(0, "half"))
    source = Scripted(head, e.sse(BUSY), b"never read")
    reply = await started(source)
    out, failure = await read(reply)
    assert out == head + e.sse(BUSY)
    assert isinstance(failure, Overloaded)
    # The caller has been told: what the gateway adds must not be an event.
    assert reply.failed("overloaded", "busy").startswith(b": ")
    assert reply.failed("overloaded", "busy").endswith(b"\n\n")
    assert source.closed


@pytest.mark.parametrize(
    "last", [(), (b"event: message_stop\ndata: {}",), (ProtocolError("reset"),), (Timeout("slow"),)]
)
async def test_a_truncated_stream_is_never_success(last: tuple[Any, ...]) -> None:
    head = e.stream(e.start(), *e.text(0, "half"))
    source = Scripted(head, *last)
    reply = await started(source)
    out, failure = await read(reply)
    assert out.startswith(head)
    assert failure is not None
    assert (failure.provider, failure.upstream_request_id) == ("anthropic", "req_1")
    assert reply.failed("x", "y") == b""  # so that the gateway writes its own event
    assert source.closed


@pytest.mark.parametrize("reads", [(), (b": hello\n\n",), (e.sse(e.PING),), (b"event: message_start\n",)])
async def test_a_stream_that_never_begins_is_an_error_with_a_status(reads: tuple[bytes, ...]) -> None:
    source = Scripted(*reads)
    with pytest.raises(ProtocolError) as failure:
        await started(source)
    assert (failure.value.status, failure.value.code) == (502, "upstream_truncated")
    assert source.closed


async def test_a_whole_answer_passes_and_its_usage_is_known() -> None:
    reply = await started(Scripted(MESSAGE[:10], MESSAGE[10:], headers=JSON))
    assert await read(reply) == (MESSAGE, None)
    assert not reply.stream
    assert (reply.model, reply.usage.input_tokens, reply.usage.output_tokens) == ("claude-new", 3, 4)
    assert reply.first_token_at is not None


async def test_a_whole_answer_without_usage_is_estimated_by_its_words() -> None:
    answer = {"type": "message", "content": [{"type": "text", "text": "Well, " * 40}], "usage": None}
    reply = await started(Scripted(orjson.dumps(answer), headers=JSON))
    assert reply.usage.estimated == {"input", "output"}
    assert reply.usage.output_tokens == 60


async def test_a_count_is_no_usage() -> None:
    body = b'{"input_tokens": 17}'
    reply = await started(Scripted(body, headers=JSON), endpoint="count_tokens")
    assert await read(reply) == (body, None)
    assert reply.usage.input_tokens == 0
    assert reply.first_token_at is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", b"text/html"),
        (b"", b"application/json"),
        (b"[]", b"application/json"),
        (b"{", b"application/json"),
        (b"{}", b""),
    ],
)
async def test_a_whole_answer_that_makes_no_sense_is_a_protocol_error(body: bytes, kind: bytes) -> None:
    source = Scripted(body, headers=((b"content-type", kind),))
    with pytest.raises(ProtocolError):
        await started(source)
    assert source.closed


async def test_a_compressed_answer_is_refused_with_its_reason() -> None:
    """Nobody asked for one, and usage could not be read from it."""
    headers = ((b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip"))
    source = Scripted(b"\x1f\x8b\x08", headers=headers)
    with pytest.raises(ProtocolError) as failure:
        await started(source)
    assert failure.value.code == "upstream_content_encoding"
    assert source.closed


async def test_the_connection_is_used_again_when_nothing_follows_the_last_event() -> None:
    source = Scripted(GOLDEN["text"], b"")
    reply = await started(source)
    await read(reply)
    assert source.left == []


async def test_tokens_are_counted_where_they_are_asked_for() -> None:
    client = Client(Scripted(b'{"input_tokens": 17}', headers=JSON))
    provider = AnthropicProvider(client, api_key=KEY, base_url="https://example.test")
    await provider.messages(MessagesCall(b'{"a":1.0}', "m", (), b"beta=true", "count_tokens"))
    method, url, _, body = client.asked[0]
    assert (method, url) == ("POST", "https://example.test/v1/messages/count_tokens?beta=true")
    assert body == b'{"a":1.0}'


async def test_a_refusal_keeps_what_claude_said_but_not_the_gateways_key() -> None:
    said = {
        "type": "rate_limit_error",
        "message": f"limit of {KEY}",
        "details": {"error_code": "x", "also": [f"{KEY}"]},
    }
    body = orjson.dumps({"type": "error", "error": said, "request_id": "req_9"})
    refused = Scripted(body, status=429, headers=((b"retry-after", b"3"), (b"request-id", b"req_9")))
    with pytest.raises(RateLimited) as failure:
        await AnthropicProvider(Client(refused), api_key=KEY).messages(MessagesCall(b"{}", "m"))
    assert failure.value.upstream_error == {
        "type": "rate_limit_error",
        "message": "limit of sk-…",
        "details": {"error_code": "x", "also": ["sk-…"]},
    }
    assert failure.value.upstream_request_id == "req_9"


@pytest.mark.parametrize("status", [401, 403])
async def test_what_is_wrong_with_the_gateways_key_is_told_to_nobody(status: int) -> None:
    said = {"type": "authentication_error", "message": "org canary is disabled"}
    headers = ((b"anthropic-ratelimit-requests-limit", b"0"), (b"x-should-retry", b"true"))
    refused = Scripted(orjson.dumps({"type": "error", "error": said}), status=status, headers=headers)
    with pytest.raises(ProviderError) as failure:
        await AnthropicProvider(Client(refused), api_key=KEY).messages(MessagesCall(b"{}", "m"))
    assert failure.value.status == 502
    assert failure.value.upstream_error is None
    assert failure.value.upstream_headers == ()
    assert "canary" not in str(failure.value)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("size", [60, 10_000])
async def test_a_whole_answer_of_which_not_all_is_there_counts_its_words(size: int, lost: bool) -> None:
    """The connection is lost, or what ended is no JSON."""
    content = [{"type": "text", "text": "word " * 60}]
    body = orjson.dumps({"type": "message", "model": "claude-new", "content": content})[:-5]
    reads: list[bytes | ProviderError] = [body[at : at + size] for at in range(0, len(body), size)]
    if lost:
        reads.append(ProtocolError("It is lost.", stage="read"))
    request = orjson.dumps({"messages": [{"role": "user", "content": "Hi"}]})
    call = MessagesCall(request, "claude-opus-5")
    claude = AnthropicProvider(Client(Scripted(*reads, headers=JSON)), api_key=KEY)
    with pytest.raises(ProtocolError):
        await claude.messages(call)
    found = call.exchange.usage
    assert found.estimated == frozenset(("input", "output"))
    assert (40 < found.output_tokens < 100, found.input_tokens > 0) == (True, True)
