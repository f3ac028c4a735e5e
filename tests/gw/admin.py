"""The gateway with its admin API, in process, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from blacksheep import Application, Router
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from gw.app import layers
from gw.catalog import Catalog
from gw.dispatch import Dispatcher
from gw.drain import Drain
from gw.projects.verifier import Verifier
from gw.routes import mount
from gw.routes.admin import Admin, AdminStore
from gw.settings import Ledger, Settings, load
from gw.store.engine import open_engine
from middleware._metrics import Metrics
from middleware.disconnect import InFlight
from tests.databases import environment_of
from tests.middleware.asgi import Answer, call

from .stub import KEY, EmbeddingProvider, StubProvider

ADMIN_KEY = "an-admin-key-of-a-sensible-length-0123"
PEPPER = "a-pepper-of-a-sensible-length-0123456789"


class Gateway:
    """Called as an administrator unless ``key`` is another one; None: without any."""

    def __init__(self, app: Any, router: Router, settings: Settings) -> None:
        self.app = app
        self.router = router
        self.settings = settings

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN_KEY, **headers: str
    ) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        path, _, query = path.partition("?")
        return await call(self.app, method=method, path=path, query=query, headers=headers, body=raw)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def made(self, path: str, body: Any) -> Any:
        """What a POST has made. Fails unless it was."""
        answer = await self.ask("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.json()


def settings_of(ledger: Ledger, **environ: str) -> Settings:
    return load(
        {
            "GATEWAY_API_KEY": KEY,
            "ADMIN_API_KEY": ADMIN_KEY,
            "KEY_PEPPER": PEPPER,
            "LOCAL_LLM_MODEL_ALLOWLIST": "qwen2.5-coder:7b-instruct,nomic-embed-text",
            "ENABLE_MULTI_PROJECT": "1",
            "RATE_LIMIT_ENABLED": "0",
            **environment_of(ledger),
            **environ,
        }
    )


@asynccontextmanager
async def gateway_over(ledger: Ledger, *, patience: float = 8.0, **environ: str) -> AsyncIterator[Gateway]:
    """A gateway over ``ledger`` with ``environ`` beside the usual settings."""
    settings = settings_of(ledger, **environ)
    provider: Any = StubProvider()
    local: Any = EmbeddingProvider()
    dispatcher = Dispatcher(
        claude=settings.claude,
        local=settings.local,
        anthropic=provider,
        ollama=local,
        others={},
        successors={},
    )
    in_flight = InFlight()
    store = AdminStore(settings, patience=patience)
    routes = Application(router=Router())
    mount(
        routes,
        dispatcher=dispatcher,
        catalog=Catalog([("", provider), ("local:", local)], aliases=dispatcher.aliases),
        drain=Drain(1, in_flight),
        metrics=None,
        providers=["anthropic", "ollama"],
        admin=Admin(settings, store, Metrics() if settings.server.metrics else None),
    )
    looks: list[AsyncEngine] = []

    def looking() -> AsyncEngine:
        looks.append(open_engine(settings.ledger))
        return looks[0]

    verifier = Verifier(looking, PEPPER.encode(), KEY, poll_seconds=0.05)
    app: Any = routes
    for layer in reversed(layers(settings, metrics=None, in_flight=in_flight, access_log=False)):
        options = dict(layer.options)
        if options.get("keys") == [KEY] and settings.projects.enabled:
            options |= {"keys": (), "verify": verifier}
        app = layer.middleware(app, **options)
    if settings.projects.enabled:
        verifier.start()
    await routes.start()  # type: ignore[no-untyped-call]
    try:
        yield Gateway(app, routes.router, settings)
    finally:
        await routes.stop()  # type: ignore[no-untyped-call]
        while any(_in_use(engine) for engine in looks):  # it looks at the version: let it finish
            await anyio.sleep(0.001)
        await verifier.stop()
        await store.close()


def _in_use(engine: AsyncEngine) -> bool:
    pool = engine.pool
    assert isinstance(pool, AsyncAdaptedQueuePool)
    return pool.checkedout() > 0
