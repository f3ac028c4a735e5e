"""Silence on the wire: signs of life while an upstream says nothing; clients that leave at the last event."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from .conftest import others_at, settings_for
from .gateway import KEY, Gateway, running_gateway
from .upstream import Upstream

MODEL = "local:llama3.1:8b"
SLOW = {"path": "/api/chat", "text": "A"}
COMMENT, PING = b": keep-alive\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'
#: Path → a request to it, and the event that ends a good answer.
REQUESTS: dict[str, tuple[dict[str, Any], bytes]] = {
    "/v1/chat/completions": ({"messages": [{"role": "user", "content": "Hi"}]}, b"data: [DONE]"),
    "/v1/messages": (
        {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]},
        b"event: message_stop",
    ),
    "/v1/responses": ({"input": "Hi"}, b"event: response.completed"),
}


@pytest.fixture(scope="module")
def lively(shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that never is silent for long."""
    settings = settings_for(shared_upstream, **others_at(shared_upstream), SSE_KEEPALIVE_SECONDS="0.2")
    with running_gateway(**settings) as running:
        yield running


def ask(gateway: Gateway, path: str, **more: Any) -> socket.socket:
    body = json.dumps({"model": MODEL, "stream": True, **REQUESTS[path][0], **more}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nx-api-key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    peer = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    peer.sendall(head.encode() + body)
    return peer


def read_until(peer: socket.socket, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        piece = peer.recv(65536)
        assert piece, f"the connection ended before {end!r}: {seen!r}"
        seen += piece
    return seen


def events_of(raw: bytes) -> bytes:
    """The body of a chunked response."""
    body, rest = b"", raw.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize("path", REQUESTS)
def test_a_model_that_is_slow_to_begin_is_waited_for(lively: Gateway, upstream: Upstream, path: str) -> None:
    upstream.script({**SLOW, "hold_ms": 1_200})
    sign = PING if path == "/v1/messages" else COMMENT
    with ask(lively, path) as peer:
        early = read_until(peer, sign)
        assert early.startswith(b"HTTP/1.1 200")
        assert not upstream.asked("/api/chat")[0]["completed"]
        body = events_of(early + read_until(peer, b"0\r\n\r\n"))
    assert body.count(sign) >= 2
    events = body.replace(sign, b"")
    assert b'"A"' in events
    assert REQUESTS[path][1] in events


@pytest.mark.parametrize("path", REQUESTS)
def test_a_model_that_falls_silent_between_two_words_is_waited_for(
    lively: Gateway, upstream: Upstream, path: str
) -> None:
    upstream.script({"path": "/api/chat", "tokens": 3, "delay_ms": 700})
    sign = PING if path == "/v1/messages" else COMMENT
    with ask(lively, path) as peer:
        body = events_of(read_until(peer, b"0\r\n\r\n"))
    assert sign in body
    for event in body.replace(sign, b"").split(b"\n\n"):
        assert event == b"" or event.startswith((b"data: ", b"event: ")), event
    assert REQUESTS[path][1] in body


def test_the_sdks_do_not_notice(lively: Gateway, upstream: Upstream) -> None:
    upstream.script(*[{**SLOW, "hold_ms": 700} for _ in range(3)])
    with openai.OpenAI(base_url=f"{lively.base_url}/v1", api_key=KEY, max_retries=0) as chat:
        messages: Any = REQUESTS["/v1/messages"][0]["messages"]
        chunks = list(chat.chat.completions.create(model=MODEL, messages=messages, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "A"
        with chat.responses.stream(model=MODEL, input="Hi") as stream:
            assert stream.get_final_response().output_text == "A"
    with (
        anthropic.Anthropic(base_url=lively.base_url, api_key=KEY, max_retries=0) as sdk,
        sdk.messages.stream(model=MODEL, max_tokens=50, messages=messages) as events,
    ):
        assert events.get_final_text() == "A"


def test_an_error_that_comes_late_is_an_error_in_every_sdk(lively: Gateway, upstream: Upstream) -> None:
    late = {"path": "/api/chat", "hold_ms": 700, "status": 503}
    upstream.script(late, late, late, late)
    messages: Any = REQUESTS["/v1/messages"][0]["messages"]
    with openai.OpenAI(base_url=f"{lively.base_url}/v1", api_key=KEY, max_retries=0) as chat:
        with pytest.raises(openai.APIError) as failed:
            list(chat.chat.completions.create(model=MODEL, messages=messages, stream=True))
        assert failed.value.code == "upstream_overloaded"
        events = list(chat.responses.create(model=MODEL, input="Hi", stream=True))
        assert [event.type for event in events] == ["response.created", "response.failed"]
        with chat.responses.stream(model=MODEL, input="Hi") as stream:
            assert [event.type for event in stream] == ["response.created", "response.failed"]
    with (
        anthropic.Anthropic(base_url=lively.base_url, api_key=KEY, max_retries=0) as sdk,
        pytest.raises(anthropic.APIStatusError) as refused,
        sdk.messages.stream(model=MODEL, max_tokens=50, messages=messages) as events_,
    ):
        list(events_)
    assert refused.value.type == "overloaded_error"


def test_an_answer_in_one_piece_keeps_its_status(lively: Gateway, upstream: Upstream) -> None:
    upstream.script({"path": "/api/chat", "hold_ms": 700, "status": 503})
    with (
        openai.OpenAI(base_url=f"{lively.base_url}/v1", api_key=KEY, max_retries=0) as chat,
        pytest.raises(openai.InternalServerError) as failed,
    ):
        chat.responses.create(model=MODEL, input="Hi")
    assert failed.value.status_code == 503


# ---- Codex closes its socket at `response.completed`, without waiting for the end of the body


def line_for(gateway: Gateway, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in gateway.log.splitlines():
            if f'"request_id":"{request_id}"' in line:
                return dict(json.loads(line))
        time.sleep(0.02)
    raise AssertionError(f"no line for {request_id}:\n{gateway.log}")


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("model", [MODEL, "sonnet", "sim:gpt-4o"])
def test_a_client_that_leaves_at_the_last_event_has_been_answered(
    lively: Gateway, upstream: Upstream, path: str, model: str
) -> None:
    for round_ in range(5):
        with ask(lively, path, model=model) as peer:
            head = read_until(peer, REQUESTS[path][1] + b"\n")
        request_id = head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        line = line_for(lively, request_id)
        assert line["status"] == 200, (round_, line)
        assert "aborted" not in line
        assert line["output_tokens"] > 0


@pytest.mark.parametrize("path", REQUESTS)
def test_it_has_been_answered_even_where_the_upstream_does_not_close(
    lively: Gateway, upstream: Upstream, path: str
) -> None:
    """The gateway waits a moment for the end of the upstream's body; the client does not."""
    upstream.script({"path": "/api/chat", "text": "Ready", "fault": "stall", "after": 99})
    with ask(lively, path) as peer:
        head = read_until(peer, REQUESTS[path][1] + b"\n")
    request_id = head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    line = line_for(lively, request_id)
    assert line["status"] == 200
    assert "aborted" not in line


def test_a_client_that_leaves_before_it_has_not(lively: Gateway, upstream: Upstream) -> None:
    upstream.script({"path": "/api/chat", "tokens": 200, "delay_ms": 20})
    with ask(lively, "/v1/responses") as peer:
        head = read_until(peer, b"event: response.output_text.delta\n")
    request_id = head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    line = line_for(lively, request_id)
    assert (line["status"], line["aborted"]) == (499, "client_disconnect")
