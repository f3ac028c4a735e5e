"""What the Messages API says when it refuses → the tree of ``providers.errors``.

Statuses and error types: https://platform.claude.com/docs/en/api/errors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ..errors import (
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

#: SDKs sleep as long as ``retry-after`` says; nobody means a client to sleep for a day.
MAX_RETRY_AFTER = 600.0
MAX_MESSAGE = 2_000
#: An error body is a few hundred bytes.
MAX_BODY = 64 * 1024

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
#: 4xx that are about the moment and not about the request: too slow, in the way of another one.
_PASSING = frozenset({408, 409})
_KEY = re.compile(r"sk-[A-Za-z0-9_-]{6,}")
_TOO_LONG = re.compile(r"prompt is too long|exceeds? (the )?context (limit|window)", re.IGNORECASE)
_UNKNOWN_MODEL = re.compile(r"model: (\S+)")
_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)

Header = Callable[[bytes], bytes | None]


def from_response(
    status: int, header: Header, body: bytes, *, provider: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> ProviderError:
    """The error that an answer with ``status`` (not 200) stands for. ``header`` looks names up; ``headers``
    are those that a caller of the same dialect is to get."""
    try:
        parsed = orjson.loads(body)
    except ValueError:
        parsed = None
    request_id = header(b"request-id")
    return _build(
        status,
        parsed.get("error") if isinstance(parsed, dict) else None,
        provider=provider,
        stage="response",
        retry_after=parse_retry_after(header(b"retry-after")),
        upstream_request_id=request_id.decode("latin-1") if request_id else None,
        upstream_headers=headers,
    )


def from_event(error: object, *, provider: str, request_id: str | None = None) -> ProviderError:
    """The error that an ``error`` event inside a stream stands for (``error``: its ``error`` object)."""
    kind = error.get("type") if isinstance(error, dict) else None
    status = _STATUS_OF_TYPE.get(kind, 500) if isinstance(kind, str) else 500
    return _build(status, error, provider=provider, stage="stream", upstream_request_id=request_id)


def _build(
    status: int, error: object, *, provider: str, retry_after: float | None = None, **more: Any
) -> ProviderError:
    """``error`` is what the upstream said, an error object as a rule; ``more`` goes to every error."""
    found: dict[str, Any] = _without_keys(error) if isinstance(error, dict) else {}
    message = found.get("message")
    said = message if isinstance(message, str) else ""
    common: dict[str, Any] = {"provider": provider, "upstream_status": status, **more}
    if status in (401, 403):
        # The caller's key is fine: what failed is the operator's, and the details are not the caller's.
        common["upstream_headers"] = ()
        return AuthFailed(f"The upstream refused the gateway's own credentials (HTTP {status}).", **common)
    if said and isinstance(found.get("type"), str):
        common["upstream_error"] = found
    text = said[:MAX_MESSAGE] or f"The upstream answered HTTP {status}."
    if status == 402 or (status == 400 and _NO_CREDIT.search(said)):
        return Refused(text, status=402, code="insufficient_quota", type="insufficient_quota", **common)
    if status == 400:
        return (ContextTooLong if _TOO_LONG.search(said) else BadRequest)(text, **common)
    if status == 404:
        return ModelNotFound(_named(text), param="model", **common)
    if status == 429:
        return RateLimited(text, retry_after=retry_after, **common)
    if status in (503, 529):
        return Overloaded(text, retry_after=retry_after, **common)
    if status == 504:
        return Timeout(text, **common)
    if status >= 500:
        return UpstreamFailed(text, **common)
    if status >= 400:
        code = "request_too_large" if status == 413 else None
        return Refused(text, status=status, code=code, retryable=status in _PASSING, **common)
    return ProtocolError(f"The upstream answered HTTP {status}, which is no answer.", **common)


def _named(text: str) -> str:
    """A sentence for ``model: NAME``, which is all that Claude says of a model that is not there."""
    unknown = _UNKNOWN_MODEL.fullmatch(text)
    if unknown is None:
        return text
    return f"The model '{unknown[1]}' does not exist, or the gateway's key may not use it."


def _without_keys(value: Any) -> Any:
    """``value`` (parsed JSON) without anything that looks like a key of Anthropic's."""
    if isinstance(value, str):
        return _KEY.sub("sk-…", value)
    if isinstance(value, dict):
        return {name: _without_keys(item) for name, item in value.items()}
    return [_without_keys(item) for item in value] if isinstance(value, list) else value


def parse_retry_after(value: bytes | None) -> float | None:
    """Seconds in a ``Retry-After`` (a number or an HTTP date, RFC 9110 §10.2.3), within bounds."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if seconds == seconds else None
