"""What can go wrong between the gateway and an upstream.

    ProviderError                 (status, code) that the caller is shown
    ├── BadRequest           4xx  the upstream refused this request; retrying changes nothing
    │   ├── ContextTooLong   400  the prompt does not fit the model
    │   ├── ModelNotFound    404
    │   └── Refused          402 / 413 / 409 … kept as the upstream said it
    ├── AuthFailed           502  the upstream refused the *gateway's* key: never shown as 401
    ├── RateLimited          429  carries retry_after
    ├── Overloaded           503  the upstream said 529 / 503 or sent overloaded_error in a stream
    ├── UpstreamFailed       502  the upstream answered 5xx
    ├── Unreachable          502  DNS, connect or TLS failed: no byte of the request was processed
    ├── Timeout              504  connect, first byte, idle or total
    └── ProtocolError        502  reset, truncated or malformed answer
    NotConfigured            500  the operator has not set the variable that this provider needs

One place (``gw/errors.py``) renders these; nothing else builds envelopes from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ProviderError(Exception):
    """Base of the tree.

    ``status`` is the HTTP status for the caller. ``code`` is a stable machine-readable name.
    ``stage`` says where it broke (``connect``, ``dns``, ``tls``, ``first_byte``, ``idle``, ``total``,
    ``read``, ``write``, ``response``, ``stream``) and becomes a metric label. ``retryable`` is about
    the *upstream*: whether the same request may succeed when sent again. ``retry_after`` is in seconds.
    ``upstream_status`` is what the upstream really said.

    ``upstream_error`` is the upstream's error object and ``upstream_headers`` are those of its headers that
    are a caller's business, where it spoke Anthropic's dialect: callers of that dialect get them verbatim. A
    translation gives the error object that Anthropic would give, where its SDK acts on more than words.
    """

    default_status: ClassVar[int] = 502
    default_code: ClassVar[str] = "upstream_error"
    default_type: ClassVar[str] = "api_error"
    default_retryable: ClassVar[bool] = False
    default_stage: ClassVar[str] = "response"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        stage: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        upstream_status: int | None = None,
        upstream_request_id: str | None = None,
        upstream_error: Mapping[str, Any] | None = None,
        upstream_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.status = self.default_status if status is None else status
        self.code = self.default_code if code is None else code
        self.type = self.default_type if type is None else type
        self.param = param
        self.stage = self.default_stage if stage is None else stage
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.upstream_status = upstream_status
        self.upstream_request_id = upstream_request_id
        self.upstream_error = upstream_error
        self.upstream_headers = upstream_headers
        #: Times that the request was sent that failed so.
        self.attempts = 1

    def sign(self, provider: str, upstream_request_id: str | None = None) -> None:
        """Say whose failure it is, where whoever raised it could not know."""
        self.provider = self.provider or provider
        self.upstream_request_id = self.upstream_request_id or upstream_request_id


class BadRequest(ProviderError):
    """The request cannot be answered as it stands (also raised by our own translation)."""

    default_status = 400
    default_code = "invalid_request"
    default_type = "invalid_request_error"


class ContextTooLong(BadRequest):
    """The prompt is longer than the model's context window."""

    default_code = "context_length_exceeded"


class ModelNotFound(BadRequest):
    """The upstream does not know the model."""

    default_status = 404
    default_code = "model_not_found"


class Refused(BadRequest):
    """A 4xx that is passed on with its own status (402, 403 on content, 409, 413…)."""


class AuthFailed(ProviderError):
    """The upstream refused the gateway's credentials. The caller's key is fine, so never 401."""

    default_code = "upstream_auth"


class RateLimited(ProviderError):
    """The upstream's rate limit; ``retry_after`` is the upstream's own figure."""

    default_status = 429
    default_code = "rate_limit_exceeded"
    default_type = "rate_limit_error"
    default_retryable = True


class Overloaded(ProviderError):
    """The upstream is up but has no capacity (Anthropic 529, Ollama 503)."""

    default_status = 503
    default_code = "upstream_overloaded"
    default_retryable = True


class UpstreamFailed(ProviderError):
    """The upstream answered 5xx."""

    default_code = "upstream_error"
    default_retryable = True


class Unreachable(ProviderError):
    """No connection could be made; nothing was processed, so a retry is always safe."""

    default_code = "upstream_connect"
    default_retryable = True
    default_stage = "connect"


class Timeout(ProviderError):
    """The upstream took longer than the time-out named by ``stage``."""

    default_status = 504
    default_code = "upstream_timeout"
    default_type = "timeout_error"
    default_retryable = True
    default_stage = "total"


class ProtocolError(ProviderError):
    """The answer broke off or made no sense: reset, truncation, bad HTTP, SSE, JSON or UTF-8."""

    default_code = "upstream_protocol"
    default_retryable = True
    default_stage = "read"


class NotConfigured(ProviderError):
    """A provider is asked for that the operator has not set up; the message names the variable."""

    default_status = 500
    default_code = "provider_not_configured"


def wrong_content_type(
    kind: bytes | None, wanted: bytes, *, provider: str, upstream_request_id: str | None = None
) -> ProtocolError:
    """The failure of an answer of the content type ``kind`` where ``wanted`` was asked for."""
    shown = (kind or b"").decode("latin-1")[:80] or "nothing"
    return ProtocolError(
        f"The upstream answered with {shown} instead of {wanted.decode()}.",
        provider=provider,
        code="upstream_content_type",
        stage="response",
        upstream_request_id=upstream_request_id,
    )
