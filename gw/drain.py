"""SIGTERM: stop listening, let running answers finish, then end them honestly.

Granian either waits for running requests without limit or kills its workers without
``lifespan.shutdown``. So a worker takes SIGTERM itself: it marks itself draining, sets the
deadline, and sends itself SIGINT, on which Granian's own handler closes the listener and waits. At the
deadline every running request is ended; a stream ends with an error event, never as if complete.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from middleware.disconnect import InFlight

logger = logging.getLogger("gateway")


class Drain:
    """``draining`` is what ``/ready`` shows."""

    def __init__(self, seconds: float, in_flight: InFlight) -> None:
        self.draining = False
        self._seconds = seconds
        self._in_flight = in_flight

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take SIGTERM over. Call it when the server's own handlers are in place."""
        loop.add_signal_handler(signal.SIGTERM, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.draining:
            return
        self.draining = True
        loop.call_later(self._seconds, self._end)
        os.kill(os.getpid(), signal.SIGINT)

    def _end(self) -> None:
        if (count := self._in_flight.end_all()) > 0:
            logger.warning("drain time is over: ended %d running requests", count)
