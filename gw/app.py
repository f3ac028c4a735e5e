"""The whole gateway in one place: THE STACK, top to bottom, and what it stands on.

Follow one request: it enters the first layer of :func:`layers`, falls through each in turn, reaches
a handler in ``routes/``, which asks ``dispatch.py`` for the provider of its model and streams
the answer back up through the same layers.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from blacksheep import Application, Router

from middleware._asgi import ASGIApp
from middleware._chat import COUNT_PATHS
from middleware._lines import LineWriter
from middleware._metrics import Metrics, ModelLabel
from middleware._reject import Rejection, drained
from middleware.auth import AuthMiddleware
from middleware.body_limit import BodyLimitMiddleware
from middleware.budget import BudgetMiddleware
from middleware.cors import CorsMiddleware
from middleware.disconnect import DisconnectMiddleware, InFlight
from middleware.keep_alive import KeepAliveMiddleware
from middleware.key_policy import KeyPolicyMiddleware
from middleware.limits import LimitsMiddleware
from middleware.quota import QuotaMiddleware
from middleware.rate_limit import RateLimitMiddleware
from middleware.request_guard import RequestGuardMiddleware
from middleware.telemetry import Record, TelemetryMiddleware

from .backing import Backing
from .bounds import cost_bound
from .catalog import Catalog
from .dispatch import Dispatcher, Prefixed
from .drain import Drain
from .errors import hide_secrets
from .observability.ledger import LedgerHealth
from .observability.metrics import open_metrics
from .observability.models import KnownModels
from .routes import mount
from .routes.admin import Admin, AdminStore
from .settings import Settings, load
from .settle import SettleMiddleware
from .upstreams import Upstreams

if TYPE_CHECKING:
    from .observability.otel import OpenTelemetry

#: No key needed: load balancers and container platforms ask these, and Claude Code whether there is anybody.
PUBLIC = ("/live", "/ready", "/health", "/api/hello")
ADMIN = ("/admin",)
#: A key may count tokens so many times as often as it may chat. Claude Code's `/context` counts 26 times
#: at once; and Claude's own limits for the two are "separate and independent"
#: (https://platform.claude.com/docs/en/build-with-claude/token-counting).
COUNTS_PER_CHAT = 10
#: What is asked of /admin where ADMIN_PORT is another one.
ELSEWHERE = Rejection(404, "There is no /admin on this port.", code="unknown_url")
#: Requests a minute of keys that have no limit of their own, with RATE_LIMIT_ENABLED=0.
UNLIMITED = 1_000_000_000


@dataclass(slots=True, frozen=True)
class Layer:
    """One middleware of the stack and its options."""

    middleware: Callable[..., ASGIApp]
    options: dict[str, Any] = field(default_factory=dict)


def layers(
    settings: Settings,
    *,
    metrics: Metrics | None,
    in_flight: InFlight,
    access_log: bool | LineWriter,
    backing: Backing,
    dispatcher: Dispatcher,
    record: Sequence[Record] = (),
) -> list[Layer]:
    """THE STACK, outermost first. Each line says why it stands where it stands.

    ``record``: who is told of each request beside the ledger.
    """
    keys, limits, server = settings.keys, settings.limits, settings.server
    ledger, projects = backing.ledger, settings.projects.enabled
    callers = {"keys": [keys.gateway]} if backing.verifier is None else {"verify": backing.verifier}
    rpm = limits.rpm if limits.rate_limit else UNLIMITED
    admin_keys = {keys.admin: "admin"} if keys.admin else {}
    # The longest that a provider may take, after the longest that a body may.
    deadline = settings.slowest + server.body_timeout
    closed = "/admin is closed: the operator has to set ADMIN_API_KEY."
    refuse = no_admin = drained()
    if server.admin_port is not None:
        # Nobody is to try admin keys here: it is not there, whatever is sent.
        admin_keys, no_admin = {}, lambda _: refuse(ELSEWHERE)
    stack = [
        # Sees everything, also what the layers below refuse.
        Layer(
            TelemetryMiddleware,
            {
                "record": [*([] if backing.rows is None else [backing.rows]), *record],
                "metrics": metrics,
                "access_log": access_log,
            },
        ),
        # Preflights carry no key, and a page may read a refusal only with these headers.
        Layer(CorsMiddleware, {"origins": server.cors_origins}),
        # Above all that may wait: Granian never cancels a request, this does, and bounds its time.
        Layer(DisconnectMiddleware, {"deadline": deadline, "in_flight": in_flight}),
        # Heads that two parsers would read in two ways go no further; cheap, so before the body.
        Layer(RequestGuardMiddleware),
        # Before a body is kept: 4,000 strangers with 32 MiB each must not cost memory.
        Layer(AuthMiddleware, {**callers, "skip": ADMIN, "public": PUBLIC, "on_reject": refuse}),
        # The same for /admin, which has a key of its own and is closed without one.
        Layer(AuthMiddleware, {"keys": admin_keys, "only": ADMIN, "closed": closed, "on_reject": no_admin}),
        # Needs to know whose request it is; still before the body, so that a refusal is cheap.
        Layer(
            RateLimitMiddleware,
            {
                "limiter": backing.limiter(rpm),
                "store": backing.limits,
                "skip": (*PUBLIC, *ADMIN, *COUNT_PATHS),
                "on_reject": refuse,
            },
        ),
        # Counting tokens has an allowance of its own, or one look at a context would use up the minute.
        Layer(
            RateLimitMiddleware,
            {
                "limiter": backing.limiter(rpm * COUNTS_PER_CHAT, name="counts"),
                "store": backing.limits,
                "factor": COUNTS_PER_CHAT,
                "name": "counts",
                "only": COUNT_PATHS,
                "on_reject": refuse,
            },
        ),
        # Reads the body under limits; everything below shares what it read.
        Layer(BodyLimitMiddleware, {"max_bytes": server.max_body_bytes, "timeout": server.body_timeout}),
        # Needs the body (does it ask for a stream?), and stands above whatever may be silent for long.
        Layer(KeepAliveMiddleware, {"interval": server.keep_alive}),
        # Which model and tools are asked has to be settled before anybody counts or prices them.
        Layer(KeyPolicyMiddleware, {"canonical": dispatcher.canonical}),
        # Tokens are estimated from the body. Below the policy: what is not allowed is charged to nobody.
        Layer(QuotaMiddleware, {"store": backing.limits, "default_output": limits.default_max_tokens}),
        # Rewriting (pure, deterministic) comes below everything that may refuse the request.
        Layer(
            LimitsMiddleware,
            {
                "system_max_chars": limits.system_chars,
                "user_msg_max_chars": limits.user_chars,
                "tool_result_max_chars": limits.tool_result_chars,
                "default_max_tokens": limits.default_max_tokens,
            },
        ),
        # Below all that changes the request, since it prices what is really asked.
        Layer(
            BudgetMiddleware,
            {
                "price": cost_bound(dispatcher, backing.prices, limits.default_max_tokens),
                "budgets": backing.budgets,
                "refuse_unavailable": settings.projects.refuse_when_unknown,
                "price_hint": "The operator can name it in PRICES_FILE.",
            },
        ),
        # Directly above the handlers: stops the upstream, records what was used.
        Layer(SettleMiddleware, {"ledger": ledger}),
    ]
    off = {
        middleware
        for middleware, wanted in (
            (CorsMiddleware, server.cors_origins),
            (RateLimitMiddleware, limits.rate_limit or projects),
            (KeepAliveMiddleware, server.keep_alive),
            (KeyPolicyMiddleware, projects),
            (QuotaMiddleware, projects),
            (BudgetMiddleware, projects),
        )
        if not wanted
    }
    return [layer for layer in stack if layer.middleware not in off]


def create_app(settings: Settings, *, own_process: bool = False) -> ASGIApp:
    """The gateway as an ASGI app. ``own_process`` is true under ``gw serve``: then signals and the
    garbage collector are ours to set up."""
    hide_secrets(settings)
    upstreams = Upstreams(settings)
    model_label = KnownModels([provider for _, provider in upstreams.all], settings)
    metrics = open_metrics(model_label) if settings.server.metrics else None
    backing = Backing(settings, upstreams.redis, records=not own_process, metrics=metrics)
    telemetry = _open_telemetry(settings, model_label)
    in_flight = InFlight()
    # Standard output is ours under `gw serve`: one write for many lines, since a system call per
    # request costs more than its line. Elsewhere lines go to the logger `gateway.access`.
    wanted = settings.server.log_level in ("debug", "info")
    lines = LineWriter() if own_process and wanted else None
    drain = Drain(settings.server.drain_seconds, in_flight)
    routes = Application(router=Router())  # its default is one router for all apps of a process
    dispatcher = _dispatcher(settings, upstreams)
    catalog = Catalog(upstreams.all, aliases=dispatcher.aliases)
    admin = AdminStore(settings)
    mount(
        routes,
        dispatcher=dispatcher,
        catalog=catalog,
        drain=drain,
        providers=[provider.name for _, provider in upstreams.all],
        ledger=LedgerHealth(settings.ledger, backing.memory),
        # With a port of its own it is served by a process of its own, and nowhere else.
        admin=None if settings.server.admin_port else Admin(settings, admin, metrics, backing.memory),
    )

    async def start(_: Application) -> None:
        await backing.start()
        catalog.start()
        if own_process:
            drain.install(asyncio.get_running_loop())
            _keep()
            gc.set_threshold(50_000, 20, 20)
            if backing.loading is not None:  # the prices are 100,000 objects more
                backing.loading.add_done_callback(_keep)

    async def stop(_: Application) -> None:
        await catalog.stop()
        await admin.close()
        await backing.stop()
        await upstreams.close()
        if metrics is not None:
            metrics.flush()
        if telemetry is not None:
            await asyncio.to_thread(telemetry.stop)
        if lines is not None:
            lines.close()

    routes.on_start += start
    routes.on_stop += stop
    app = cast(ASGIApp, routes)
    stack = layers(
        settings,
        metrics=metrics,
        in_flight=in_flight,
        access_log=lines or wanted,
        backing=backing,
        dispatcher=dispatcher,
        record=[] if telemetry is None else [telemetry.record],
    )
    for layer in reversed(stack):
        app = layer.middleware(app, **layer.options)
    return app


def _open_telemetry(settings: Settings, model_label: ModelLabel) -> OpenTelemetry | None:
    """None where nothing is exported: then nothing of it is loaded, either."""
    if settings.otlp_endpoint is None:
        return None
    from .observability.otel import OpenTelemetry

    return OpenTelemetry(settings, model_label)


def _keep(_: object = None) -> None:
    """What start-up made lives as long as the process: scanning it again costs p99 (measured 36 -> 23 ms with
    64 connections)."""
    gc.collect()
    gc.freeze()


def _dispatcher(settings: Settings, upstreams: Upstreams) -> Dispatcher:
    allowed = {compatible.name: compatible.models for compatible in settings.compatible}
    allowed |= {cloud.name: cloud.models for cloud in settings.clouds}
    return Dispatcher(
        claude=settings.claude,
        local=settings.local,
        anthropic=upstreams.claude,
        ollama=upstreams.ollama,
        others={
            prefix: Prefixed(provider, allowed.get(prefix, ()))
            for prefix, provider in upstreams.others.items()
        },
        successors=upstreams.successors,
    )


def from_environment() -> ASGIApp:
    """The app for any other ASGI server, which then minds its own signals:
    ``uvicorn --factory gw.app:from_environment``. Raises ``SettingsError``."""
    return create_app(load(os.environ))
