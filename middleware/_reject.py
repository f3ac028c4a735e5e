"""Refusals: one value that says what is wrong, one place that renders it in the caller's dialect.

A middleware never writes an error body itself: it builds a :class:`Rejection` and calls its
``on_reject`` argument, which turns that into an ASGI app. The default, :func:`reject_json`,
answers in OpenAI's envelope, or in Anthropic's on ``/v1/messages`` (each SDK parses only its own:
https://platform.openai.com/docs/guides/error-codes, https://platform.claude.com/docs/en/api/errors).
OpenAI's Responses have the envelope of chat completions, and another event for a stream that breaks off
(https://platform.openai.com/docs/api-reference/responses-streaming/response/failed).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from ._asgi import ASGIApp, Header, Receive, Scope, Send
from ._paths import canonical
from ._state import REFUSED, REQUEST_ID

Dialect = Literal["openai", "anthropic", "responses"]

#: What stops both SDKs, and programs that stand on them, from repeating what cannot succeed; they obey it
#: before their own rules (``_should_retry`` in the ``_base_client.py`` of each).
FINAL: Header = (b"x-should-retry", b"false")
#: ``sequence_number`` of an event that follows on others which nobody has counted: none can be above it.
_LAST_NUMBER = 2**31 - 1

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
    """Whose errors the caller's SDK understands: Anthropic's on ``/v1/messages`` and below it, those of
    OpenAI's Responses on ``/v1/responses``, OpenAI's everywhere else; with and without ``/v1``."""
    path = str(scope.get("path", ""))
    return _dialect(path) if len(path) <= _LONGEST else "openai"


#: Characters; longer paths are nobody's route, and must not fill the memory.
_LONGEST = 256


@lru_cache(maxsize=256)
def _dialect(path: str) -> Dialect:
    path = canonical(path).removeprefix("/v1")
    if path == "/messages" or path.startswith("/messages/"):
        return "anthropic"
    return "responses" if path == "/responses" or path.startswith("/responses/") else "openai"


def envelope(rejection: Rejection, dialect: Dialect, request_id: str | None = None) -> dict[str, Any]:
    """The error body of ``rejection`` in ``dialect``, ready for ``orjson.dumps``."""
    if dialect == "anthropic":
        if rejection.anthropic is not None:
            request_id = dict(rejection.headers).get(b"request-id", b"").decode("latin-1") or request_id
            return {"type": "error", "error": dict(rejection.anthropic), "request_id": request_id}
        kind = _ANTHROPIC_TYPES.get(
            rejection.status, "invalid_request_error" if rejection.status < 500 else "api_error"
        )
        message, place = rejection.message, rejection.param
        if place and "." in place and place not in message:
            message = f"{place}: {message}"  # as Claude's own say it: there is no field for it
        body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
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


def sse_error(
    rejection: Rejection, dialect: Dialect, request_id: str | None = None, *, first: bool = False
) -> bytes:
    """The event that ends a broken stream: the caller's SDK raises on it, and no ``[DONE]`` follows.

    ``first``: nothing of the stream has been sent. (OpenAI's SDK insists on a ``response.created``.)
    """
    if dialect == "responses":
        return _response_failed(rejection, request_id, first)
    body = orjson.dumps(envelope(rejection, dialect, request_id))
    return b"event: error\ndata: " + body + b"\n\n" if dialect == "anthropic" else b"data: " + body + b"\n\n"


def _response_failed(rejection: Rejection, request_id: str | None, first: bool) -> bytes:
    response: dict[str, Any] = {
        "id": f"resp_{request_id or 'failed'}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "failed",
        "error": {"code": rejection.code or rejection.type, "message": rejection.message},
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
    failed = _response_event("response.failed", 1 if first else _LAST_NUMBER, response)
    if not first:
        return failed
    return (
        _response_event("response.created", 0, {**response, "status": "in_progress", "error": None}) + failed
    )


def _response_event(kind: str, number: int, response: dict[str, Any]) -> bytes:
    event = {"type": kind, "sequence_number": number, "response": response}
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def reject_json(rejection: Rejection) -> ASGIApp:
    """An ASGI app that answers ``rejection`` as JSON in the dialect of the path."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state") or {}
        state[REFUSED] = ("gateway", rejection.code or rejection.type)
        body = orjson.dumps(envelope(rejection, dialect_of(scope), state.get(REQUEST_ID)))
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
