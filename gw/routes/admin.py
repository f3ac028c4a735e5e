"""``/admin``: behind its own key. Here only the metrics; usage and projects join them."""

from __future__ import annotations

import asyncio

from blacksheep import Content, Request, Response

from middleware._metrics import Metrics

from ._http import Handler, guarded


def metrics_page(metrics: Metrics) -> Handler:
    """Prometheus' text format, summed over all workers."""

    async def handle(request: Request) -> Response:
        # Summing the workers' files takes milliseconds: not on the loop that streams answers.
        body, content_type = await asyncio.to_thread(metrics.render)
        return Response(200, None, Content(content_type.encode(), body))

    return guarded(handle)
