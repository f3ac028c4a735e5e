"""The simulated upstream as a server, for tests (``async with``) and for ``python -m perf.simulated``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from .api import Api
from .bills import Bills
from .connection import Connection
from .ledger import Ledger
from .scenario import Scenario, from_json


class SimulatedUpstream:
    """Claude's Messages API on a local socket.

    ``async with SimulatedUpstream() as sim:`` serves on the running loop until the block ends; point a
    client at ``sim.base_url`` with any key. ``strict=False`` lets through what the API would refuse.
    ``ollama_access``: id and secret of a Cloudflare Access service token, without which Ollama's paths
    answer as Access does.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        strict: bool = True,
        tls: ssl.SSLContext | None = None,
        ollama_access: tuple[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._api = Api(strict=strict, ollama_access=ollama_access)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: set[Connection] = set()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def requests(self) -> Ledger:
        """Every request so far, oldest first; entries go on changing while they are answered."""
        return self._api.ledger

    @property
    def bills(self) -> Bills:
        """What would be paid for, as of now; ``GET /_sim/ledger?after=N`` has it as JSON lines."""
        return self._api.bills

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def script(self, *scenarios: Scenario | Mapping[str, Any]) -> None:
        """The next requests, in order, get these answers. A mapping has the fields of ``Scenario``."""
        self._api.script(item if isinstance(item, Scenario) else from_json(dict(item)) for item in scenarios)

    def reset(self) -> None:
        """Forget requests and scenarios that nobody has used."""
        self._api.ledger.clear()
        self._api.bills.clear()
        self._api.scripted.clear()

    async def start(self) -> None:
        """Listen; ``port`` 0 becomes the port that the system gave."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._api, self._open), self.host, self.port, ssl=self._tls, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.transport.abort()
            await asyncio.sleep(0)
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> SimulatedUpstream:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
