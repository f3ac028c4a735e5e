"""``/v1/messages`` to Claude through a real Granian: not a byte is changed, in either direction."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .raw import COUNT, LIMITS, MESSAGES, PLAIN, THEIR_OWN, post
from .test_disconnect import ALLOWED_SECONDS, SLOW, seconds_until_stopped
from .upstream import Upstream

#: What the gateway may add to an answer of Claude's beside what Claude said.
OWN_HEADERS = (
    "x-",
    "content-",
    "date",
    "server",
    "warning",
    "cache-control",
    "transfer-encoding",
    "request-id",
)


BETAS = {"anthropic-beta": "context-management-2025-06-27,effort-2025-11-24"}

#: Valid JSON that no encoder here would have written in this way.
ODD = {
    "spaces": b'{ "max_tokens" :\t200,\r\n "model":"claude-opus-5" ,'
    b'"messages":[ {"role":"user","content":"hi"}]}',
    "escapes": rb'{"model":"claude-opus-5","max_tokens":200,"messages":[{"role":"user","content":'
    rb'"caf\u00e9 \ud83d\ude00 \/ \u0041 \u2028 \u0000 \t"}]}',
    "unicode": (
        '{"model":"claude-opus-5","max_tokens":200,'
        '"messages":[{"role":"user","content":"é e\u0301 \u2028 \U0001f600 ﷽"}]}'
    ).encode(),
    "numbers": b'{"model":"claude-opus-5","max_tokens":2E2,"messages":[{"role":"user","content":"hi"}],'
    b'"x":[1.0,1e5,-0,-0.0,0.1000,12345678901234567890123,1.7976931348623157e308,5e-324]}',
    "repeated": b'{"model":"claude-opus-5","max_tokens":200,"messages":[{"role":"user","content":"hi"}],'
    b'"unknown":1,"unknown":{"b":1,"a":2},"unknown":[]}',
    "empty names": b'{"":{"":[]},"model":"claude-opus-5","max_tokens":200,'
    b'"messages":[{"role":"user","content":"hi"}]}',
}


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}?beta=true", COUNT, f"{COUNT}?beta=true&x=%2F"])
@pytest.mark.parametrize("name", ODD)
def test_a_request_reaches_claude_byte_for_byte(
    gateway: Gateway, upstream: Upstream, name: str, path: str
) -> None:
    upstream.script({"path": path.partition("?")[0], "strict": False})
    status, _, _ = post(gateway.base_url, path, ODD[name])
    assert status == 200
    (received,) = upstream.requests
    assert received["path"] == path
    assert received["body_sha256"] == hashlib.sha256(ODD[name]).hexdigest()


def test_an_alias_changes_nothing_but_the_models_name(gateway: Gateway, upstream: Upstream) -> None:
    body = ODD["numbers"].replace(b"claude-opus-5", b"sonnet")
    upstream.script({"path": MESSAGES, "strict": False})
    assert post(gateway.base_url, MESSAGES, body)[0] == 200
    expected = ODD["numbers"].replace(b"claude-opus-5", b"claude-sonnet-5-5")
    assert upstream.requests[0]["body_sha256"] == hashlib.sha256(expected).hexdigest()


SPOKEN = "It says: event: message_stop, and an error. \u00e9\U0001f600"


@pytest.mark.parametrize("split", [0, 1, 7, 1000])
@pytest.mark.parametrize("tool", [False, True])
def test_the_events_reach_the_caller_byte_for_byte(
    gateway: Gateway, upstream: Upstream, split: int, tool: bool
) -> None:
    thought = {"type": "thinking", "thinking": "It is about a stream."}
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    blocks = [thought, {"type": "text", "text": SPOKEN}, *([call] if tool else [])]
    scenario = {"path": MESSAGES, "blocks": blocks, "split": split}
    body = json.dumps({**PLAIN, "stream": True}).encode()
    upstream.script(scenario, scenario)
    _, _, direct = post(upstream.base_url, MESSAGES, body)
    status, headers, passed = post(gateway.base_url, MESSAGES, body)
    assert status == 200
    assert passed == direct
    assert direct.count(b"event: message_stop\n") == 1
    assert headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in headers


def test_a_whole_answer_reaches_the_caller_byte_for_byte(gateway: Gateway, upstream: Upstream) -> None:
    for path, body in ((MESSAGES, PLAIN), (COUNT, {k: v for k, v in PLAIN.items() if k != "max_tokens"})):
        raw = json.dumps(body).encode()
        _, _, direct = post(upstream.base_url, path, raw)
        assert post(gateway.base_url, path, raw)[2] == direct


CANARIES = {
    "cookie": "session=canary",
    "x-forwarded-for": "203.0.113.7, canary",
    "forwarded": "for=canary",
    "x-real-ip": "canary",
    "via": "1.1 canary",
    "origin": "https://canary.example",
    "referer": "https://canary.example",
    "x-request-id": "the-callers-own",
    "x-unknown": "canary",
    "traceparent": "00-canary-1-01",
    "proxy-authorization": "Basic canary",
    "te": "trailers, canary",
    "anthropic-workspace-id": "canary",
    "accept-encoding": "gzip, canary",
}
CLAUDE_CODE = {
    "anthropic-beta": BETAS["anthropic-beta"],
    "anthropic-version": "2023-06-01",
    "anthropic-dangerous-direct-browser-access": "true",
    "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "bdbc122a-8612-4e64-83a1-e2a87720dd65",
    "x-claude-code-agent-id": "a1",
    "x-stainless-retry-count": "1",
    "x-stainless-lang": "js",
}


def test_claude_is_told_what_is_its_business_and_nothing_else(gateway: Gateway, upstream: Upstream) -> None:
    caller = {**CANARIES, **CLAUDE_CODE, "authorization": f"Bearer {KEY}"}
    assert post(gateway.base_url, MESSAGES, json.dumps(PLAIN).encode(), caller)[0] == 200
    (received,) = upstream.requests
    sent = received["headers"]
    assert "canary" not in str(sent)
    assert KEY not in str(sent)
    assert "authorization" not in sent
    assert {name: sent.get(name) for name in CLAUDE_CODE} == CLAUDE_CODE
    assert sent.keys() - CLAUDE_CODE.keys() == {
        "host",
        "content-length",
        "content-type",
        "x-api-key",
        "accept-encoding",
    }
    assert sent["accept-encoding"] == "identity"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [MESSAGES, COUNT])
def test_the_caller_is_told_the_limits_and_nothing_else(
    gateway: Gateway, upstream: Upstream, path: str, stream: bool
) -> None:
    upstream.script({"path": path, "headers": {**LIMITS, **THEIR_OWN}, "strict": False})
    body = {**PLAIN, "stream": stream}
    status, headers, _ = post(gateway.base_url, path, json.dumps(body).encode())
    assert status == 200
    assert "canary" not in str(headers)
    assert {name: headers.get(name) for name in LIMITS} == LIMITS
    assert headers["request-id"] == upstream.requests[0]["request_id"]
    assert [name for name in headers if name not in LIMITS and not name.startswith(OWN_HEADERS)] == []


@pytest.mark.parametrize(
    ("stream", "slow"), [(True, SLOW), (True, {"hold_ms": 20_000}), (False, {"hold_ms": 20_000})]
)
def test_a_caller_that_leaves_stops_the_upstream(
    gateway: Gateway, upstream: Upstream, stream: bool, slow: dict[str, Any]
) -> None:
    upstream.script({"path": MESSAGES, **slow})
    body = json.dumps({**PLAIN, "max_tokens": 1000, "stream": stream}).encode()
    head = (
        f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    client.sendall(head.encode() + body)
    written = 4 if slow is SLOW else -1
    upstream.wait_for(lambda chats: bool(chats) and chats[-1]["events_written"] > written)
    left_at = time.time()
    client.close()
    assert seconds_until_stopped(upstream, left_at) < ALLOWED_SECONDS


@pytest.fixture
def client(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def test_the_sdks_beta_client_is_answered(client: anthropic.Anthropic, upstream: Upstream) -> None:
    asked: Any = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 500,
        "messages": PLAIN["messages"],
        "betas": ["context-management-2025-06-27"],
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    }
    answer = client.beta.messages.create(**asked)
    assert answer.type == "message"
    with client.beta.messages.stream(**asked) as stream:
        assert [event.type for event in stream][-1] == "message_stop"
    received = upstream.requests
    assert len(received) == 2
    for entry in received:
        assert entry["headers"]["anthropic-beta"] == "context-management-2025-06-27"
        assert entry["body"]["context_management"] == asked["context_management"]
        assert entry["headers"]["user-agent"].startswith("Anthropic/Python")


def test_the_sdk_counts_tokens(client: anthropic.Anthropic, upstream: Upstream) -> None:
    asked: Any = {"model": "claude-opus-5", "messages": PLAIN["messages"], "system": "Be brief."}
    counted = client.messages.count_tokens(**asked)
    again = client.beta.messages.count_tokens(**asked)
    answer = client.messages.create(max_tokens=50, **asked)
    assert counted.input_tokens == again.input_tokens == answer.usage.input_tokens
    assert [entry["path"] for entry in upstream.requests] == [COUNT, COUNT, MESSAGES]


def test_what_was_used_is_recorded(gateway: Gateway, client: anthropic.Anthropic) -> None:
    before = gateway.metric("gateway_tokens_total", provider="anthropic", direction="output")
    with client.messages.stream(model="claude-opus-5", max_tokens=50, messages=PLAIN["messages"]) as stream:
        used = stream.get_final_message().usage.output_tokens
    after = gateway.metric("gateway_tokens_total", provider="anthropic", direction="output")
    assert used > 0
    assert after - before == used


@pytest.fixture(scope="module")
def clipping(shared_upstream: Upstream) -> Iterator[Gateway]:
    settings = settings_for(shared_upstream, TOOL_RESULT_MAX_CHARS="1000")
    with running_gateway(**settings) as running:
        yield running


def test_a_rewriting_layer_changes_what_it_rewrites_and_nothing_else(
    clipping: Gateway, upstream: Upstream
) -> None:
    """Off by default; when it is on, a request that it leaves alone stays as it came."""
    for name in ("spaces", "escapes", "repeated"):
        upstream.script({"path": MESSAGES, "strict": False})
        assert post(clipping.base_url, MESSAGES, ODD[name])[0] == 200
        assert upstream.requests[-1]["body_sha256"] == hashlib.sha256(ODD[name]).hexdigest()
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1.0, "s": "é"}}
    long = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "line\n" * 5_000}
    body = {
        **PLAIN,
        "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [long]},
        ],
    }
    status, headers, _ = post(clipping.base_url, MESSAGES, json.dumps(body).encode())
    assert status == 200
    assert int(headers["x-gateway-saved-tokens"]) > 0
    sent = upstream.requests[-1]["body"]
    result = sent["messages"][2]["content"][0]
    assert len(str(result["content"])) < len(long["content"])
    result["content"] = long["content"]
    assert sent == body
