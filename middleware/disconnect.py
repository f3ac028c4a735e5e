"""Stop working when nobody waits for the answer: client gone, deadline passed, reader stuck.

Reads:   ``receive()`` on the application's behalf, once it has read the body itself;
         ``state["gateway.answered"]``: a client that leaves when it has everything has not left early;
         ``state["gateway.failed"]``: how a stream ends, where that is told by who has written it
Writes:  ``state["gateway.aborted"]``; the 504 or the stream's last event when the deadline passes
Streams: passed through message by message, never buffered
Limits:  asyncio servers only. A client that sends stray bytes after its request hides its departure
         from Granian until something is written to it; a request that writes nothing is ended by the
         deadline. Cancelling reaches whatever the application awaits, not its threads.

Servers report a departure only to whoever calls ``receive()``; Granian, for one, neither cancels the
application nor fails its ``send()``. So after a short while (``watch_after``; quick answers are
over by then and cost one timer) one ``receive()`` is kept open all the time: see ``_watch.py``.
"""

from __future__ import annotations

import asyncio
import logging

from ._asgi import ASGIApp, Receive, Scope, Send, with_state
from ._reject import FINAL, OnReject, Rejection, dialect_of, reject_json, sse_error
from ._state import ABORTED, FAILED, REQUEST_ID, Failed
from ._watch import Watch, is_event_stream

_log = logging.getLogger(__name__)

#: Seconds to wait for room to write the event that ends a stream at its deadline.
_LAST_WORD = 5.0


def _last_event(rejection: Rejection, scope: Scope) -> bytes:
    """What ends a stream that is broken off."""
    state = scope["state"]
    failed: Failed | None = state.get(FAILED)
    event = failed(rejection.code or rejection.type, rejection.message) if failed is not None else b""
    return event or sse_error(rejection, dialect_of(scope), state.get(REQUEST_ID))


class RequestAborted(Exception):
    """Raised to the server when an answer that has begun cannot be ended honestly, so that the
    connection is dropped and a truncated answer is never taken for a whole one."""


class InFlight:
    """The requests that run at this moment, so that whoever stops the server can end them."""

    __slots__ = ("_watches", "add", "discard")

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self.add = self._watches.add
        self.discard = self._watches.discard

    def __len__(self) -> int:
        return len(self._watches)

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
        watch_after: float = 0.1,
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
        watch = Watch(task, receive, send, state, self._deadline, self._write_timeout, self._watch_after)
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

    async def _give_up(self, watch: Watch, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a client that is still there why it gets no (more) answer."""
        rejection = self._reason(watch)
        if watch.start is None:
            await self._on_reject(rejection)(scope, receive, send)
            return
        if is_event_stream(watch.start) and not watch.cut_write:
            # The blank line first: whatever event the application was in the middle of ends here.
            event = b"\n\n" + _last_event(rejection, scope)
            try:
                async with asyncio.timeout(_LAST_WORD):
                    await send({"type": "http.response.body", "body": event, "more_body": False})
                return
            except TimeoutError:
                pass
        raise RequestAborted(f"{watch.aborted}: answer broken off")

    def _reason(self, watch: Watch) -> Rejection:
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
            headers=(FINAL,),  # the next attempt would take as long, at the same price
        )
