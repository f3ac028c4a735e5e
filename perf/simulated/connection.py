"""One client connection: parses requests with httptools, plays programs onto the transport.

Callback style throughout: no task, no queue, no stream object per request, so that the simulation costs
little beside what it measures.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import Any, Protocol, cast

import httptools

from .api import MAX_BODY_BYTES
from .bills import Bills
from .ledger import Ledger, Received
from .program import REQUEST_ID, Action, Program, json_answer, refuse
from .refusal import refusal_of

#: l_onoff=1, l_linger=0: close() sends RST instead of FIN (socket(7)).
_LINGER_RESET = struct.pack("ii", 1, 0)


class Handler(Protocol):
    """What a connection needs from the API."""

    ledger: Ledger
    bills: Bills

    def handle(self, received: Received) -> Program: ...


class Connection(asyncio.Protocol):
    """Answers one request at a time; further pipelined ones wait their turn."""

    #: Number of the last request of this process; makes request ids.
    served = 0

    def __init__(self, api: Handler, open_connections: set[Connection]) -> None:
        self._api = api
        self._open = open_connections
        self._parser: Any = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Received, bool]] = deque()
        self._player: _Player | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._url = b""
        self.transport: asyncio.Transport

    # -- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._waiting.clear()
        if self._player is not None:
            self._player.client_closed()
            self._player = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer of HTTP/2 (h2c) is declined by going on in HTTP/1.1
        except httptools.HttpParserError:
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def pause_writing(self) -> None:
        if self._player is not None:
            self._player.pause()

    def resume_writing(self) -> None:
        if self._player is not None:
            self._player.resume()

    # -- httptools callbacks ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = {}
        self._body = []
        self._size = 0
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        before = self._headers.get(key)
        # RFC 9110 §5.3: what stands in several lines means the same as in one.
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        if "expect" in self._headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        Connection.served += 1
        body = self._body
        received = Received(
            self._parser.get_method().decode(),
            self._url.decode("latin-1"),
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            f"req_sim_{Connection.served:012d}",
        )
        if self._size > MAX_BODY_BYTES:
            received.status = 413
        self._waiting.append((received, self._parser.should_keep_alive()))
        if self._player is None:
            self._next()

    # -- answers ------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Answer the oldest request that waits."""
        while self._waiting and self._player is None and not self.transport.is_closing():
            received, keep_alive = self._waiting.popleft()
            if not received.path.startswith("/_sim/"):
                self._api.ledger.add(received)
            if received.status == 413:
                program, keep_alive = refuse(refusal_of(413)), False
            else:
                program = self._program(received)
            received.status = program.status
            player = _Player(self, program, received, keep_alive and program.keep_alive)
            self._player = player
            player.start()

    def _program(self, received: Received) -> Program:
        try:
            return self._api.handle(received)
        except Exception as error:
            return json_answer(500, {"error": f"bug in the simulation: {type(error).__name__}: {error}"})

    def over(self, received: Received, program: Program, *, left: bool = False) -> None:
        """Nothing more will be written; ``left``: because the client has gone."""
        self._api.bills.add(received, program, left=left)

    def finished(self, *, keep_alive: bool) -> None:
        """The player has written everything."""
        self._player = None
        if not keep_alive:
            self.transport.close()
        elif self._waiting:
            self._loop.call_soon(self._next)

    def reset(self) -> None:
        """Close with RST."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()

    def call_later(self, delay: float, callback: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback)


class _Player:
    """Plays one program. Stops while the client does not read."""

    __slots__ = ("_at", "_connection", "_keep_alive", "_paused", "_program", "_received", "_timer")

    def __init__(
        self, connection: Connection, program: Program, received: Received, keep_alive: bool
    ) -> None:
        self._connection = connection
        self._program = program
        self._received = received
        self._keep_alive = keep_alive
        self._at = 0
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._program.hold:
            self._timer = self._connection.call_later(self._program.hold, self._begin)
        else:
            self._begin()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._timer is None:
            self._play(b"")

    def client_closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._received.completed:
            self._received.closed_by_client_at = time.time()
            self._connection.over(self._received, self._program, left=True)

    def _begin(self) -> None:
        self._timer = None
        head = self._program.head
        # The id stands twice in an error: as a header and in the envelope.
        self._play(head.replace(REQUEST_ID, self._received.request_id.encode()))

    def _tick(self) -> None:
        self._timer = None
        if not self._paused:
            self._play(b"", waited=True)

    def _play(self, pending: bytes, *, waited: bool = False) -> None:
        """Write until a pause, a fault or the end; ``waited``: the next step's delay has passed."""
        connection, received, steps = self._connection, self._received, self._program.steps
        while self._at < len(steps):
            step = steps[self._at]
            if step.delay and not waited:
                break
            waited = False
            self._at += 1
            if step.action is not Action.WRITE:
                self._write(pending)
                self._fail(step.action)
                return
            received.events_written += step.events
            pending = pending + step.data if pending else step.data
        self._write(pending)
        if self._at >= len(steps):
            received.completed = True
            received.finished_at = time.time()
            connection.over(received, self._program)
            connection.finished(keep_alive=self._keep_alive)
        elif not self._paused:
            self._timer = connection.call_later(steps[self._at].delay, self._tick)

    def _write(self, data: bytes) -> None:
        if data:
            self._received.bytes_written += len(data)
            self._connection.transport.write(data)

    def _fail(self, action: Action) -> None:
        if action is Action.STALL:
            return  # until the client closes
        self._received.completed = True
        self._received.finished_at = time.time()
        self._connection.over(self._received, self._program)
        if action is Action.RESET:
            self._connection.reset()
        else:
            self._connection.transport.close()
