"""Errors on ``/v1/messages``: Claude's own as Claude said them, at the status that a client acts on."""

from __future__ import annotations

import json

import pytest

from .gateway import Gateway
from .raw import COUNT, LIMITS, MESSAGES, PLAIN, THEIR_OWN, post
from .upstream import Upstream

ERRORS: list[tuple[int, str, str, int]] = [
    (400, "invalid_request_error", "prompt is too long: 216000 tokens > 200000 maximum", 400),
    (402, "billing_error", "Your credit balance is too low.", 402),
    (404, "not_found_error", "model: claude-opus-5", 404),
    (413, "request_too_large", "Request exceeds the maximum size", 413),
    (429, "rate_limit_error", "This request would exceed your rate limit.", 429),
    (500, "api_error", "Internal server error", 502),
    (529, "overloaded_error", "Overloaded", 529),
]


@pytest.mark.parametrize("path", [MESSAGES, COUNT])
@pytest.mark.parametrize(("status", "kind", "message", "shown"), ERRORS)
def test_claudes_own_error_reaches_the_caller_verbatim(
    gateway: Gateway, upstream: Upstream, path: str, status: int, kind: str, message: str, shown: int
) -> None:
    upstream.script(
        {
            "path": path,
            "status": status,
            "error_type": kind,
            "message": message,
            "retry_after": 7,
            "headers": {**LIMITS, **THEIR_OWN},
        }
    )
    found, headers, body = post(gateway.base_url, path, json.dumps(PLAIN).encode())
    assert found == shown
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": upstream.requests[0]["request_id"],
    }
    assert headers["request-id"] == upstream.requests[0]["request_id"]
    assert {name: headers.get(name) for name in LIMITS} == LIMITS
    assert "canary" not in str(headers)
    assert headers.get("retry-after") == ("7" if status in (429, 529) else None)
    assert headers.get("x-should-retry") == ("false" if status in (400, 402, 404, 413) else None)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_of_the_gateway_is_never_the_callers(
    gateway: Gateway, upstream: Upstream, status: int
) -> None:
    upstream.script({"path": MESSAGES, "status": status, "message": "canary: invalid x-api-key"})
    found, headers, body = post(gateway.base_url, MESSAGES, json.dumps(PLAIN).encode())
    assert found == 502
    assert json.loads(body)["error"]["type"] == "api_error"
    assert b"canary" not in body
    assert headers["x-should-retry"] == "false"


@pytest.mark.parametrize("after", [0, 1])
def test_an_error_before_any_content_has_its_status(gateway: Gateway, upstream: Upstream, after: int) -> None:
    upstream.script({"path": MESSAGES, "fault": "error", "after": after, "coalesce": True})
    status, _, body = post(gateway.base_url, MESSAGES, json.dumps({**PLAIN, "stream": True}).encode())
    assert status == 529
    assert json.loads(body)["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def test_an_error_later_passes_and_ends_the_stream(gateway: Gateway, upstream: Upstream) -> None:
    scenario = {"path": MESSAGES, "fault": "error", "after": 5, "tokens": 20}
    raw = json.dumps({**PLAIN, "stream": True}).encode()
    upstream.script(scenario, scenario)
    _, _, direct = post(upstream.base_url, MESSAGES, raw)
    status, _, passed = post(gateway.base_url, MESSAGES, raw)
    assert status == 200
    assert passed.startswith(direct)
    assert passed.count(b"event: error") == 1
    # What follows is a comment: blank lines and lines that begin with a colon mean nothing.
    rest = passed.removeprefix(direct).split(b"\n")
    assert [line for line in rest if line and not line.startswith(b":")] == []


@pytest.mark.parametrize("fault", ["truncate", "cut", "reset", "bad_http"])
def test_a_stream_that_breaks_off_is_never_success(gateway: Gateway, upstream: Upstream, fault: str) -> None:
    upstream.script({"path": MESSAGES, "fault": fault, "tokens": 20, "delay_ms": 1})
    status, _, body = post(gateway.base_url, MESSAGES, json.dumps({**PLAIN, "stream": True}).encode())
    assert b"event: message_stop" not in body
    if fault == "bad_http":
        assert status == 502
        return
    last = body.rstrip().rpartition(b"\n\n")[2]
    assert last.startswith(b"event: error\ndata: ")
    assert json.loads(last.partition(b"data: ")[2])["error"]["type"] == "api_error"
