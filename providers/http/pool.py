"""The connections of one origin."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque

from ..errors import Timeout, Unreachable
from .connection import Connection
from .dial import dial
from .request import Origin


class Pool:
    """Open connections of one origin, most recently used first, never more than ``limit``.

    A *slot* is the right to one open connection. It is taken before dialling and given back exactly
    once, by :meth:`lost` or by a dial that failed; whoever waits longest inherits it. Waiters exist
    only while every slot is taken and nothing is idle.
    """

    __slots__ = (
        "_context",
        "_idle",
        "_keepalive",
        "_limit",
        "_origin",
        "_sweeper",
        "_waiters",
        "closed",
        "loop",
        "open",
    )

    def __init__(
        self, origin: Origin, *, context: ssl.SSLContext | None, limit: int, keepalive: float
    ) -> None:
        self._origin = origin
        self._context = context
        self._limit = limit
        self._keepalive = keepalive
        self.loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        #: Each receives an idle connection, or None for a slot to dial under.
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self.closed = False
        #: Slots taken: connections that are open or being opened.
        self.open = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return sum(not waiter.done() for waiter in self._waiters)

    # -- getting one --------------------------------------------------------------------------------

    def take(self, now: float) -> Connection | None:
        """An idle connection, if there is one worth trying."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < self._keepalive:
                return connection
            connection.close()
        return None

    async def connect(self, timeout: float, total_at: float, *, fresh: bool = False) -> Connection:
        """A connection for a caller whom :meth:`take` could not serve; ``fresh`` insists on a new one.

        Raises ``Unreachable`` and ``Timeout`` (``connect``; ``total`` when that comes first), also while
        waiting for a slot.
        """
        due = self.loop.time() + timeout
        stage = "connect" if due <= total_at else "total"
        due = min(due, total_at)
        try:
            async with asyncio.timeout_at(None if due == math.inf else due):
                return await self._connect(fresh)
        except TimeoutError as exc:
            _, host, port = self._origin
            raise Timeout(f"no connection to {host}:{port} in time", stage=stage) from exc

    async def _connect(self, fresh: bool) -> Connection:
        while True:
            if self.closed:
                raise refused()
            if self.open < self._limit:
                self.open += 1
                return await self._dial()
            if self._idle:  # only a caller who wants a fresh one comes here
                self._idle.pop(0).close()
                continue
            connection = await self._wait()
            if connection is None:
                return await self._dial()
            if not fresh and connection.usable:
                return connection
            connection.close()

    async def _dial(self) -> Connection:
        """Dial under a slot that the caller has taken; the connection owns it from here on."""
        connection = Connection(self, self.loop)
        try:
            await dial(self._origin, connection, self._context)
        except BaseException:
            connection.drop()
            raise
        return connection

    async def _wait(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Served and cancelled in the same turn of the loop: somebody else shall have it.
                connection = waiter.result()
                if connection is None:
                    self._pass_slot_on()
                elif connection.usable:
                    self.release(connection)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    # -- giving it back -----------------------------------------------------------------------------

    def release(self, connection: Connection) -> None:
        """The exchange on ``connection`` is over and it can carry another."""
        if self.closed:
            connection.close()
            return
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
            return
        connection.idle_since = self.loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self._keepalive, self._sweep)

    def lost(self, connection: Connection) -> None:
        """``connection`` is closed (called once for each, by the connection)."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._pass_slot_on()

    def _pass_slot_on(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self.open -= 1

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _sweep(self) -> None:
        """Close what has been idle for too long; the oldest come first."""
        self._sweeper = None
        oldest_kept = self.loop.time() - self._keepalive + 0.001
        while self._idle and self._idle[0].idle_since <= oldest_kept:
            self._idle.pop(0).close()
        if self._idle:
            self._sweeper = self.loop.call_at(self._idle[0].idle_since + self._keepalive, self._sweep)

    def close(self) -> None:
        """Close what is idle and refuse who waits; what is at work closes when it is done."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(refused())
        while self._idle:
            self._idle.pop().close()


def refused() -> Unreachable:
    return Unreachable("the HTTP client is closed", code="upstream_client_closed", retryable=False)
