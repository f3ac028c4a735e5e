"""Five hundred hostile bodies: each gets a clear 4xx (or is harmless), never a 500, never a hang."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .gateway import KEY, Gateway
from .upstream import Upstream

PATH = "/v1/chat/completions"


def post(gateway: Gateway, body: bytes, path: str = PATH, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request(
            "POST", path, body, {"x-api-key": KEY, "Content-Type": "application/json", **headers}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def error_of(body: bytes) -> dict[str, object]:
    error = json.loads(body)["error"]
    assert isinstance(error, dict)
    assert error["message"]
    return error


CHAT = b'{"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}]%s}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{}",
        CHAT % b', "temperature": NaN',
        CHAT % b', "temperature": 1e999',
        CHAT % b', "x": ' + b"[" * 400 + b"]" * 400,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "sonnet", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "sonnet", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "sonnet", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b'{"model": "sonnet", "messages": "Hi"}',
        b'{"model": "sonnet", "messages": []}',
        b'{"model": "sonnet", "messages": [1]}',
        b'{"model": "sonnet", "messages": [{"role": "wizard", "content": "Hi"}]}',
        b'{"model": "sonnet", "messages": [{"role": "user", "content": 5}]}',
        b'{"model": "sonnet", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        b'{"model": 5, "messages": [{"role": "user", "content": "Hi"}]}',
        b'{"messages": [{"role": "user", "content": "Hi"}]}',
        CHAT % b', "stream": "yes"',
        CHAT % b', "max_tokens": -1',
        CHAT % b', "max_tokens": "many"',
        CHAT % b', "n": 2',
        CHAT % b', "tools": {"a": 1}',
        CHAT % b', "tools": [{"type": "function"}]',
        CHAT % b', "stop": 5',
        CHAT % b', "response_format": "json"',
        CHAT % (b', "max_tokens": ' + b"9" * 5000),
    ],
)
def test_a_hostile_body_is_the_callers_mistake(gateway: Gateway, body: bytes) -> None:
    status, answer = post(gateway, body)
    assert status == 400, answer
    assert error_of(answer)["type"] == "invalid_request_error"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abct_", max_size=6), inner)
    ),
    max_leaves=12,
)
FIELDS = (
    "messages", "tools", "tool_choice", "stop", "stream", "stream_options", "max_tokens", "response_format",
    "reasoning_effort", "n", "user", "functions", "function_call", "parallel_tool_calls", "metadata",
)  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "function"]) | JSON},
    optional={
        "content": JSON
        | st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "file"])})),
        "tool_calls": JSON,
        "tool_call_id": JSON,
        "name": JSON,
    },
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda messages, more: json.dumps({"model": "sonnet", "messages": messages, **more}).encode(),
        st.lists(MESSAGE, max_size=5) | JSON,
        st.dictionaries(st.sampled_from(FIELDS[1:]), JSON, max_size=4),
    ),
    st.builds(lambda at, junk: CHAT[: at % len(CHAT)] + junk, st.integers(0, 100), st.binary(max_size=20)),
)


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(body=BODIES)
def test_five_hundred_generated_bodies_never_make_a_500_or_a_hang(
    gateway: Gateway, shared_upstream: Upstream, body: bytes
) -> None:
    status, answer = post(gateway, body)
    if status != 200:
        # The strict upstream's own 400 also lands here: what is translated must be acceptable, so its
        # words ("messages.0: ...") must never be the answer to a body that we let through.
        assert 400 <= status < 500, (status, answer)
        error_of(answer)


def test_an_oversized_body_is_413_before_it_is_read(gateway: Gateway) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {40 * 1024 * 1024}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_compressed_body_is_415(gateway: Gateway) -> None:
    status, answer = post(gateway, b"\x1f\x8b\x08", **{"Content-Encoding": "gzip"})
    assert status == 415, answer


def test_a_slow_body_is_408(upstream: Upstream) -> None:
    from .conftest import settings_for
    from .gateway import running_gateway

    with running_gateway(**settings_for(upstream, BODY_TIMEOUT_SECONDS="0.5")) as hasty:
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        with socket.create_connection(("127.0.0.1", hasty.port), timeout=15) as client:
            client.sendall(head.encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_two_parsers_read_differently_is_refused(gateway: Gateway) -> None:
    for head in (
        f"GET /v1/models HTTP/1.1\r\nx-api-key: {KEY}\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\nx-api-key: {KEY}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
            client.sendall(head.encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_refusal_reaches_a_client_that_is_still_sending(gateway: Gateway) -> None:
    """A 401 or 429 for a large prompt must arrive as such, not as a connection reset."""
    body = b'{"model": "sonnet", "messages": [{"role": "user", "content": "' + b"x" * 8_000_000 + b'"}]}'
    for _ in range(5):
        status, answer = post(gateway, body, **{"x-api-key": "wrong"})
        assert status == 401
        assert error_of(answer)["code"] == "invalid_api_key"


def test_after_all_that_the_gateway_still_answers(gateway: Gateway, upstream: Upstream) -> None:
    began = time.monotonic()
    assert post(gateway, CHAT % b"")[0] == 200
    assert time.monotonic() - began < 10
    assert "Traceback" not in gateway.log
