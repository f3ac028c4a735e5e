"""``/admin`` on a port of its own (ADMIN_PORT): a small server beside the workers, for a network of its own.

Metrics come from the directory that the workers write to, everything else from the database and the spool:
so it needs nothing of the workers, and answers also while they are busy or draining.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import cast

from blacksheep import Application, Router
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server import Server as Granian

from middleware._asgi import ASGIApp
from middleware._lines import LineWriter
from middleware._metrics import Metrics
from middleware._reject import drained
from middleware.auth import AuthMiddleware
from middleware.body_limit import BodyLimitMiddleware
from middleware.disconnect import DisconnectMiddleware, InFlight
from middleware.request_guard import RequestGuardMiddleware
from middleware.telemetry import TelemetryMiddleware

from .drain import Drain, hold_back_interrupts
from .errors import hide_secrets
from .observability.ledger import LedgerCollector, LedgerHealth
from .observability.memory import Memory
from .routes import mount_health, not_found
from .routes.admin import Admin, AdminStore
from .routes.admin import mount as mount_admin
from .server import SIMULATED, log_config, stop_with_parent
from .settings import Settings, load
from .supervised import stop_with_pipe
from .upstreams import Upstreams

#: Seconds that answers have to finish at the end; none takes longer than the database is waited for.
DRAIN_SECONDS = 3.0
#: Beyond it, the worker is killed.
KILL_MARGIN_SECONDS = 2
#: Seconds for one request.
DEADLINE_SECONDS = 30.0
#: A project with all its rules is a few kilobytes.
MAX_BODY_BYTES = 2**20
_PUBLIC = ("/live", "/ready", "/health")


def create_admin_app(settings: Settings, *, own_process: bool = False) -> ASGIApp:
    """``/admin`` and the health pages. ``own_process``: signals and standard output are ours to set up."""
    hide_secrets(settings)
    metrics = Metrics() if settings.server.metrics else None
    in_flight = InFlight()
    drain = Drain(DRAIN_SECONDS, in_flight)
    wanted = settings.server.log_level in ("debug", "info")
    lines = LineWriter() if own_process and wanted else None
    store = AdminStore(settings)
    upstreams = Upstreams(settings)  # connects to nobody: their names are what /health shows
    routes = Application(router=Router())
    if metrics is not None and settings.ledger.enabled:
        metrics.add(LedgerCollector(settings.ledger))
    memory = Memory(metrics if settings.ledger.enabled else None)
    providers = [provider.name for _, provider in upstreams.all]
    mount_health(routes, drain, providers, LedgerHealth(settings.ledger, memory))
    mount_admin(routes.router, Admin(settings, store, metrics, memory))
    routes.router.fallback = not_found

    async def start(_: Application) -> None:
        if own_process:
            drain.install(asyncio.get_running_loop())

    async def stop(_: Application) -> None:
        await store.close()
        await upstreams.close()
        if lines is not None:
            lines.close()

    routes.on_start += start
    routes.on_stop += stop
    keys = {settings.keys.admin: "admin"} if settings.keys.admin else {}
    closed = "/admin is closed: the operator has to set ADMIN_API_KEY."
    # Innermost first; why each one stands where it stands is said in gw/app.py.
    app = cast(ASGIApp, routes)
    app = BodyLimitMiddleware(app, max_bytes=MAX_BODY_BYTES, timeout=settings.server.body_timeout)
    app = AuthMiddleware(app, keys=keys, public=_PUBLIC, closed=closed, on_reject=drained())
    app = RequestGuardMiddleware(app)
    app = DisconnectMiddleware(app, deadline=DEADLINE_SECONDS, in_flight=in_flight)
    return TelemetryMiddleware(app, metrics=metrics, access_log=lines or wanted)


def from_environment() -> ASGIApp:
    """The app for any other ASGI server: ``uvicorn --factory gw.admin_server:from_environment``. Raises
    ``SettingsError``."""
    return create_admin_app(_settings())


def create() -> ASGIApp:
    """What Granian's worker calls."""
    from prometheus_client import disable_created_metrics

    disable_created_metrics()  # type: ignore[no-untyped-call]
    hold_back_interrupts()
    stop_with_parent()
    return create_admin_app(_settings(), own_process=True)


def main() -> None:
    """Serve until the parent stops this process, or is gone."""
    settings = _settings()
    assert settings.server.admin_port is not None
    if (problem := _address_problem(settings.server.host, settings.server.admin_port)) is not None:
        sys.exit(f"gw: {problem}")
    stop_with_pipe()
    Granian(
        "gw.admin_server:create",
        factory=True,
        address=settings.server.host,
        port=settings.server.admin_port,
        interface=Interfaces.ASGI,
        workers=1,
        http=HTTPModes.http1,
        websockets=False,
        loop=Loops.auto,
        runtime_mode=RuntimeModes.st,
        workers_kill_timeout=int(DRAIN_SECONDS) + KILL_MARGIN_SECONDS,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
        log_dictconfig=log_config(settings.server.log_level),
    ).serve()


def _address_problem(host: str, port: int) -> str | None:
    """Why it cannot be listened on: Granian would say it in a traceback."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return f"ADMIN_PORT={port} on {host} cannot be listened on: {error.strerror or error}."
    return None


def _settings() -> Settings:
    return load(os.environ, simulated=os.environ.get(SIMULATED) == "1")


if __name__ == "__main__":
    main()
