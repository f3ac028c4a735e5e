"""A provider that says what it is told to say, and the whole stack in front of it, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
from blacksheep import Application, Router

from gw.app import layers
from gw.backing import Backing
from gw.catalog import Catalog
from gw.dispatch import Dispatcher, Prefixed
from gw.drain import Drain
from gw.ledger.book import Ledger
from gw.ledger.row import Asked, Row, decode
from gw.prices import PriceBook
from gw.routes import mount
from gw.settings import Settings, load
from gw.settle import SettleMiddleware
from middleware.disconnect import InFlight
from middleware.telemetry import TelemetryMiddleware
from providers.base import Feature
from providers.errors import ProviderError
from providers.types import ChatCall, Embeddings, EmbeddingsCall, ModelInfo, Usage, Vector
from tests.middleware.asgi import Answer, call

KEY = "a-perfectly-long-test-key-0123456789"


class StubReply:
    """A finished answer."""

    dropped: tuple[str, ...] = ()
    upstream_request_id: str | None = None
    finish_reason: str | None = "stop"
    first_token_at: float | None = None
    done = False
    attempts = 1

    def __init__(self, model: str, message: dict[str, Any]) -> None:
        self.model = model
        self.usage = Usage(input_tokens=3, output_tokens=4)
        self.closed = False
        self._message = message

    async def sse(self) -> AsyncIterator[bytes]:
        yield b"data: [DONE]\n\n"

    async def completion(self) -> dict[str, Any]:
        return {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": self._message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }

    def failed(self, code: str, message: str) -> bytes:
        return b""

    async def aclose(self) -> None:
        self.closed = True


class StubProvider:
    """Chats only. Every call is kept in ``calls``."""

    features: frozenset[Feature] = frozenset()

    def __init__(self, name: str = "anthropic", models: Sequence[ModelInfo] = ()) -> None:
        self.name = name
        self.calls: list[ChatCall] = []
        self.replies: list[StubReply] = []
        self.message: dict[str, Any] = {"role": "assistant", "content": "Hello."}
        self.calls_itself: str | None = None
        self._models = list(models)

    async def chat(self, call: ChatCall) -> StubReply:
        self.calls.append(call)
        self.replies.append(StubReply(self.calls_itself or call.model, self.message))
        return self.replies[-1]

    async def models(self) -> list[ModelInfo]:
        return self._models

    def known(self) -> list[ModelInfo]:
        return self._models

    async def aclose(self) -> None: ...


class EmbeddingProvider(StubProvider):
    """Has embeddings, too: ``vectors`` for as many inputs as there are."""

    def __init__(self, name: str = "ollama", vectors: Sequence[Vector] = ([0.5, -1.25],)) -> None:
        super().__init__(name)
        self.vectors = list(vectors)
        self.asked: list[EmbeddingsCall] = []
        self.error: ProviderError | None = None

    async def embed(self, call: EmbeddingsCall) -> Embeddings:
        self.asked.append(call)
        if self.error is not None:
            raise self.error
        return Embeddings(self.vectors, f"{call.model}-as-the-upstream-calls-it", Usage(input_tokens=5))


class MemoryJournal:
    """A journal that keeps its records at hand."""

    def __init__(self) -> None:
        self.full = False
        self.records: list[Asked | Row] = []
        #: Requests that have begun and not ended.
        self.in_flight = 0

    def write(self, record: bytes) -> bool:
        self.records.append(decode(record))
        return True

    def begin(self, record: bytes) -> int:
        self.write(record)
        self.in_flight += 1
        return 0

    def end(self, slot: int) -> None:
        self.in_flight -= 1

    @property
    def asked(self) -> list[Asked]:
        return [record for record in self.records if isinstance(record, Asked)]

    @property
    def rows(self) -> list[Row]:
        return [record for record in self.records if isinstance(record, Row)]


class Front:
    """The application as a client sees it."""

    def __init__(self, app: Any, catalog: Catalog) -> None:
        self.app = app
        self.catalog = catalog

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        all_headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
        return await call(self.app, path=path, body=raw, headers=all_headers)

    async def get(self, path: str) -> Answer:
        return await call(self.app, method="GET", path=path, headers={"authorization": f"Bearer {KEY}"})


def nothing_behind(chosen: Settings) -> Backing:
    """Limits in this process; no ledger, no projects."""
    ledger, projects = replace(chosen.ledger, enabled=False), replace(chosen.projects, enabled=False)
    return Backing(replace(chosen, ledger=ledger, projects=projects), None, records=False)


def settings(**environ: str) -> Settings:
    return load({"GATEWAY_API_KEY": KEY, "RATE_LIMIT_ENABLED": "0", "LEDGER_ENABLED": "0", **environ})


@asynccontextmanager
async def front(
    *,
    anthropic: Any = None,
    ollama: Any = None,
    others: dict[str, Prefixed] | None = None,
    environ: Mapping[str, str] | None = None,
    journal: MemoryJournal | None = None,
    prices: PriceBook | None = None,
) -> AsyncIterator[Front]:
    """The stack of ``gw/app.py`` over the given providers. The catalogue is not started. ``journal``: where
    the ledger writes, which there is none of otherwise."""
    chosen = settings(**(environ or {}))
    others = others or {}
    dispatcher = Dispatcher(
        claude=chosen.claude,
        local=chosen.local,
        anthropic=anthropic,
        ollama=ollama,
        others=others,
        successors={},
    )
    providers = [("", anthropic), ("local:", ollama), *((f"{n}:", o.provider) for n, o in others.items())]
    configured = [(prefix, provider) for prefix, provider in providers if provider is not None]
    catalog = Catalog(configured, aliases=dispatcher.aliases)
    routes = Application(router=Router())
    in_flight = InFlight()
    mount(
        routes,
        dispatcher=dispatcher,
        catalog=catalog,
        drain=Drain(1, in_flight),
        providers=[provider.name for _, provider in configured],
    )
    options: dict[Any, dict[str, Any]] = {}
    if journal is not None:
        ledger = Ledger(journal, prices or PriceBook(), refuse_when_full=chosen.ledger.refuse_when_full)
        options = {TelemetryMiddleware: {"record": [ledger.finished]}, SettleMiddleware: {"ledger": ledger}}
    app: Any = routes
    for layer in reversed(
        layers(
            chosen,
            metrics=None,
            in_flight=in_flight,
            access_log=False,
            backing=nothing_behind(chosen),
            dispatcher=dispatcher,
        )
    ):
        app = layer.middleware(app, **{**layer.options, **options.get(layer.middleware, {})})
    await routes.start()  # type: ignore[no-untyped-call]
    try:
        yield Front(app, catalog)
    finally:
        await routes.stop()  # type: ignore[no-untyped-call]
