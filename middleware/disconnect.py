"""Stop working when nobody waits for the answer: client gone, deadline passed, reader stuck.

Reads:   ``receive()`` on the application's behalf, once it has read the body itself
Writes:  ``state["gateway.aborted"]``; the 504 or the stream's last event when the deadline passes
Streams: passed through message by message, never buffered
Limits:  asyncio servers only. A client that sends stray bytes after its request hides its departure
         from the server (Granian, uvicorn): the deadline ends such a request, and so does the first
         write that fails. Cancelling reaches whatever the application awaits, not its threads.

Servers report a departure only to whoever calls ``receive()``; Granian, for one, neither cancels the
application nor fails its ``send()``. So after a short while (``watch_after``; most refusals and cache
hits are over by then and cost one timer) this middleware keeps exactly one ``receive()`` open:

- the application has read its body: the watch starts at once, and an application that goes on
  calling ``receive()`` is given what the watch finds;
- it never asked (a GET handler): the watch reads the first message and holds it for the application;
- it is in the middle of reading: the application itself will see the departure; nothing is started.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from ._asgi import ASGIApp, Message, Receive, Scope, Send, with_state
from ._reject import OnReject, Rejection, dialect_of, reject_json, sse_error
from ._state import ABORTED, REQUEST_ID

Aborted = Literal["client_disconnect", "deadline", "write_timeout", "shutdown"]

_log = logging.getLogger(__name__)

#: Seconds to wait for room to write the event that ends a stream at its deadline.
_LAST_WORD = 5.0


class RequestAborted(Exception):
    """Raised to the server when an answer that has begun cannot be ended honestly, so that the
    connection is dropped and a truncated answer is never taken for a whole one."""


class InFlight:
    """The requests that run at this moment, so that whoever stops the server can end them."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: set[_Watch] = set()

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watch: _Watch) -> None:
        self._watches.add(watch)

    def discard(self, watch: _Watch) -> None:
        self._watches.discard(watch)

    def end_all(self) -> int:
        """End every request as at its deadline, with 503 ``shutting_down``; how many there were."""
        running = [watch for watch in self._watches if not watch.complete]
        for watch in running:
            watch.abort("shutdown")
        return len(running)


class DisconnectMiddleware:
    """Cancels the work below when its client has gone, and bounds how long it may take.

    ``deadline``: seconds for the whole request, ``None`` for no bound. Before the answer has begun the
    client gets 504 ``deadline_exceeded``; an event stream ends with an error event and without
    ``[DONE]``; anything else is broken off by raising :class:`RequestAborted`.
    ``write_timeout``: seconds that one ``send()`` may block on a client that does not read.
    ``watch_after``: seconds before a departure is looked for. ``in_flight``: a register that every
    running request is kept in, for ending them all when the server stops.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        deadline: float | None = 600.0,
        write_timeout: float = 60.0,
        watch_after: float = 0.02,
        in_flight: InFlight | None = None,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._in_flight = InFlight() if in_flight is None else in_flight
        self._deadline = float("inf") if deadline is None else deadline
        self._write_timeout = write_timeout
        self._watch_after = min(watch_after, self._deadline)
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None  # a coroutine of an ASGI server always runs in a task
        if type(task).cancel is not asyncio.Task.cancel:
            # Granian's "rust" tasks ignore cancel(): give the request a task that does not.
            await asyncio.create_task(self(scope, receive, send))
            return
        scope, state = with_state(scope)
        watch = _Watch(task, receive, send, self._deadline, self._write_timeout, self._watch_after)
        cancels = task.cancelling()
        self._in_flight.add(watch)
        try:
            await self.app(scope, watch.receive, watch.send)
        except asyncio.CancelledError:
            if not watch.cancelled or task.cancelling() > cancels + 1:
                raise  # somebody else's, for example the server's at shutdown
        except Exception:
            if watch.aborted is None:
                raise
            _log.debug("error below after %s", watch.aborted, exc_info=True)
        finally:
            self._in_flight.discard(watch)
            watch.close()
            if watch.aborted is not None:
                state[ABORTED] = watch.aborted
            if watch.cancelled:
                task.uncancel()
        if watch.aborted == "write_timeout" or (
            watch.aborted in ("deadline", "shutdown") and not watch.complete
        ):
            await self._give_up(watch, scope, receive, send)

    async def _give_up(self, watch: _Watch, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a client that is still there why it gets no (more) answer."""
        rejection = self._reason(watch)
        if not watch.started:
            await self._on_reject(rejection)(scope, receive, send)
            return
        if watch.event_stream and not watch.cut_write:
            # The blank line first: whatever event the application was in the middle of ends here.
            event = b"\n\n" + sse_error(rejection, dialect_of(scope), scope["state"].get(REQUEST_ID))
            try:
                async with asyncio.timeout(_LAST_WORD):
                    await send({"type": "http.response.body", "body": event, "more_body": False})
                return
            except TimeoutError:
                pass
        raise RequestAborted(f"{watch.aborted}: answer broken off")

    def _reason(self, watch: _Watch) -> Rejection:
        if watch.aborted == "shutdown":
            return Rejection(
                503,
                "The gateway is shutting down; send the request again.",
                type="api_error",
                code="shutting_down",
                headers=((b"retry-after", b"1"),),
            )
        seconds = self._deadline if watch.aborted == "deadline" else self._write_timeout
        return Rejection(
            504,
            f"The gateway gave up on this request after {seconds:g} seconds.",
            type="timeout_error",
            code="deadline_exceeded",
        )


