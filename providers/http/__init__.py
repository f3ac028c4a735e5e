"""HTTP to an upstream: one contract, two clients. ``httpx2`` is imported only when asked for."""

from __future__ import annotations

from typing import Literal

from .engine import KEEPALIVE, MAX_CONNECTIONS, EngineClient
from .types import Header, HttpClient, HttpResponse, Timeouts

__all__ = ["EngineClient", "Header", "HttpClient", "HttpResponse", "Timeouts", "open_client"]


def open_client(
    kind: Literal["engine", "httpx"] = "engine",
    *,
    ca_file: str | None = None,
    timeouts: Timeouts | None = None,
    max_connections: int = MAX_CONNECTIONS,
    keepalive: float = KEEPALIVE,
    trust_env: bool = True,
) -> HttpClient:
    """A client for this process and the running event loop.

    ``kind`` is ``"engine"`` (fast, HTTP/1.1, direct) or ``"httpx"`` (stock httpx2: proxies, HTTP/2 when
    ``h2`` is installed). ``ca_file`` is a PEM file trusted besides the system's store; ``timeouts`` hold
    for requests that bring none; ``max_connections`` counts per origin (httpx: in all); ``keepalive``
    is in seconds. ``trust_env`` (proxy variables) concerns ``"httpx"`` alone: the engine never reads
    the environment. Raises ``OSError`` when ``ca_file`` cannot be used.
    """
    if kind == "engine":
        return EngineClient(
            ca_file=ca_file, timeouts=timeouts, max_connections=max_connections, keepalive=keepalive
        )
    from .stock import StockClient

    return StockClient(
        ca_file=ca_file,
        timeouts=timeouts,
        max_connections=max_connections,
        keepalive=keepalive,
        trust_env=trust_env,
    )
