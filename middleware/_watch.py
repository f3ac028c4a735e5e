"""One request as :class:`~.disconnect.DisconnectMiddleware` watches it.

After ``watch_after`` seconds exactly one ``receive()`` is open on the server at any time:

- while the body is on its way, one message is read ahead and held for the application, which may not
  have asked yet (a GET handler never does) or may have stopped asking;
- behind the body, whoever calls ``receive()`` is given what the watch finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from ._asgi import Message, Receive, Send
from ._state import ANSWERED

Aborted = Literal["client_disconnect", "deadline", "write_timeout", "shutdown"]


class Watch:
    """One request's ``receive`` and ``send``, its timer and its one outstanding ``receive()``."""

    __slots__ = (
        "_ahead",
        "_asking",
        "_body_read",
        "_deadline_at",
        "_listening",
        "_loop",
        "_receive",
        "_send",
        "_state",
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
        "start",
    )

    def __init__(
        self,
        task: asyncio.Task[Any],
        receive: Receive,
        send: Send,
        state: dict[str, Any],
        deadline: float,
        write_timeout: float,
        watch_after: float,
    ) -> None:
        self._loop = loop = task.get_loop()
        now = loop.time()
        self._task = task
        self._receive = receive
        self._send = send
        self._state = state
        self._deadline_at = now + deadline
        self._write_timeout = write_timeout
        self._timer: asyncio.TimerHandle | None = loop.call_at(now + watch_after, self._tick)
        self._watching = False  # watch_after has passed
        self._asking = False  # the application is in the server's receive()
        self._body_read = False
        self._ahead: asyncio.Task[Message] | None = None  # a message of the body, held for the application
        self._listening: asyncio.Task[Message] | None = None
        self._waits_itself = False  # the request's own task is blocked in receive()
        #: Why the exchange is over before its time; None while it is not.
        self.aborted: Aborted | None = None
        #: The request's task has been cancelled by us, rather than told through ``receive()``.
        self.cancelled = False
        #: ... in the middle of a ``send()``.
        self.cut_write = False
        #: ``http.response.start``, once it has been sent.
        self.start: Message | None = None
        self.complete = False
        self._writing = 0.0  # loop.time() at which the send() in progress began; 0 when there is none

    # ---- the application's side

    async def receive(self) -> Message:
        if self._ahead is not None:
            message = await self._handed(self._ahead)
            self._ahead = None
        elif self._body_read:
            return await self._handed(self._listen())
        else:
            self._asking = True
            try:
                message = await self._receive()
            finally:
                self._asking = False
            if message["type"] == "http.request":
                self._body_read = not message.get("more_body", False)
            elif not self._has_all():
                # Found by the application itself, which is told so: no need to cancel it as well.
                self.aborted = self.aborted or "client_disconnect"
        if self._watching:
            self._watch()
        return message

    async def _handed(self, task: asyncio.Task[Message]) -> Message:
        """What the watch's ``receive()`` finds; who stops waiting for it does not stop the watch."""
        if asyncio.current_task() is not self._task:
            return await asyncio.shield(task)
        self._waits_itself = True
        try:
            return await asyncio.shield(task)
        finally:
            self._waits_itself = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if not message.get("more_body", False):
                # Before the write: a server may report the end of the exchange as a disconnect.
                self.complete = True
        elif message["type"] == "http.response.start":
            self.start = message
        self._writing = self._loop.time()
        try:
            await self._send(message)
        except OSError:
            # How a server with ASGI's HTTP spec 2.4 says that the client has gone.
            if message.get("body") or not self._was_answered():
                self.aborted = self.aborted or "client_disconnect"
                raise
        finally:
            self._writing = 0.0

    # ---- the watcher's side

    def _watch(self) -> None:
        """Have a ``receive()`` open, unless the application has."""
        if self.complete or self.aborted is not None:
            return
        if self._body_read:
            self._listen()
        elif self._ahead is None and not self._asking:
            self._ahead = self._loop.create_task(self._next())

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
        elif message["type"] == "http.disconnect" and not self._has_all():
            if self._waits_itself:
                self.aborted = self.aborted or "client_disconnect"
            else:
                self.abort("client_disconnect")
        return message

    def _has_all(self) -> bool:
        """Whether the client, who has gone, has all of the answer. Clients of event streams leave at the last
        event, and do not wait for the end of the body behind it (Codex, at ``response.completed``)."""
        self.complete = self.complete or (not self._writing and self._was_answered())
        return self.complete

    def _was_answered(self) -> bool:
        answered: Callable[[], bool] | None = self._state.get(ANSWERED)
        return answered is not None and self.start is not None and answered()

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
            self._watch()
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
        for task in (self._ahead, self._listening):
            if task is not None and not task.done():
                task.cancel()
        # The state holds the body, and that our receive(): they would wait for the garbage collector.
        self._state = {}


def is_event_stream(start: Message) -> bool:
    """True when a plain-text event can be appended to this response's body."""
    event_stream = False
    for name, value in start.get("headers", ()):
        lowered = name.lower()
        if lowered == b"content-type":
            event_stream = value.lower().startswith(b"text/event-stream")
        elif lowered in (b"content-encoding", b"content-length"):
            return False
    return event_stream
