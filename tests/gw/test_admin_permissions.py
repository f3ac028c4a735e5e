"""Who may ask what, for every route that is mounted; the list of them is the route table itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from sqlalchemy import func, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.admin_server import create_admin_app
from gw.routes.admin import ROUTES
from gw.routes.admin.table import Route
from gw.routes.admin.v1 import V1
from gw.settings import Ledger
from gw.store.schema import audit_log, metadata, projects

from .admin import ADMIN_KEY, Gateway, gateway_over, running, settings_of
from .stub import KEY

pytestmark = pytest.mark.anyio

Calls = dict[tuple[str, str], Any]

#: Method and path -> a body that the route takes.
ADMIN: Calls = {(route.method, route.path): route.request_example for route in ROUTES}
#: (The model is one that is there.)
CLIENTS: Calls = {(o.method, o.path): o.example and {**o.example, "model": "sonnet"} for o in V1 if o.key}
# All of these are there without /v1, too.
CLIENTS |= {(method, path.removeprefix("/v1")): body for (method, path), body in CLIENTS.items()}
PUBLIC: Calls = {(o.method, o.path): None for o in V1 if not o.key}

_MALFORMED = (
    "x",
    "gw_",
    f"gw_{'0' * 18}_{'0' * 64}",
    KEY[:-1],
    ADMIN_KEY + "x",
    ADMIN_KEY.upper(),
    "' OR '1'='1",
    "gw_' OR 1=1 --_x",
)


@pytest.fixture
async def gateway(database: Ledger, anyio_backend: str) -> AsyncIterator[Gateway]:
    async with gateway_over(database) as running:
        yield running


def test_every_mounted_route_is_in_one_of_the_lists_and_no_other() -> None:
    assert not set(ADMIN) & set(CLIENTS)
    assert not set(PUBLIC) & (set(ADMIN) | set(CLIENTS))
    assert len(ADMIN) == len(ROUTES)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_lists_are_what_is_mounted(gateway: Gateway) -> None:
    assert _mounted(gateway) == set(ADMIN) | set(CLIENTS) | set(PUBLIC)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_each_route_answers_whom_it_is_for_and_nobody_else(
    gateway: Gateway, engine: AsyncEngine
) -> None:
    for project in ("team-a", "team-b"):
        await gateway.made("/admin/projects", {"id": project})
    own, other, revoked = [
        await gateway.made(f"/admin/projects/{project}/keys", {})
        for project in ("team-a", "team-b", "team-a")
    ]
    assert (await gateway.ask("GET", "/v1/models", key=revoked["key"])).status == 200
    await gateway.ask("DELETE", f"/admin/keys/{revoked['id']}")
    assert await gateway.comes_to_refuse(revoked["key"])
    values = {"project": "team-a", "key": own["id"]}
    users = (KEY, own["key"], other["key"])
    nobody = (None, *_MALFORMED, revoked["key"])
    before = await _count(engine)

    for allowed, (method, path), body in (
        *(((ADMIN_KEY,), call, body) for call, body in ADMIN.items()),
        *((users, call, body) for call, body in CLIENTS.items()),
    ):
        path = _filled(path, values)
        for key in (*nobody, *users, ADMIN_KEY):
            if key in allowed:
                continue
            answer = await gateway.ask(method, path, body, key=key)
            where = f"{method} {path} with {key}"
            assert answer.status == 401, where
            assert set(answer.json()) <= {"error", "type", "request_id"}, where
    assert await _count(engine) == before  # so nothing was changed by any of them

    for allowed, calls in ((users, CLIENTS), ((None, KEY, ADMIN_KEY), PUBLIC)):
        for (method, path), body in calls.items():
            for key in allowed:
                answer = await gateway.ask(method, _filled(path, values), body, key=key)
                assert answer.status not in (401, 403, 500), f"{method} {path}: {answer.body!r}"
    for method, path in sorted(ADMIN, key=lambda call: call[0] == "DELETE"):  # what deletes comes last
        answer = await gateway.ask(method, _filled(path, values), ADMIN[method, path])
        assert answer.status in (200, 201, 409), f"{method} {path}: {answer.body!r}"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "path",
    ["/Admin/projects", "//admin/projects", "/admin//projects", "/v1/../admin/projects", "/admin/./projects",
     "/admin/projects/", "/%61dmin/projects", "/admin%2fprojects", "/v1/admin/projects"],
)  # fmt: skip
async def test_no_other_way_of_writing_the_path_leads_past_the_key(gateway: Gateway, path: str) -> None:
    for key in (None, KEY):
        answer = await gateway.ask("GET", path, key=key)
        assert answer.status in (401, 404)
        assert b"projects" not in answer.body.replace(path.encode(), b"")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_without_an_admin_key_everything_is_closed(database: Ledger) -> None:
    async with gateway_over(database, ADMIN_API_KEY="") as gateway:
        for (method, path), body in ADMIN.items():
            for key in (None, KEY, ADMIN_KEY, ""):
                answer = await gateway.ask(method, path, body, key=key)
                assert (answer.status, answer.json()["error"]["code"]) == (403, "closed"), path


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_with_a_port_of_its_own_admin_is_there_and_nowhere_else(database: Ledger) -> None:
    health = {call for call in PUBLIC if call[1] != "/api/hello"}
    async with gateway_over(database, ADMIN_PORT="9443") as main:
        assert _mounted(main) == set(CLIENTS) | set(PUBLIC)
        for (method, path), body in ADMIN.items():
            for key in (None, KEY, ADMIN_KEY):
                assert (await main.ask(method, path, body, key=key)).status == 404, path
            assert (await main.ask(method, path, body)).status == 404, path
    async with running(create_admin_app(settings_of(database, ADMIN_PORT="9443"))) as app:
        own = Gateway(app)
        assert _mounted(own) == set(ADMIN) | health
        await own.made("/admin/projects", {"id": "team-a"})
        key = await own.made("/admin/projects/team-a/keys", {"name": "laptop"})
        for (method, path), body in (ADMIN | CLIENTS).items():
            for wrong in (None, KEY, key["key"], *_MALFORMED):
                answer = await own.ask(method, _filled(path, {}), body, key=wrong)
                assert answer.status == 401, f"{method} {path} with {wrong}"
        for method, path in health:
            assert (await own.ask(method, path, key=None)).status == 200


INJECTIONS = (
    "a' OR '1'='1",
    "a'; DROP TABLE projects; --",
    "') UNION SELECT id, digest FROM keys --",
    "\\'; SELECT pg_sleep(20); --",
    '"$1 :project %(project)s {project.__class__}',
    "\u02bc OR 1=1 --",
)


async def test_no_text_in_any_parameter_is_ever_sql(gateway: Gateway, engine: AsyncEngine) -> None:
    """Through the query, the path, the body and the credentials, against both databases."""
    await gateway.made("/admin/projects", {"id": "team-a"})
    key = await gateway.made("/admin/projects/team-a/keys", {"name": "laptop"})
    values = {"project": "team-a", "key": key["id"]}
    for route in ROUTES:
        async with anyio.create_task_group() as group:  # no more at once than /admin takes
            for text in INJECTIONS:
                group.start_soon(_attack, gateway, route, values, text)
    for text in INJECTIONS:
        if text.isascii():
            assert (await gateway.ask("GET", "/v1/models", key=text)).status == 401
            assert (await gateway.ask("GET", "/admin/projects", key=text)).status == 401
    async with engine.connect() as connection:
        names = set(await connection.run_sync(lambda c: inspect(c).get_table_names()))
        ids = list((await connection.execute(select(projects.c.id).order_by(projects.c.id))).scalars())
    assert set(metadata.tables) <= names
    assert ids == ["default", "team-a"]


async def _attack(gateway: Gateway, route: Route, values: dict[str, str], text: str) -> None:
    encoded = quote(text, safe="")
    for parameter in route.parameters:
        query = "" if parameter.in_path else f"?{parameter.name}={encoded}"
        filled = {**values, parameter.name: encoded} if parameter.in_path else values
        path = _filled(route.path, filled) + query
        answer = await gateway.ask(route.method, path, route.request_example)
        assert answer.status in (200, 400, 404, 409), f"{route.method} {path}: {answer.body!r}"
    if route.request is not None and route.method == "PATCH":
        body = {"name": text, "labels": {"x": text}, "rules": {"system_prefix": text}}
        answer = await gateway.ask("PATCH", _filled(route.path, values), body)
        assert answer.status == 200, answer.body
        assert {name: answer.json()[name] for name in body} == body
    elif route.request is not None:
        body = dict.fromkeys(route.request_example, text)
        answer = await gateway.ask(route.method, _filled(route.path, values), body)
        assert answer.status in (400, 409), answer.body


def _mounted(gateway: Gateway) -> set[tuple[str, str]]:
    return {
        (method.decode(), route.pattern.decode())
        for method, routes in gateway.router.routes.items()
        for route in routes
    }


def _filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(?:path:)?(\w+)\}", lambda found: values.get(found[1], "some-id"), path)


async def _count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(audit_log))).scalar_one())
