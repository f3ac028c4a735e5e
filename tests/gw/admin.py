"""The whole gateway with its admin API, in process, over a real database and a simulated provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from blacksheep import Application, Router

from gw.app import create_app
from gw.settings import Ledger, Settings, load
from tests.databases import environment_of
from tests.middleware.asgi import Answer, call

from .stub import KEY

ADMIN_KEY = "an-admin-key-of-a-sensible-length-0123"
PEPPER = "a-pepper-of-a-sensible-length-0123456789"


class Gateway:
    """Called as an administrator unless ``key`` is another one; None: without any."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def router(self) -> Router:
        app = self.app
        while not isinstance(app, Application):
            app = app.app
        return app.router

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN_KEY, **headers: str
    ) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        path, _, query = path.partition("?")
        return await call(
            self.app, method=method, path=path, query=query, headers=headers, body=raw, timeout=20
        )

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def made(self, path: str, body: Any) -> Any:
        """What a POST has made. Fails unless it was."""
        answer = await self.ask("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.json()

    async def comes_to_refuse(self, key: str) -> bool:
        """Whether ``key`` is refused within the five seconds that are promised."""
        with anyio.move_on_after(5):
            while (await self.ask("GET", "/v1/models", key=key)).status != 401:
                await anyio.sleep(0.02)
            return True
        return False


def settings_of(ledger: Ledger, **environ: str) -> Settings:
    return load(
        {
            "GATEWAY_API_KEY": KEY,
            "ADMIN_API_KEY": ADMIN_KEY,
            "KEY_PEPPER": PEPPER,
            "ENABLE_MULTI_PROJECT": "1",
            "RATE_LIMIT_ENABLED": "0",
            **environment_of(ledger),
            **environ,
        },
        simulated=True,
    )


@asynccontextmanager
async def gateway_over(ledger: Ledger, **environ: str) -> AsyncIterator[Gateway]:
    """A gateway over ``ledger`` with ``environ`` beside the usual settings."""
    async with running(create_app(settings_of(ledger, **environ))) as app:
        yield Gateway(app)


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    """``app`` between its start and its end, as a server says them."""
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def send(message: dict[str, Any]) -> None:
        heard.put_nowait(message["type"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, said.get, send))
    said.put_nowait({"type": "lifespan.startup"})
    assert await asyncio.wait_for(heard.get(), 20) == "lifespan.startup.complete"
    try:
        yield app
    finally:
        said.put_nowait({"type": "lifespan.shutdown"})
        assert await asyncio.wait_for(heard.get(), 20) == "lifespan.shutdown.complete"
        await task
