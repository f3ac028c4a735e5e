"""Bound the request body: its size, its encoding and the time that it may take to arrive.

Reads:   content-length, transfer-encoding, content-encoding; the whole body (shared, see ``_body.py``)
Writes:  400 (malformed length), 408 (too slow), 413 (too large), 415 (compressed)
Streams: the request body is buffered, up to the limit; the answer is not touched
Limits:  a GET, HEAD, OPTIONS, DELETE or TRACE that announces no body passes unread

Compressed bodies are refused because their size says nothing about what they expand to.
"""

from __future__ import annotations

import asyncio

from ._asgi import ASGIApp, Header, Receive, Scope, Send
from ._body import MAX_DIGITS, ClientDisconnected, read_body
from ._reject import OnReject, Rejection, reject_json

#: Methods whose requests have no content that means anything (RFC 9110 §9.3).
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})
_ANNOUNCING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


class BodyLimitMiddleware:
    """Read the body under limits, then call the app with a body that is already there.

    ``max_bytes`` defaults to Anthropic's own limit of 32 MB. A body has ``timeout`` seconds to arrive,
    and one more for every ``min_rate`` bytes that did: a large one on a slow line gets its time, one
    that trickles does not (0 makes the time fixed; a ``timeout`` of 0 or less switches it off).
    Refusals leave the rest of the body unread and close the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int = 32 * 1024 * 1024,
        timeout: float = 30.0,
        min_rate: int = 64 * 1024,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout = timeout if timeout > 0 else None
        self.min_rate = min_rate
        self.on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            if self._announces_body(scope):
                scope, receive = await self._read(scope, receive)
        except ClientDisconnected:
            return
        except _Refused as refused:
            close = scope.get("http_version", "1.1").startswith("1")
            rejection = Rejection(
                refused.status, str(refused), code=refused.code, headers=refused.headers, close=close
            )
            await self.on_reject(rejection)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _announces_body(self, scope: Scope) -> bool:
        expected = scope["method"] not in _BODYLESS
        length: bytes | None = None
        for name, value in scope["headers"]:
            if name not in _ANNOUNCING:
                continue
            if name == b"content-length":
                if length is not None or not value.isdigit():
                    raise _Refused(400, "invalid_content_length", "The Content-Length header is malformed.")
                length = value
                expected = expected or value != b"0"
            elif name == b"transfer-encoding":
                expected = True
            elif value.strip().lower() not in (b"", b"identity"):
                message = "Compressed request bodies are not accepted; send it without Content-Encoding."
                raise _Refused(
                    415, "unsupported_content_encoding", message, ((b"accept-encoding", b"identity"),)
                )
        if length is not None and (len(length) > MAX_DIGITS or int(length) > self.max_bytes):
            raise self.too_large()
        return expected

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        upload = _Upload(self)
        try:
            scope, receive, _ = await read_body(scope, receive, on_chunk=upload.grown)
        except asyncio.CancelledError:
            if upload.is_late():
                raise _Refused(408, "request_timeout", "The request body arrived too slowly.") from None
            raise
        finally:
            upload.close()
        return scope, receive

    def too_large(self) -> _Refused:
        """The refusal of a body over ``max_bytes``."""
        return _Refused(413, "request_too_large", f"The request body may be {self.max_bytes} bytes at most.")


class _Upload:
    """The arrival of one body: its size and its time. (``asyncio.timeout()`` costs five times as much.)"""

    __slots__ = ("_cancels", "_earned", "_ends", "_expired", "_limits", "_loop", "_task", "_timer")

    def __init__(self, limits: BodyLimitMiddleware) -> None:
        self._limits = limits
        self._earned = 0  # seconds; whole ones, so that a small body never moves the timer
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None
        task = asyncio.current_task()
        assert task is not None  # a coroutine of an ASGI server always runs in a task
        self._task = task
        self._cancels = task.cancelling()
        self._loop = loop = task.get_loop()
        self._ends = 0.0
        if limits.timeout is not None:
            self._ends = loop.time() + limits.timeout
            self._timer = loop.call_at(self._ends, self._tick)

    def grown(self, size: int) -> None:
        """``size`` bytes have arrived by now."""
        limits = self._limits
        if size > limits.max_bytes:
            raise limits.too_large()
        if limits.min_rate > 0:
            self._earned = size // limits.min_rate

    def _tick(self) -> None:
        due = self._ends + self._earned
        if self._loop.time() < due:  # has been earned since the timer was set
            self._timer = self._loop.call_at(due, self._tick)
        else:
            self._timer = None
            self._expired = True
            self._task.cancel()

    def is_late(self) -> bool:
        """Whether the cancellation that is under way is ours and nobody else's."""
        return self._expired and self._task.cancelling() <= self._cancels + 1

    def close(self) -> None:
        """Leave neither a timer nor a cancellation behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._expired:
            self._task.uncancel()


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers
