"""The engine's response: what the parser calls, and what the caller reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import httptools

from ..errors import ProtocolError, Timeout
from .types import Header

#: A head with more fields than this is refused. Granian, hyper and llhttp's users stop at about 100.
MAX_HEADERS = 128
#: More interim answers (RFC 9110 §15.2) than this before the real one is a loop, not a server.
MAX_INTERIM = 16

_DEFAULT_READ_LIMIT = 32 * 1024 * 1024


class Excess(Exception):
    """Bytes that follow a finished response; stops the parser before it appends them to the body."""


class Carrier(Protocol):
    """What a response needs of the connection that it arrives on."""

    loop: asyncio.AbstractEventLoop
    parser: httptools.HttpResponseParser | None
    keep_alive: bool
    #: Loop time at which the connection's timer fires.
    timer_at: float

    def arm(self, due: float) -> None:
        """Make the timer fire at ``due``."""
        ...

    def drained(self) -> None:
        """Everything that had arrived was read."""
        ...

    def drop(self) -> None:
        """Close at once."""
        ...


class StaleConnection(Exception):
    """A reused connection was closed before it answered: the request may be sent again, once."""


class EngineResponse:
    """One answer on one connection, from the request's last byte to the body's.

    The parser writes into it directly: ``on_body`` *is* the buffer's ``append``, so that a body chunk
    costs no Python call. When the body is complete the response lets go of its connection and keeps
    only what has not been read.
    """

    __slots__ = (
        "_error",
        "_fields",
        "_head_only",
        "_idle",
        "_interim",
        "_stage",
        "_total_at",
        "_waiter",
        "attempts",
        "chunks",
        "complete",
        "connection",
        "due",
        "headers",
        "on_body",
        "status",
    )

    def __init__(self, connection: Carrier, head_only: bool, idle: float, total_at: float) -> None:
        self.status = 0
        self.attempts = 1
        self._fields: list[Header] = []
        self.headers: Sequence[Header] = self._fields
        self.chunks: list[bytes] = []
        self.on_body = self.chunks.append
        self.complete = False
        self.connection: Carrier | None = connection
        #: Loop time at which the connection's timer has to give up.
        self.due = total_at
        self._error: Exception | None = None
        self._head_only = head_only
        self._idle = idle
        self._interim = 0
        self._stage = "total"
        self._total_at = total_at
        self._waiter: asyncio.Future[None] | None = None

    # -- what the parser calls ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise Excess

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # afterwards these are trailers, which nobody here has a use for
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        connection = self.connection
        if connection is None or connection.parser is None or self.complete:
            raise Excess
        if self.chunks:
            raise ProtocolError("the upstream sent an interim answer with a body")
        if len(self._fields) > MAX_HEADERS:
            raise ProtocolError("the upstream's response head has too many fields")
        status = connection.parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status <= 101 and status != 100:
                raise ProtocolError("the upstream switched protocols unasked, or its status is no status")
            if self._interim > MAX_INTERIM:
                raise ProtocolError("the upstream sends nothing but interim answers")
            self._fields.clear()
            return
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                raise ProtocolError("the upstream used a transfer coding other than chunked")
        connection.keep_alive = connection.parser.should_keep_alive()
        self.status = status
        self.complete = self._head_only
        self.wake()

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True

    # -- what the connection calls ------------------------------------------------------------------

    @property
    def delimited_by_close(self) -> bool:
        """Whether the end of the connection is the end of this body (RFC 9112 §6.3, last rule)."""
        return bool(self.status) and not any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        )

    def finish(self) -> bool:
        """The body is complete; what is left to read is here. True when there was a body where none
        may be (HEAD), so that the connection's next byte would be anybody's guess."""
        self.connection = None
        excess = self._head_only and bool(self.chunks)
        if excess:
            self.chunks.clear()
        self.wake()
        return excess

    def fail(self, error: Exception) -> None:
        """The answer broke off; what had arrived may still be read, then ``error`` is raised."""
        self.connection = None
        if self._error is None:
            self._error = error
        self.wake()

    def timed_out(self, now: float) -> Timeout:
        stage = "total" if now >= self._total_at else self._stage
        return Timeout(f"the upstream took too long ({stage})", stage=stage)

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- waiting ------------------------------------------------------------------------------------

    def park(self, seconds: float, stage: str) -> asyncio.Future[None]:
        """What to await until :meth:`wake`, for ``seconds`` at most, while there is a connection. Call
        :meth:`unpark` behind it, whatever happened, and :meth:`abandon` when it was cancelled.

        Not a coroutine of its own: this is on the way of every event that arrives by itself.
        """
        if self._waiter is not None:
            raise RuntimeError("another task is already reading this response")
        connection = self.connection
        assert connection is not None
        loop = connection.loop
        self._stage = stage
        due = loop.time() + seconds
        if due > self._total_at:
            due = self._total_at
        self.due = due
        if due < connection.timer_at:
            connection.arm(due)
        self._waiter = waiter = loop.create_future()
        return waiter

    def unpark(self) -> None:
        self._waiter = None
        self.due = self._total_at

    async def wait(self, seconds: float, stage: str) -> None:
        """Sleep until :meth:`wake`, for ``seconds`` at most. Cancelled: the connection is dropped."""
        if self.connection is None:
            return
        waiter = self.park(seconds, stage)
        try:
            await waiter
        except BaseException:
            self.abandon()
            raise
        finally:
            self.unpark()

    async def wait_for_head(self, seconds: float) -> None:
        while not self.status:
            if self._error is not None:
                raise self._error
            await self.wait(seconds, "first_byte")

    @property
    def settled(self) -> bool:
        """Answered or broken: there is no point in sending more of the request."""
        return bool(self.status) or self._error is not None

    # -- the HttpResponse contract ------------------------------------------------------------------

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def ended(self) -> bool:
        return self.connection is None and self._error is None and not self.chunks

    async def read_some(self) -> bytes:
        chunks = self.chunks
        while True:
            connection = self.connection
            if chunks:
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                if connection is not None:
                    connection.drained()
                return data
            if self._error is not None:
                raise self._error.with_traceback(None)
            if connection is None:
                return b""
            waiter = self.park(self._idle, "idle")
            try:
                await waiter
            except BaseException:
                self.abandon()
                raise
            finally:
                self.unpark()

    async def read(self, limit: int = _DEFAULT_READ_LIMIT) -> bytes:
        parts: list[bytes] = []
        size = 0
        while data := await self.read_some():
            size += len(data)
            if size > limit:
                self.abandon()
                raise ProtocolError(
                    f"the upstream's answer exceeds {limit} bytes", code="upstream_too_large", retryable=False
                )
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abandon(self) -> None:
        """Drop the connection now, unless the body is complete. What was not read is gone, and a later
        read says so instead of looking like the end."""
        connection = self.connection
        if connection is not None:
            connection.drop()
        elif not self.chunks:
            return
        self.chunks.clear()
        self.fail(ProtocolError("the response was closed before its end", code="response_closed"))

    async def aclose(self) -> None:
        self.abandon()

    async def __aenter__(self) -> EngineResponse:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.abandon()
