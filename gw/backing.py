"""What a worker stands on besides its upstreams: limits, the ledger, the keys of projects, their budgets.

On the way of a request only the memory of this process is asked; for callers with a budget the database, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from middleware._metrics import Metrics
from middleware.policy.allowance import Store
from middleware.policy.bucket import Limiter
from middleware.rate_limit import StoreLimiter, in_process
from middleware.stores.memory import MemoryStore

from .ledger.book import Ledger
from .ledger.journal import Journal
from .ledger.later import Later
from .ledger.spool import spool_dir
from .ledger.task import RecorderTask
from .observability.ledger import LedgerCollector
from .observability.memory import Memory, Waiting
from .prices import PriceBook, PricesError
from .settings import Settings
from .store.place import DataDirError, data_dir
from .store.postgres import Address

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .projects.verifier import Verifier
    from .store.budgets import SqlBudgets


def problems(settings: Settings) -> list[str]:
    """What stands in the way of a start, one sentence each with its fix: said once, before workers start."""
    found: list[str] = []
    if settings.otlp_endpoint is not None:
        from .observability.otel import problem

        if (missing := problem(settings)) is not None:
            found.append(missing)
    if settings.ledger.enabled:
        try:
            data_dir(settings.ledger)
        except DataDirError as error:
            found.append(str(error))
        if (url := settings.ledger.database) is not None and not url.startswith("sqlite:"):
            try:
                Address.parse(url)
            except ValueError as error:
                found.append(str(error))
    try:
        prices(settings)  # of what is metered, too, where no ledger is kept
    except PricesError as error:
        found += error.problems
    if settings.projects.enabled and not found:
        from .projects.keys import PepperError, load_pepper

        try:
            load_pepper(settings.projects.pepper, lambda: data_dir(settings.ledger))
        except PepperError as error:
            found.append(str(error))
    return found


def prices(settings: Settings) -> PriceBook:
    """Raises ``PricesError`` for a PRICES_FILE that cannot be used."""
    own = settings.ledger.prices_file
    return PriceBook(None if own is None else Path(own), {c.name: c.base_url for c in settings.compatible})


@runtime_checkable
class _Connected(Protocol):
    """What has a connection of its own."""

    async def start(self) -> None: ...
    async def aclose(self) -> None: ...


class Backing:
    """Made in the worker, after it was forked. ``limits`` counts requests and tokens. ``ledger``, and
    ``rows``, which is told of requests that are over, are None when it is switched off; ``verifier`` and
    ``budgets`` are None without projects.

    ``redis`` is not closed here. ``records``: nobody else keeps a process that records. ``metrics``: where
    to count how it goes (None: nowhere).
    """

    def __init__(
        self, settings: Settings, redis: Redis | None, *, records: bool, metrics: Metrics | None = None
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._metrics = metrics
        self.limits: Store = _limits(redis, 1 / settings.server.workers, metrics)
        self._recorder: RecorderTask | None = None
        #: Done when the prices are there; None before :meth:`start` and without a ledger.
        self.loading: asyncio.Future[None] | None = None
        self._journal: Journal | None = None
        #: What waits in the memory of all workers.
        self.memory = Memory(metrics if settings.ledger.enabled else None)
        self._following: asyncio.Task[None] | None = None
        self.prices = prices(settings)
        self.ledger: Ledger | None = None
        self.rows: Later | None = None
        self.verifier: Verifier | None = None
        self.budgets: SqlBudgets | None = None
        self._budgets_engine: AsyncEngine | None = None
        books = settings.ledger
        if books.enabled:
            if metrics is not None:
                metrics.add(LedgerCollector(books))
            self._journal = Journal(spool_dir(books), books.spool_max_bytes)
            self.ledger = Ledger(self._journal, self.prices, refuse_when_full=books.refuse_when_full)
            self.rows = Later(self.ledger.finished)
            if records:
                self._recorder = RecorderTask(books, eager=settings.looks_at_database)
        if settings.projects.enabled:
            self._open_projects()

    def limiter(self, rpm: float, *, name: str = "requests") -> Limiter:
        """``rpm`` requests a minute for each caller without limits of his own."""
        if self._redis is None:
            return in_process(rpm / self._settings.server.workers)
        return StoreLimiter(self.limits, rpm, name=name)

    def _open_projects(self) -> None:
        # They load SQLAlchemy: half a second that a gateway with one key does not pay.
        from .projects.keys import load_pepper
        from .projects.verifier import Verifier
        from .store.budgets import SqlBudgets
        from .store.engine import open_engine

        settings = self._settings

        def open_small() -> AsyncEngine:
            return open_engine(settings.ledger, connections=1)

        def open_for_budgets() -> AsyncEngine:
            self._budgets_engine = open_small()
            return self._budgets_engine

        pepper = load_pepper(settings.projects.pepper, lambda: data_dir(settings.ledger))
        self.verifier = Verifier(open_small, pepper, settings.keys.gateway, on_look=self._look_at_keys())
        self.budgets = SqlBudgets(open_for_budgets)

    def _look_at_keys(self) -> Callable[[bool], object]:
        """What is told whether keys can be looked up."""
        if self._metrics is None:
            return bool
        return self._metrics.latest(
            "gateway_keys_up", "1 while keys can be looked up; known ones are good for 5 minutes without"
        )

    async def start(self) -> None:
        """Begin to follow the directory of keys. Waits for no database."""
        if (journal := self._journal) is not None:
            self._following = asyncio.create_task(self.memory.follow(lambda: journal.in_memory))
        if self.ledger is not None:
            # A quarter of a second; a request that comes before it is done waits for it.
            self.loading = asyncio.ensure_future(asyncio.to_thread(self.prices.load))
        if isinstance(self.limits, _Connected):
            await self.limits.start()
        if self._recorder is not None:
            await self._recorder.start()
        if self.verifier is not None:
            self.verifier.start()

    async def stop(self) -> None:
        """Close everything; what was journalled is the recorder's from then on."""
        if self.loading is not None:
            await self.loading
        if self.verifier is not None:
            await self.verifier.stop()
        if self.budgets is not None:
            await self.budgets.close()
        if self._budgets_engine is not None:
            await self._budgets_engine.dispose()
        if self._following is not None:
            self._following.cancel()
        if self.rows is not None:
            self.rows.flush()
        if self._journal is not None:
            self._journal.close()
            self.memory.tell(Waiting())  # as many as the disk has not taken are counted as lost
        if self._recorder is not None:
            await self._recorder.stop()
        if isinstance(self.limits, _Connected):
            await self.limits.aclose()


def _limits(redis: Redis | None, share: float, metrics: Metrics | None) -> Store:
    """Counted for all workers and machines by Redis, or else by each worker for its share."""
    if redis is None:
        return MemoryStore(share=share)
    from middleware.stores.redis import RedisStore  # its driver takes a moment to load

    degraded = None if metrics is None else metrics.ratelimit_degraded.inc
    return RedisStore(redis, share=share, on_degraded=degraded)
