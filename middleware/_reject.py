"""Refusals: one value that says what is wrong, one place that renders it in the caller's dialect.

A middleware never writes an error body itself: it builds a :class:`Rejection` and calls its
``on_reject`` argument, which turns that into an ASGI app. The default, :func:`reject_json`,
answers in OpenAI's envelope, or in Anthropic's on ``/v1/messages`` (each SDK parses only its own:
https://platform.openai.com/docs/guides/error-codes, https://platform.claude.com/docs/en/api/errors).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from ._asgi import ASGIApp, Header, Receive, Scope, Send
from ._state import REQUEST_ID

Dialect = Literal["openai", "anthropic"]

#: Anthropic's ``error.type`` for each status (https://platform.claude.com/docs/en/api/errors).
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


@dataclass(slots=True, frozen=True)
class Rejection:
    """Why a request is not answered.

    ``type`` and ``code`` are OpenAI's terms (``invalid_request_error``, ``context_length_exceeded``);
    ``headers`` are added to the response, for example ``retry-after``. ``close`` asks the server to
    drop the connection afterwards (a body was left unread). ``anthropic`` is an error object that Anthropic
    itself has made, for its own envelope; without one it is made of the rest.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: tuple[Header, ...] = ()
    close: bool = False
    anthropic: Mapping[str, Any] | None = None


OnReject = Callable[[Rejection], ASGIApp]


def dialect_of(scope: Scope) -> Dialect:
    """Anthropic's envelope on ``/v1/messages`` and below it, OpenAI's everywhere else."""
    path = str(scope.get("path", ""))
    return "anthropic" if path == "/v1/messages" or path.startswith("/v1/messages/") else "openai"


def envelope(rejection: Rejection, dialect: Dialect, request_id: str | None = None) -> dict[str, Any]:
    """The error body of ``rejection`` in ``dialect``, ready for ``orjson.dumps``."""
    if dialect == "anthropic":
        if rejection.anthropic is not None:
            request_id = dict(rejection.headers).get(b"request-id", b"").decode("latin-1") or request_id
            return {"type": "error", "error": dict(rejection.anthropic), "request_id": request_id}
        kind = _ANTHROPIC_TYPES.get(
            rejection.status, "invalid_request_error" if rejection.status < 500 else "api_error"
        )
        body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": rejection.message}}
        if request_id:
            body["request_id"] = request_id
        return body
    return {
        "error": {
            "message": rejection.message,
            "type": rejection.type,
            "param": rejection.param,
            "code": rejection.code,
        }
    }


def sse_error(rejection: Rejection, dialect: Dialect, request_id: str | None = None) -> bytes:
    """The event that ends a broken stream: the caller's SDK raises on it, and no ``[DONE]`` follows."""
    body = orjson.dumps(envelope(rejection, dialect, request_id))
    return b"event: error\ndata: " + body + b"\n\n" if dialect == "anthropic" else b"data: " + body + b"\n\n"


def reject_json(rejection: Rejection) -> ASGIApp:
    """An ASGI app that answers ``rejection`` as JSON in the dialect of the path."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = (scope.get("state") or {}).get(REQUEST_ID)
        body = orjson.dumps(envelope(rejection, dialect_of(scope), request_id))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *rejection.headers,
        ]
        if rejection.close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": rejection.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def drained(on_reject: OnReject = reject_json, *, seconds: float = 5.0) -> OnReject:
    """``on_reject``, after whatever the client is still sending has been read and thrown away.

    A server that answers while megabytes are on their way closes the connection, and the client
    sees a reset instead of the answer (RFC 9112 §9.6; with Granian, http.client loses a 401 for an
    8 MB body every time). Nothing is kept, so this costs no memory; after ``seconds`` the client gets
    the answer anyhow. Must not be used once the body has been read: it would wait for more.
    """

    def reject(rejection: Rejection) -> ASGIApp:
        app = on_reject(rejection)

        async def drain_then_reject(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return
                        if not message.get("more_body", False):
                            break
            except TimeoutError:
                pass
            await app(scope, receive, send)

        return drain_then_reject

    return reject
