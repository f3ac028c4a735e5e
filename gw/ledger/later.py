"""The rows of requests that are over, a few milliseconds later and many at once.

Between two requests, what makes a row is not in the processor's caches: that takes 5.5 µs, and slows down
what comes after it. One after another they take 2 µs each (docs/decisions/007-speed.md). A worker that is
killed in the meantime leaves a flagged row for each of them, as for those that it was in the middle of.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from middleware._asgi import Scope
from middleware._state import REQUEST_ID
from middleware.telemetry import Record

logger = logging.getLogger("gateway")

#: Twenty rows at 4,000 requests a second; nobody sees a row sooner than the recorder looks for it.
SECONDS = 0.005

_Over = tuple[Scope, dict[str, Any], float, int, float, "float | None"]


class Later:
    """Called as :data:`middleware.telemetry.Record`, in an event loop; ``record`` is called with the same
    ``seconds`` later. What it raises is logged: no answer depends on it."""

    def __init__(self, record: Record, *, seconds: float = SECONDS) -> None:
        self._record = record
        self._seconds = seconds
        self._over: list[_Over] = []

    def __call__(
        self,
        scope: Scope,
        state: dict[str, Any],
        at: float,
        status: int,
        seconds: float,
        ttft_seconds: float | None,
    ) -> None:
        if not self._over:
            asyncio.get_running_loop().call_later(self._seconds, self.flush)
        self._over.append((scope, state, at, status, seconds, ttft_seconds))

    def flush(self) -> None:
        """Call ``record`` for all of them now: before that is closed."""
        over, self._over = self._over, []
        for request in over:
            try:
                self._record(*request)
            except Exception:  # the others do not depend on it
                logger.exception("request %s went unrecorded", request[1][REQUEST_ID])
