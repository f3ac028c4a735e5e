"""Refuse request heads that two HTTP implementations could read in two ways, or that are too large.

Reads:   method target, http version, headers
Writes:  400 for a missing, empty or repeated Host, a target that is not a path, a transfer coding other
         than chunked, or a length stated twice over; 431 for a head that is too large
Streams: nothing is buffered. Body: not read; a refusal closes the connection.
Limits:  sees what the server leaves of the head. Granian, for one, shows only the path of an
         absolute-form target, and already drops the length that stands beside a transfer coding

Its own middleware, not a part of ``body_limit``: it concerns requests without a body just as well.
"""

from __future__ import annotations

from ._asgi import ASGIApp, Receive, Scope, Send
from ._reject import OnReject, Rejection, reject_json

#: What a header adds to its name and value on the wire: ``": "`` and CR LF.
_PER_HEADER = 4
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})


class RequestGuardMiddleware:
    """Pass on only requests whose head can be read in one way (RFC 9112 §3.2, §6.1, §6.3).

    ``max_head_bytes`` bounds target and headers together. Servers bound each of them by itself or
    only their number: Granian accepts 100 headers, one of which may be 400 KB.
    """

    def __init__(
        self, app: ASGIApp, *, max_head_bytes: int = 32 * 1024, on_reject: OnReject = reject_json
    ) -> None:
        self.app = app
        self.max_head_bytes = max_head_bytes
        self.on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rejection = self._examine(scope)
        await (self.app if rejection is None else self.on_reject(rejection))(scope, receive, send)

    def _examine(self, scope: Scope) -> Rejection | None:
        headers = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        size += _PER_HEADER * len(headers)
        hosts = lengths = codings = 0
        host = coding = b""
        for name, value in headers:
            size += len(name) + len(value)
            if name in _FRAMING:
                if name == b"host":
                    host = value
                    hosts += 1
                elif name == b"content-length":
                    lengths += 1
                else:
                    coding = value
                    codings += 1

        if size > self.max_head_bytes:
            limit = f"The request target and headers may be {self.max_head_bytes} bytes in all."
            return _refuse(scope, 431, "request_header_fields_too_large", limit)
        if hosts > 1:
            return _refuse(scope, 400, "invalid_host", "The request has more than one Host header.")
        if not host and scope.get("http_version") == "1.1":
            return _refuse(scope, 400, "invalid_host", "The request has no Host header.")
        if not _is_path(scope):
            return _refuse(scope, 400, "invalid_target", "The request target must be a path.")
        if codings and (codings > 1 or coding.strip().lower() != b"chunked"):
            problem = "The only transfer coding accepted is chunked."
            return _refuse(scope, 400, "invalid_transfer_encoding", problem)
        if lengths > 1 or (lengths and codings):
            problem = "The request states the length of its body twice."
            return _refuse(scope, 400, "invalid_content_length", problem)
        return None


def _refuse(scope: Scope, status: int, code: str, message: str) -> Rejection:
    close = scope.get("http_version", "1.1").startswith("1")
    return Rejection(status, message, code=code, close=close)


def _is_path(scope: Scope) -> bool:
    if scope["path"][:1] == "/" and (scope.get("raw_path") or b"/")[:1] == b"/":
        return True
    return bool(scope["path"] == "*" and scope["method"] == "OPTIONS")
