"""The whole gateway in one place: THE STACK, top to bottom, and what it stands on.

Follow one request: it enters the first layer of :func:`layers`, falls through each in turn, reaches
a handler in ``routes/``, which asks ``dispatch.py`` for the provider of its model and streams
the answer back up through the same layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from middleware._asgi import ASGIApp
from middleware.auth import AuthMiddleware
from middleware.body_limit import BodyLimitMiddleware
from middleware.disconnect import DisconnectMiddleware
from middleware.limits import LimitsMiddleware
from middleware.rate_limit import RateLimitMiddleware
from middleware.telemetry import Metrics, TelemetryMiddleware

from .settings import Settings
from .settle import SettleMiddleware

#: No key needed: load balancers and container platforms ask these.
PUBLIC_PATHS = ("/live", "/ready", "/health")


@dataclass(slots=True, frozen=True)
class Layer:
    """One middleware of the stack and its options."""

    middleware: Callable[..., ASGIApp]
    options: dict[str, Any] = field(default_factory=dict)


def layers(settings: Settings, metrics: Metrics | None) -> list[Layer]:
    """THE STACK, outermost first. Each line says why it stands where it stands."""
    keys, limits, server = settings.keys, settings.limits, settings.server
    stack = [
        # Sees everything, also what the layers below refuse.
        Layer(TelemetryMiddleware, {"metrics": metrics}),
        # Above all that may wait: Granian never cancels, so this does, and enforces the deadline.
        Layer(DisconnectMiddleware, {"deadline": settings.upstream.total + server.body_timeout}),
        # Before auth reads a header: bounds on what a stranger can make us hold.
        Layer(BodyLimitMiddleware, {"max_bytes": server.max_body_bytes, "timeout": server.body_timeout}),
        # Before anything that costs money or knows of keys; /admin has a key of its own.
        Layer(AuthMiddleware, {}),
        Layer(AuthMiddleware, {}),
        # After auth, since limits belong to a key.
        Layer(RateLimitMiddleware, {}),
        # Rewriting: pure and deterministic, below everything that may refuse the request.
        Layer(LimitsMiddleware, {}),
        # Directly above the handlers: stops the upstream, records what was used.
        Layer(SettleMiddleware),
    ]
    return stack
