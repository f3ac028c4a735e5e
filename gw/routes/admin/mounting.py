"""From a row of the route table to a handler: input checked, failures made answers, nothing remembered by
caches."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from blacksheep import Content, Request, Response, Router

from middleware._body import Body
from middleware._metrics import Metrics
from middleware._reject import Rejection
from middleware._state import BODY, PRINCIPAL, REQUEST_ID, Principal

from ...observability.memory import Memory
from ...projects.keys import PepperError
from ...projects.parse import read_json
from ...projects.types import Conflict, Invalid, NotFound, Unavailable
from ...settings import Settings
from ...store.place import DataDirError
from .._http import Handler, guarded, refuse, scope_of, state_of
from .parameters import BadParameter, read_path, read_query
from .store import AdminStore, Busy, Late
from .table import Call, Route

logger = logging.getLogger("gateway")

#: Who may see it is decided for each request; and some answers hold a key.
NO_STORE = (b"cache-control", b"no-store")
RETRY_AFTER = (b"retry-after", b"2")


@dataclass(slots=True, frozen=True)
class Admin:
    """What the handlers stand on. ``metrics`` is None when they are switched off; ``memory`` says what waits
    in the workers'."""

    settings: Settings
    store: AdminStore
    metrics: Metrics | None
    memory: Memory


class Refused(Exception):
    """A handler's own refusal."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.rejection = Rejection(status, message, code=code)


def mount(router: Router, routes: Iterable[Route], admin: Admin) -> None:
    for route in routes:
        router.add(route.method, route.path, answering(route, admin))


def answering(route: Route, admin: Admin) -> Handler:
    """The handler of ``route``."""

    async def handle(request: Request) -> Response:
        try:
            return await route.handle(admin, _checked(route, request))
        except Exception as error:
            if (rejection := _rejection(error)) is None:
                raise
            return refuse(request, rejection)

    return guarded(handle)


def answer(payload: Any, status: int = 200) -> Response:
    """``payload`` as JSON."""
    return Response(status, [NO_STORE], Content(b"application/json", orjson.dumps(payload)))


def _checked(route: Route, request: Request) -> Call:
    scope, state = scope_of(request), state_of(request)
    principal: Principal | None = state.get(PRINCIPAL)
    query = bytes(scope.get("query_string", b""))
    values = read_query(query, route.parameters)
    values |= read_path(request.route_values or {}, route.parameters)
    body: Any = {}
    if route.request is not None:
        held: Body | None = state.get(BODY)
        body = read_json(held.raw) if held is not None and held.raw else {}
    return Call(
        path=request.url.path.decode("ascii", "replace"),
        query=query,
        values=values,
        body=body,
        accept=request.get_first_header(b"accept") or b"",
        actor=f"admin:{principal.key_id if principal is not None else 'unknown'}",
        request_id=state.get(REQUEST_ID),
    )


def _rejection(error: Exception) -> Rejection | None:
    """What the caller is told; None for what is nobody's fault but ours."""
    match error:
        case Refused():
            return error.rejection
        case BadParameter():
            return Rejection(400, f"{error}.", code="invalid_parameter", param=error.name)
        case Invalid():
            return Rejection(400, str(error), code="invalid_value", param=error.field or None)
        case NotFound():
            return Rejection(404, str(error), code=f"{error.kind}_not_found")
        case Conflict():
            return Rejection(409, str(error), code="conflict")
        case Busy():
            return _away("Other reports are being made at the moment: ask again soon.", "busy")
        case Late():
            return _away(str(error) or "The ledger's database is slow at the moment: ask again soon.")
        case Unavailable() | DataDirError() | PepperError():
            return _away(str(error))
    from ...store.engine import is_away
    from ...store.migrate import MigrationError

    if isinstance(error, MigrationError):
        return _away(str(error))
    if not is_away(error):
        return None
    # Its name only: a driver's messages like to quote addresses and values.
    logger.warning("the admin API cannot ask the database: %s", type(error).__name__)
    return _away("The ledger's database is away or slow at the moment: ask again soon.")


def _away(message: str, code: str = "database_unavailable") -> Rejection:
    return Rejection(503, message, type="api_error", code=code, headers=(RETRY_AFTER,))
