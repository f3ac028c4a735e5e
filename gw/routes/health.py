"""``/live``, ``/ready``, ``/health`` and ``/api/hello``: no key needed, nothing secret told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from blacksheep import Request, Response

from .. import __version__
from ..drain import Drain
from ._http import Handler, json_response


def live() -> Handler:
    """The process answers: 200 at once, whatever the upstreams do."""

    async def handle(request: Request) -> Response:
        return json_response({"status": "live"})

    return handle


def ready(drain: Drain) -> Handler:
    """Send traffic here? 503 while the process drains, so that a load balancer moves on. A database that is
    away is no reason: answers need none."""

    async def handle(request: Request) -> Response:
        if drain.draining:
            return json_response({"status": "draining"}, status=503)
        return json_response({"status": "ready"})

    return handle


def hello() -> Handler:
    """Is anybody there? Claude Code asks ``HEAD /api/hello`` of its base URL when it starts, so that the
    connection is open when it is needed; it does not look at the answer."""

    async def handle(request: Request) -> Response:
        return json_response({"message": "hello"})

    return handle


def health(drain: Drain, providers: Sequence[str], ledger: Callable[[], str] | None = None) -> Handler:
    """For people: version, state, which providers are configured and how recording goes (``ledger``)."""

    async def handle(request: Request) -> Response:
        told = {
            "status": "draining" if drain.draining else "ok",
            "version": __version__,
            "providers": list(providers),
        }
        if ledger is not None:
            # It looks at a file, whose disk may hang.
            told["ledger"] = await asyncio.to_thread(ledger)
        return json_response(told)

    return handle
