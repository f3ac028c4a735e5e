"""The gateway's own HTTP/1.1 client: :class:`EngineClient`. See docs/decisions/002-own-http-engine.md."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from ..errors import ProviderError
from .pool import Pool, refused
from .request import Origin, parse_url, serialise
from .response import EngineResponse, StaleConnection
from .tls import ssl_context
from .types import Header, Timeouts

#: Seconds. Below the 60 of the usual load balancers, so that as a rule this side closes first.
KEEPALIVE = 50.0
#: Connections per origin: more than one process of this gateway serves at a time.
MAX_CONNECTIONS = 4096


class EngineClient:
    """An :class:`~.types.HttpClient` over asyncio and httptools, with a pool per origin.

    ``ca_file`` names a PEM file that is trusted besides the system's store. ``keepalive`` is how many
    seconds an unused connection is kept, ``max_connections`` how many one origin may have; who finds
    them all taken waits, for the connect time-out at most. A reused connection that turns out to be
    closed before a byte of the answer came is replaced once, silently, by a fresh one.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = MAX_CONNECTIONS,
        keepalive: float = KEEPALIVE,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._max_connections = max_connections
        self._keepalive = keepalive
        self._pools: dict[Origin, Pool] = {}
        self._closed = False
        # Loading the system's store takes some 30 ms: only https pays, except that a wrong file is
        # an error of the settings and belongs to the start.
        self._context = ssl_context(ca_file) if ca_file is not None else None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> EngineResponse:
        """See :meth:`~.types.HttpClient.request`. Also raises ``Timeout`` (stage ``write``) when the
        upstream stops taking a large body for ``idle`` seconds."""
        target = parse_url(url)
        head = serialise(method, target, headers, len(body))
        if timeouts is None:
            timeouts = self._timeouts
        pool = self._pools.get(target.origin)
        if pool is None:
            pool = self._open_pool(target.origin)
        now = pool.loop.time()
        total_at = now + timeouts.total
        connection = pool.take(now)
        if connection is None:
            connection = await pool.connect(timeouts.connect, total_at)
        attempts = 1
        while True:
            try:
                response = await connection.send(
                    head,
                    body,
                    head_only=method == "HEAD",
                    first_byte=timeouts.first_byte,
                    idle=timeouts.idle,
                    total_at=total_at,
                )
            except StaleConnection:  # never raised by a fresh one, hence once
                attempts += 1
                connection = await pool.connect(timeouts.connect, total_at, fresh=True)
            except ProviderError as error:
                error.attempts = attempts
                raise
            else:
                response.attempts = attempts
                return response

    async def aclose(self) -> None:
        """Close idle connections at once and refuse new requests; those under way may finish."""
        self._closed = True
        for pool in self._pools.values():
            pool.close()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def stats(self) -> dict[str, dict[str, int]]:
        """For each ``scheme://host:port``: connections ``open`` and ``idle``, requests ``waiting``."""
        return {
            f"{scheme}://{host}:{port}": {"open": pool.open, "idle": pool.idle, "waiting": pool.waiting}
            for (scheme, host, port), pool in self._pools.items()
        }

    def _open_pool(self, origin: Origin) -> Pool:
        if self._closed:
            raise refused()
        context: ssl.SSLContext | None = None
        if origin[0] == "https":
            context = self._context = self._context or ssl_context()
        pool = Pool(origin, context=context, limit=self._max_connections, keepalive=self._keepalive)
        self._pools[origin] = pool
        return pool