class _Watch:
    """One request's ``receive`` and ``send``, its timer and its one outstanding ``receive()``."""

    __slots__ = (
        "_asked",
        "_body_read",
        "_deadline_at",
        "_first",
        "_listening",
        "_loop",
        "_receive",
        "_send",
        "_task",
        "_timer",
        "_waits_itself",
        "_watching",
        "_write_timeout",
        "_writing",
        "aborted",
        "cancelled",
        "complete",
        "cut_write",
        "event_stream",
        "started",
    )

    def __init__(
        self,
        task: asyncio.Task[Any],
        receive: Receive,
        send: Send,
        deadline: float,
        write_timeout: float,
        watch_after: float,
    ) -> None:
        self._loop = loop = task.get_loop()
        now = loop.time()
        self._task = task
        self._receive = receive
        self._send = send
        self._deadline_at = now + deadline
        self._write_timeout = write_timeout
        self._timer: asyncio.TimerHandle | None = loop.call_at(now + watch_after, self._tick)
        self._watching = False  # watch_after has passed
        self._asked = False  # the application has called receive()
        self._body_read = False
        self._first: asyncio.Task[Message] | None = None
        self._listening: asyncio.Task[Message] | None = None
        self._waits_itself = False  # the request's own task is blocked in receive()
        #: Why the exchange is over before its time; None while it is not.
        self.aborted: Aborted | None = None
        #: The request's task has been cancelled by us, rather than told through ``receive()``.
        self.cancelled = False
        #: ... in the middle of a ``send()``.
        self.cut_write = False
        self.started = False
        self.complete = False
        self.event_stream = False
        self._writing = 0.0  # loop.time() at which the send() in progress began; 0 when there is none

    # ---- the application's side

    async def receive(self) -> Message:
        self._asked = True
        if self._first is not None:
            message = await asyncio.shield(self._first)
            self._first = None
            return message
        if self._body_read:
            own = asyncio.current_task() is self._task
            self._waits_itself = own
            try:
                return await asyncio.shield(self._listen())
            finally:
                if own:
                    self._waits_itself = False
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_read = not message.get("more_body", False)
            if self._body_read and self._watching and not self.complete:
                self._listen()
        elif not self.complete:
            # Found by the application itself, which is told so: no need to cancel it as well.
            self.aborted = "client_disconnect"
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if not message.get("more_body", False):
                # Before the write: a server may report the end of the exchange as a disconnect.
                self.complete = True
        elif message["type"] == "http.response.start":
            self.started = True
            self.event_stream = _is_event_stream(message)
        self._writing = self._loop.time()
        try:
            await self._send(message)
        except OSError:
            # How a server with ASGI's HTTP spec 2.4 says that the client has gone.
            self.aborted = self.aborted or "client_disconnect"
            raise
        finally:
            self._writing = 0.0

    # ---- the watcher's side

    def _listen(self) -> asyncio.Task[Message]:
        if self._listening is None:
            self._listening = self._loop.create_task(self._next())
        return self._listening

    async def _next(self) -> Message:
        """The server's next message. (A coroutine, because servers return bare awaitables.)"""
        try:
            message = await self._receive()
        except Exception:  # noqa: BLE001 - a transport that cannot be read has no client behind it
            message = {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._body_read = not message.get("more_body", False)
            if self._body_read:
                self._listen()
        elif message["type"] == "http.disconnect" and not self.complete:
            if self._waits_itself:
                self.aborted = self.aborted or "client_disconnect"
            else:
                self.abort("client_disconnect")
        return message

    def _tick(self) -> None:
        """Look at the clock; the next look is when the earliest bound could be passed."""
        self._timer = None
        now = self._loop.time()
        due = (self._writing or now) + self._write_timeout
        if self._writing and now >= due:
            self.abort("write_timeout")
            return
        if self.complete:
            if not self._writing:
                return  # what the application does after its answer is its own affair
        elif now >= self._deadline_at:
            self.abort("deadline")
            return
        else:
            due = min(due, self._deadline_at)
        if not self._watching:
            self._watching = True
            if self._body_read:
                self._listen()
            elif not self._asked:
                self._first = self._loop.create_task(self._next())
        self._timer = self._loop.call_at(due, self._tick)

    def abort(self, why: Aborted) -> None:
        """Cancel the work below, once; what happens then depends on ``why``."""
        if self.aborted is None:
            self.aborted = why
            self.cancelled = True
            self.cut_write = bool(self._writing)
            self._task.cancel()

    def close(self) -> None:
        """Nothing of ours is left on the loop: no timer, no pending ``receive()``."""
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._first, self._listening):
            if task is not None and not task.done():
                task.cancel()


def _is_event_stream(start: Message) -> bool:
    """True when a plain-text event can be appended to this response's body."""
    event_stream = False
    for name, value in start.get("headers", ()):
        lowered = name.lower()
        if lowered == b"content-type":
            event_stream = value.lower().startswith(b"text/event-stream")
        elif lowered in (b"content-encoding", b"content-length"):
            return False
    return event_stream
