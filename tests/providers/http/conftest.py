"""The clients under one contract: the engine, httpx2 over the engine, stock httpx2; on both event loops."""

from __future__ import annotations

import functools
import gc
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from providers.http import EngineClient, HttpClient, Timeouts, open_client
from providers.http.httpx_transport import EngineTransport
from providers.http.stock import StockClient
from providers.http.tls import ssl_context

MakeClient = Callable[..., HttpClient]
Engines = Callable[..., EngineClient]


async def get(client: HttpClient, url: str, timeouts: Timeouts | None = None) -> tuple[int, bytes]:
    """Status and whole body."""
    async with await client.request("GET", url, timeouts=timeouts) as response:
        return response.status, await response.read()


def counts(client: EngineClient) -> dict[str, int]:
    """The pool counters of a client that has talked to one origin."""
    (only,) = client.stats().values()
    return only


class _Face(StockClient):
    """httpx2 over the engine, closing both: by itself the transport leaves a shared engine alone."""

    def __init__(self, engine: EngineClient) -> None:
        super().__init__(transport=EngineTransport(engine))
        self._engine = engine

    async def aclose(self) -> None:
        await super().aclose()
        await self._engine.aclose()


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="session", autouse=True)
def _load_the_trust_store_once() -> Iterator[None]:
    """30 ms for each stock client otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("providers.http.stock.ssl_context", functools.cache(ssl_context))
        yield


@pytest.fixture(scope="module", autouse=True)
def _cheap_collections() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_forgotten_sockets() -> Iterator[None]:
    """An unclosed transport warns when it is collected: collect while its test is still on stage."""
    yield
    gc.collect()


@pytest.fixture(params=["engine", "face", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(kind: str) -> AsyncIterator[MakeClient]:
    """Opens clients of ``kind`` with the arguments of ``open_client``; closes them after the test."""
    opened: list[Any] = []

    def open_one(**options: Any) -> HttpClient:
        client: HttpClient
        if kind == "face":
            client = _Face(EngineClient(**options))
        else:
            client = open_client("engine" if kind == "engine" else "httpx", trust_env=False, **options)
        opened.append(client)
        return client

    yield open_one
    for client in reversed(opened):
        await client.aclose()


@pytest.fixture
async def client(make: MakeClient) -> HttpClient:
    return make()


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    """Opens engine clients; after the test no slot may be taken and nobody may wait."""
    opened: list[EngineClient] = []

    def open_one(**options: Any) -> EngineClient:
        opened.append(EngineClient(**options))
        return opened[-1]

    yield open_one
    for client in opened:
        await client.aclose()
        for origin, counts in client.stats().items():
            assert counts == {"open": 0, "idle": 0, "waiting": 0}, origin


@pytest.fixture
async def engine(engines: Callable[..., EngineClient]) -> EngineClient:
    return engines()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
