"""One HTTP/1.1 connection: an asyncio protocol around httptools, one exchange at a time.

What costs nothing per request is what is not done: one timer per connection, re-armed only when it
fires too early or too late; one future per real wait; no task, no lock, no stream object.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Protocol, cast

import httptools

from ..errors import ProtocolError, ProviderError
from .response import EngineResponse, Excess, StaleConnection

#: Bytes of unread body above which the socket is no longer read. A read takes everything, so the
#: low-water mark is zero.
HIGH_WATER = 256 * 1024
#: Bytes without a body byte among them: a head, interim answers, trailers, chunk extensions.
MAX_OVERHEAD = 64 * 1024
#: Bodies up to this size leave in one write together with their head: one system call, one segment.
_ONE_WRITE = 64 * 1024
#: Larger ones in slices, so that the transport never holds more than one of them.
_SLICE = 256 * 1024

_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Owner(Protocol):
    """What a connection tells the pool that it belongs to."""

    def release(self, connection: Connection) -> None:
        """The exchange is over and the connection can carry another."""
        ...

    def lost(self, connection: Connection) -> None:
        """The connection is closed. Called once."""
        ...


class Connection(asyncio.Protocol):
    """A transport, its parser and its timer. Has an :class:`Owner` until it is dropped."""

    __slots__ = (
        "_answered",
        "_gone",
        "_overhead",
        "_paused",
        "_pool",
        "_response",
        "_timer",
        "_transport",
        "_unread",
        "_unsent",
        "_used",
        "_write_paused",
        "idle_since",
        "keep_alive",
        "loop",
        "parser",
        "timer_at",
    )

    def __init__(self, pool: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self.loop = loop
        self.parser: httptools.HttpResponseParser | None = None
        self.keep_alive = False
        #: Loop time at which the response before was finished.
        self.idle_since = 0.0
        #: Loop time at which the timer fires; infinite without one.
        self.timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._response: EngineResponse | None = None
        self._answered = False
        self._used = False
        self._gone = False
        self._paused = False
        self._write_paused = False
        self._unsent = False
        self._unread = 0
        self._overhead = 0

    # -- an exchange --------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether an idle connection still looks open from here."""
        return not self._gone and self._transport is not None and not self._transport.is_closing()

    async def send(
        self, head: bytes, body: bytes, *, head_only: bool, first_byte: float, idle: float, total_at: float
    ) -> EngineResponse:
        """Write the request and wait for the response head.

        Raises ``Timeout``, ``ProtocolError``, and :class:`StaleConnection` when this connection had
        answered before and was closed without a byte of this answer.
        """
        transport = self._transport
        if transport is None or self._gone:
            raise ProtocolError("the upstream closed the connection at once", code="upstream_reset")
        response = EngineResponse(self, head_only, idle, total_at)
        self._response = response
        self.parser = parser = httptools.HttpResponseParser(response)
        # RFC 9112 §7.1.1 obliges a recipient to bear with blanks there, and old servers pad with them.
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._answered = False
        self._overhead = 0
        if len(body) <= _ONE_WRITE:
            transport.write(head + body)
        else:
            transport.write(head)
            await self._upload(transport, body, response, idle)
        await response.wait_for_head(first_byte)
        return response

    async def _upload(
        self, transport: asyncio.Transport, body: bytes, response: EngineResponse, idle: float
    ) -> None:
        """Write a large body as fast as the peer takes it; stop when it has answered already."""
        self._unsent = True
        view = memoryview(body)
        for start in range(0, len(view), _SLICE):
            transport.write(view[start : start + _SLICE])
            while self._write_paused and not response.settled:
                await response.wait(idle, "write")
            if response.settled:
                return
        self._unsent = False

    # -- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        response = self._response
        parser = self.parser
        if response is None or parser is None:
            self.drop()  # nobody asked: bytes after the end of a response
            return
        self._answered = True
        chunks = response.chunks
        before = len(chunks)
        try:
            parser.feed_data(data)
        except _PARSER_ERRORS as exc:
            if not response.complete:
                self._break_off(_as_protocol_error(exc))
                return
            self.keep_alive = False
        if response.complete:
            self._finish(response)
        elif len(chunks) == before:
            self._overhead += len(data)
            if self._overhead > MAX_OVERHEAD:
                self._break_off(ProtocolError("the upstream's response head or framing is too large"))
        elif not response.status:
            self._break_off(ProtocolError("the upstream sent an interim answer with a body"))
        else:
            self._overhead = 0
            self._unread += len(data)
            if self._unread > HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            response.wake()

    def eof_received(self) -> None:
        response = self._response
        if response is not None and response.delimited_by_close and self._is_farewell():
            self.keep_alive = False
            response.complete = True
            self._finish(response)
        else:
            self._lost(
                ProtocolError("the upstream closed before its answer ended", code="upstream_truncated")
            )

    def _is_farewell(self) -> bool:
        """Whether an end of file was meant as one. Over TLS only a close_notify is, else whoever sits on
        the path could shorten a body (RFC 9112 §9.8); asyncio reports a mere cut in the same way."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError:  # "want read": there was no close_notify to read
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            error = ProtocolError("the upstream closed before its answer ended", code="upstream_truncated")
        else:
            error = ProtocolError("the upstream reset the connection", code="upstream_reset")
            error.__cause__ = exc
        self._lost(error)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._response is not None:
            self._response.wake()

    # -- flow control -------------------------------------------------------------------------------

    def drained(self) -> None:
        """The reader has taken everything."""
        self._unread = 0
        if self._paused:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    # -- the end of an exchange, or of the connection ------------------------------------------------

    def _finish(self, response: EngineResponse) -> None:
        excess = response.finish()
        self._response = None
        self.parser = None
        self._unread = 0
        self._used = True
        if self.keep_alive and not excess and not self._unsent and not self._gone:
            if self._paused:
                self._resume()
            self._pool.release(self)
        else:
            self.close()

    def _lost(self, error: ProtocolError) -> None:
        if self._used and not self._answered and self._response is not None:
            response = self._response
            self.drop()
            response.fail(StaleConnection())
        else:
            self._break_off(error)

    def _break_off(self, error: ProviderError) -> None:
        response = self._response
        self.drop()
        if response is not None:
            response.fail(error)

    def close(self) -> None:
        """Close politely: over TLS a close_notify goes out, but nobody waits for the peer's."""
        if self._transport is not None and not self._gone:
            self._transport.close()
        self.drop()

    def drop(self) -> None:
        """Close at once and free the pool's slot. Idempotent."""
        if self._gone:
            return
        self._gone = True
        self._response = None
        self.parser = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._pool.lost(self)

    # -- time ---------------------------------------------------------------------------------------

    def arm(self, due: float) -> None:
        """Make the timer fire at loop time ``due``, earlier than it would have."""
        if self._timer is not None:
            self._timer.cancel()
        self.timer_at = due
        self._timer = self.loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.timer_at = math.inf
        response = self._response
        if response is None:
            return  # idle; the next exchange arms it again, the pool looks after expiry
        now = self.loop.time()
        # uvloop's clock ticks in milliseconds and may call a fraction of one too early.
        if now + 0.001 < response.due:
            self.arm(response.due)
        else:
            self._break_off(response.timed_out(now + 0.001))


def _as_protocol_error(exc: Exception) -> ProtocolError:
    """Our own refusal when a callback made it, else the parser's complaint."""
    if isinstance(exc.__context__, ProtocolError):
        return exc.__context__
    error = ProtocolError("the upstream's answer is not HTTP/1.1")
    if not isinstance(exc.__context__, Excess):
        error.__cause__ = exc
    return error
