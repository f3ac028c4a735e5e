"""What the gateway says about itself: metrics, and the description of its API."""

from __future__ import annotations

import asyncio
import time

from blacksheep import Content, Response

from ...ledger.spool import spool_dir
from ...ledger.status import Status, read_status
from ...observability.ledger import state_of
from .mounting import Admin, Refused, answer
from .rows import ledger_row
from .table import Call


async def metrics(admin: Admin, call: Call) -> Response:
    """Prometheus' text format, summed over all workers."""
    if admin.metrics is None:
        raise Refused(404, "metrics_off", "Metrics are off: PROMETHEUS_ENABLED=0.")
    # Summing the workers' files takes milliseconds: not on the loop that streams answers.
    body, content_type = await asyncio.to_thread(admin.metrics.render)
    return Response(200, None, Content(content_type.encode(), body))


async def ledger(admin: Admin, call: Call) -> Response:
    """How recording goes on this machine: what waits to be written, and what was lost or refused."""
    books = admin.settings.ledger
    if not books.enabled:
        return answer(ledger_row("off", Status()))
    status, memory = await asyncio.to_thread(lambda: (read_status(spool_dir(books)), admin.memory()))
    state = "never started"
    if status is not None:
        state = state_of(status, time.time(), memory)
    return answer(ledger_row("recording" if state == "ok" else state, status or Status(), memory))


async def describe(admin: Admin, call: Call) -> Response:
    """The OpenAPI description."""
    from .openapi import document
    from .routes import ROUTES

    return answer(document(ROUTES))
