"""Let nobody take a silent stream for a dead one: something is sent while the answer is on its way.

Reads:   the body of POSTs to the chat paths (shared, see ``_body.py``): whether it asks for a stream
Writes:  between the events of a stream, an SSE comment, or Anthropic's ``ping`` on its paths; before an
         answer has begun, ``200`` with ``text/event-stream``
Streams: passed through message by message, never buffered; of an answer that was begun here only an
         error is read whole
Limits:  once begun here, an answer has no status and no headers of its own any more: an error arrives as
         the error event of the dialect. Answers in one piece cannot be kept alive

Proxies and load balancers cut connections that are idle for 60 to 100 seconds, and clients lose patience
as well, while a local model that loads, or reads a long prompt, says nothing for minutes. Comments are
lines that every parser of event streams skips (https://html.spec.whatwg.org/multipage/server-sent-events.html,
"Authoring notes"); of pings there "may be any number" in Anthropic's streams
(https://platform.claude.com/docs/en/build-with-claude/streaming).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

import orjson

from ._asgi import ASGIApp, Message, Receive, Scope, Send
from ._body import BodyError, ClientDisconnected, read_body
from ._chat import STREAM_PATHS
from ._paths import canonical, remembered
from ._reject import Dialect, Rejection, dialect_of, sse_error
from ._state import FAILED, REQUEST_ID
from ._watch import is_event_stream

_log = logging.getLogger(__name__)

COMMENT = b": keep-alive\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'

#: How often the clock is looked at while an interval passes.
_LOOKS = 4
#: Looks that are never reached: a send is going on, or the answer is not to be kept alive.
_NEVER = -(10**9)
#: No error of ours is as long; of a longer one, nothing but its status is told.
_MAX_ERROR = 256 * 1024

#: no-transform: a proxy that compresses would hold events back; x-accel-buffering: nginx's own switch.
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_BEGIN: Message = {"type": "http.response.start", "status": 200, "headers": _HEADERS}
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")


class KeepAliveMiddleware:
    """Sends something whenever an answer that is to be streamed has been silent for ``interval`` seconds
    (at the latest; a quarter of it sooner at the earliest).

    ``paths``: where streams are asked for, with ``"stream": true`` in a JSON body.
    """

    def __init__(
        self, app: ASGIApp, *, interval: float = 15.0, paths: Collection[str] = STREAM_PATHS
    ) -> None:
        if not interval > 0:
            raise ValueError("the interval of keep-alives must be above 0 seconds")
        self.app = app
        self._pause = interval / _LOOKS
        covered = frozenset(map(canonical, paths))
        self._covers = remembered(lambda path: canonical(path) in covered)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self._covers(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            scope, receive, body = await read_body(scope, receive)
            value = body.json()
        except ClientDisconnected:
            return
        except BodyError:
            value = None  # somebody below answers that
        if not isinstance(value, dict) or value.get("stream") is not True:
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._pause)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            if not answer.begun_here:
                raise
            _log.exception("unhandled error, request %s", scope["state"].get(REQUEST_ID))
        finally:
            if (pinging := answer.close()) is not None:
                await asyncio.wait({pinging})
        if answer.begun_here:
            await answer.finish()


class _Answer:
    """One answer on its way. What is sent from here never meets what the application sends."""

    __slots__ = (
        "_before",
        "_error",
        "_gated",
        "_last",
        "_late",
        "_loop",
        "_open",
        "_pause",
        "_ping",
        "_pinging",
        "_scope",
        "_send",
        "_silent",
        "_timer",
        "begun_here",
    )

    def __init__(self, scope: Scope, send: Send, pause: float) -> None:
        self._scope = scope
        self._send = send
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(pause, self._look)
        self._silent = 0  # looks since the last message
        self._ping = PING if dialect_of(scope) == "anthropic" else COMMENT
        self._pinging: asyncio.Task[None] | None = None
        self._open = False  # the application's own messages go out as they come
        self._gated = True  # something has to be done before one does
        #: The latest two messages that went out.
        self._last: Message | None = None
        self._before: Message | None = None
        self._late: Message | None = None  # the start of an answer that was begun here
        self._error = b""
        #: True while the answer that was begun here is not the application's yet.
        self.begun_here = False

    # ---- the application's side

    async def send(self, message: Message) -> None:
        if self._gated:
            if self._pinging is not None:
                await self._pinging  # and fail as it does: the client has gone
            if not self._open:
                opened = self._opening(message)
                if opened is None:
                    return
                message = opened
            self._gated = not self._open
        self._before = self._last
        self._last = message
        self._silent = _NEVER
        await self._send(message)
        self._silent = 0

    def _opening(self, message: Message) -> Message | None:
        """What goes out of a message before the answer is an open stream; None: nothing."""
        kind = message["type"]
        if not self.begun_here:
            if kind == "http.response.start":
                self._open = True
                if not is_event_stream(message):
                    self._timer.cancel()
            return message
        if kind == "http.response.start":
            if message["status"] == 200 and is_event_stream(message):
                self._open, self.begun_here = True, False
            else:
                self._late = message
        elif kind == "http.response.body" and len(self._error) <= _MAX_ERROR:
            self._error += message.get("body", b"")
        return None

    # ---- the clock's side

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._look)
        self._silent += 1
        if self._silent >= _LOOKS and self._between_events():
            self._silent = _NEVER
            self._gated = True
            self._pinging = self._loop.create_task(self._keep_alive())

    def _between_events(self) -> bool:
        last = self._last
        if not self._open or last is None or last["type"] == "http.response.start":
            return True
        if not last.get("more_body", False):
            return False
        end = bytes(last.get("body", b"")[-4:])
        if len(end) < 4 and self._before is not None:
            end = bytes(self._before.get("body", b"")[-4:]) + end
        return not end or end.endswith(_BLANK_LINES)

    async def _keep_alive(self) -> None:
        if not self._open and not self.begun_here:
            self.begun_here = True
            self._scope["state"][FAILED] = self._failed
            await self._send(_BEGIN)
        self._last = {"type": "http.response.body", "body": self._ping, "more_body": True}
        await self._send(self._last)
        self._silent = 0
        self._pinging = None

    # ---- the end

    def _failed(self, code: str, message: str) -> bytes:
        """The event that ends a stream of which nothing but signs of life has been sent."""
        scope = self._scope
        rejection = Rejection(502, message, code=code)
        return (
            sse_error(rejection, "responses", scope["state"].get(REQUEST_ID), first=True)
            if dialect_of(scope) == "responses"
            else b""
        )

    def close(self) -> asyncio.Task[None] | None:
        """Leave no timer on the loop; what is left there is the returned task, which is about to end."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging.add_done_callback(_forget)
        return self._pinging

    async def finish(self) -> None:
        """End a stream that was begun here and in whose place the application answered something else."""
        dialect = dialect_of(self._scope)
        event = late_error(self._late, self._error, dialect, self._scope["state"].get(REQUEST_ID))
        await self._send({"type": "http.response.body", "body": event, "more_body": False})


