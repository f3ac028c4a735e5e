"""Refusals of the Messages API in the gateway's own tree."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
    UpstreamFailed,
)
from providers.translate.anthropic_errors import MAX_RETRY_AFTER, from_response, parse_retry_after


def error(
    status: int, message: str = "said", headers: dict[bytes, bytes] | None = None, body: Any = None
) -> ProviderError:
    sent = {"type": "error", "error": {"type": "x_error", "message": message}} if body is None else body
    raw = sent if isinstance(sent, bytes) else orjson.dumps(sent)
    return from_response(status, (headers or {}).get, raw, provider="anthropic")


@pytest.mark.parametrize(
    ("upstream", "kind", "status", "code"),
    [
        (400, BadRequest, 400, "invalid_request"),
        (401, AuthFailed, 502, "upstream_auth"),
        (403, AuthFailed, 502, "upstream_auth"),
        (402, Refused, 402, "insufficient_quota"),
        (404, ModelNotFound, 404, "model_not_found"),
        (409, Refused, 409, "invalid_request"),
        (413, Refused, 413, "request_too_large"),
        (429, RateLimited, 429, "rate_limit_exceeded"),
        (500, UpstreamFailed, 502, "upstream_error"),
        (502, UpstreamFailed, 502, "upstream_error"),
        (503, Overloaded, 503, "upstream_overloaded"),
        (504, Timeout, 504, "upstream_timeout"),
        (529, Overloaded, 503, "upstream_overloaded"),
        (302, ProtocolError, 502, "upstream_protocol"),
    ],
)
def test_each_status(upstream: int, kind: type[ProviderError], status: int, code: str) -> None:
    for body in (None, b"", b"<html>", b"[]", {"error": "text"}, {"error": {"message": 1}}):
        found = error(upstream, body=body)
        assert type(found) is kind
        assert (found.status, found.code, found.upstream_status) == (status, code, upstream)
        assert found.message


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 216000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    ],
)
def test_a_prompt_that_does_not_fit_has_its_own_code_and_keeps_both_numbers(message: str) -> None:
    found = error(400, message)
    assert type(found) is ContextTooLong
    assert (found.status, found.code, found.message) == (400, "context_length_exceeded", message)


def test_an_empty_account_is_insufficient_quota() -> None:
    assert error(400, "Your credit balance is too low to access the Anthropic API.").status == 402


def test_the_gateways_key_is_never_shown() -> None:
    for status in (400, 401, 429, 500):
        found = error(status, "key sk-ant-api03-SECRETSECRET is not valid")
        assert "SECRET" not in found.message
    assert "said" not in error(401).message


def test_request_id_and_retry_after_are_kept() -> None:
    found = error(429, headers={b"request-id": b"req_9", b"retry-after": b"7"})
    assert (found.upstream_request_id, found.retry_after) == ("req_9", 7.0)
    assert error(529, headers={b"retry-after": b"2.5"}).retry_after == 2.5
    assert error(429).retry_after is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0.0),
        (b"-5", 0.0),
        (b"3", 3.0),
        (b"99999999999", MAX_RETRY_AFTER),
        (b"inf", MAX_RETRY_AFTER),
        (b"nan", None),
        (b"soon", None),
        (b"", None),
        (None, None),
    ],
)
def test_retry_after_in_seconds_is_bounded(value: bytes | None, expected: float | None) -> None:
    assert parse_retry_after(value) == expected


def test_retry_after_may_be_a_date() -> None:
    found = parse_retry_after(formatdate(time.time() + 30, usegmt=True).encode())
    assert found is not None
    assert 25 <= found <= 31
    assert parse_retry_after(formatdate(0, usegmt=True).encode()) == 0.0


def test_a_very_long_message_is_cut() -> None:
    assert len(error(400, "x" * 10_000).message) == 2_000


def test_a_model_that_is_not_there_is_called_so_and_claudes_own_words_are_kept() -> None:
    said = {"type": "not_found_error", "message": "model: claude-nonesuch-9"}
    found = error(404, body={"type": "error", "error": said, "request_id": "req_1"})
    assert str(found) == "The model 'claude-nonesuch-9' does not exist, or the gateway's key may not use it."
    assert found.upstream_error == said
