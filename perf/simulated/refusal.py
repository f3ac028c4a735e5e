"""A refusal of the API: status, error type, message (https://platform.claude.com/docs/en/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

#: What the API says when it says nothing in particular.
DEFAULT_MESSAGES = {
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit.",
    500: "Internal server error",
    504: "The request timed out.",
    529: "Overloaded",
}


@dataclass(slots=True, frozen=True)
class Refusal:
    """Why a request is refused. ``details`` are for programs."""

    status: int
    type: str
    message: str
    details: Mapping[str, Any] | None = None

    def envelope(self, request_id: str | None = None) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        body: dict[str, Any] = {"type": "error", "error": error}
        if request_id is not None:
            body["request_id"] = request_id
        return body


class RefusedError(Exception):
    """Carries a :class:`Refusal` out of a check."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def invalid(message: str) -> RefusedError:
    """A 400 ``invalid_request_error``."""
    return RefusedError(Refusal(400, "invalid_request_error", message))


def refusal_of(status: int, message: str | None = None, error_type: str | None = None) -> Refusal:
    """The refusal that the API would give with ``status``."""
    fallback = "invalid_request_error" if status < 500 else "api_error"
    return Refusal(
        status,
        error_type or ERROR_TYPES.get(status, fallback),
        message or DEFAULT_MESSAGES.get(status, "Error"),
    )