def _forget(pinging: asyncio.Task[None]) -> None:
    """Nobody else asks why it failed: if the client has gone, the server knows."""
    if not pinging.cancelled():
        pinging.exception()


def late_error(start: Message | None, body: bytes, dialect: Dialect, request_id: str | None) -> bytes:
    """The event that tells the client of a stream what it would have been told by an answer of ``start`` and
    ``body``; None: there was no answer."""
    status = 500 if start is None else start["status"]
    told = _told(body)
    if told is None or status < 400:
        nothing = Rejection(502, "The answer is no event stream.", type="api_error", code="no_event_stream")
        failed = Rejection(status, "The gateway failed to answer.", type="api_error", code="internal_error")
        return sse_error(nothing if status < 400 else failed, dialect, request_id, first=True)
    if dialect == "responses":
        error = told["error"]
        code = error.get("code") or error.get("type") or "api_error"
        rejection = Rejection(status, str(error.get("message")), code=str(code))
        return sse_error(rejection, dialect, request_id, first=True)
    data = b"data: " + orjson.dumps(told) + b"\n\n"
    return b"event: error\n" + data if dialect == "anthropic" else data


def _told(body: bytes) -> dict[str, Any] | None:
    """An error in an envelope, if ``body`` is one."""
    try:
        value = orjson.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("error"), dict) else None
