"""What an HTTP client is to a provider. Two implementations: the engine (``engine.py``) and stock
httpx2 (``stock.py``); one contract suite runs over both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Header = tuple[bytes, bytes]


@dataclass(slots=True, frozen=True)
class Timeouts:
    """Seconds. ``first_byte`` runs from the last byte of the request to the response head,
    ``idle`` between two reads of the body, ``total`` over the whole exchange."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 120.0
    total: float = 600.0


class HttpResponse(Protocol):
    """A response whose head has arrived. Use as ``async with``, or call :meth:`aclose`."""

    status: int
    #: Names in lower case.
    headers: Sequence[Header]
    #: Times that the request was sent.
    attempts: int

    def header(self, name: bytes) -> bytes | None:
        """The first value of ``name`` (lower case), or None."""
        ...

    @property
    def ended(self) -> bool:
        """True when it is known, without waiting, that the body is complete and was read to its end."""
        ...

    async def read_some(self) -> bytes:
        """Everything that has arrived since the last call, at least one byte; ``b""`` at the end.

        Raises ``Timeout`` (stage ``idle`` or ``total``) and ``ProtocolError`` (reset, truncation,
        bad framing); a body that breaks off never looks like one that ended.
        """
        ...

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        """The rest of the body. Raises ``ProtocolError`` when it exceeds ``limit`` bytes."""
        ...

    async def aclose(self) -> None:
        """Done with it. A body that was read to its end gives the connection back to the pool;
        otherwise the connection is dropped at once, which is what stops the upstream. Idempotent."""
        ...

    async def __aenter__(self) -> HttpResponse: ...

    async def __aexit__(self, *exc: object) -> None: ...


class HttpClient(Protocol):
    """A pool of connections. One per process and event loop."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> HttpResponse:
        """Send a request and wait for the response head (1xx heads are skipped).

        ``Host`` and ``Content-Length`` are set here. Raises ``Unreachable`` (stage ``dns``,
        ``connect``, ``tls``), ``Timeout`` (``connect``, ``first_byte``, ``total``),
        ``ProtocolError``. Redirects are never followed, the environment's proxies never used
        by the engine. Cancelling the caller drops the connection at once. Headers that are the same
        for every request are best given as one tuple: the engine remembers what they look like.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections at once and refuse new requests."""
        ...
