"""Projects and keys through the admin API, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.settings import Ledger
from gw.store.schema import audit_log, keys
from middleware.auth import key_fingerprint

from .admin import ADMIN_KEY, Gateway, gateway_over

pytestmark = pytest.mark.anyio

TERMS = {
    "name": "Team A",
    "rpm": 60,
    "tpm": 100_000,
    "concurrent": 5,
    "daily_budget_usd": "12.50",
    "monthly_budget_usd": "100.00",
    "rules": {"models": ["claude-*"], "max_tokens": 1000},
    "labels": {"cost-centre": "4711"},
}


@pytest.fixture
async def gateway(database: Ledger, anyio_backend: str) -> AsyncIterator[Gateway]:
    async with gateway_over(database) as running:
        yield running


async def test_a_project_is_made_shown_changed_archived_and_restored(gateway: Gateway) -> None:
    made = await gateway.made("/admin/projects", {"id": "team-a", **TERMS})
    assert {name: made[name] for name in TERMS} == TERMS
    assert (await gateway.get("/admin/projects/team-a")).json() == made

    patch = {"rpm": None, "daily_budget_usd": 0.000000001, "rules": {"max_tokens": None}}
    changed = await gateway.ask("PATCH", "/admin/projects/team-a", patch)
    assert changed.json() | {"updated_at": ""} == made | {
        "rpm": None,
        "daily_budget_usd": "0.000000001",
        "rules": {"models": ["claude-*"]},
        "updated_at": "",
    }

    archived = await gateway.ask("DELETE", "/admin/projects/team-a")
    assert archived.json()["archived_at"] is not None
    assert [p["id"] for p in (await gateway.get("/admin/projects")).json()["projects"]] == ["default"]
    everyone = (await gateway.get("/admin/projects?archived=true")).json()["projects"]
    assert [p["id"] for p in everyone] == ["default", "team-a"]
    restored = await gateway.ask("POST", "/admin/projects/team-a/restore")
    assert restored.json()["archived_at"] is None


async def test_a_key_is_in_one_answer_and_in_no_other(gateway: Gateway, engine: AsyncEngine) -> None:
    await gateway.made("/admin/projects", {"id": "team-a"})
    answer = await gateway.ask("POST", "/admin/projects/team-a/keys", {"name": "laptop", "rpm": 5})
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    token = made.pop("key")
    assert token.startswith(f"gw_{made['id']}_")
    secret = token.rpartition("_")[2]
    async with engine.connect() as connection:
        digest = (await connection.execute(keys.select())).mappings().one()["digest"]
    assert (await gateway.get(f"/admin/keys/{made['id']}")).json() == made
    assert (await gateway.get("/admin/keys?project=team-a")).json()["keys"] == [made]

    renamed = await gateway.ask("PATCH", f"/admin/keys/{made['id']}", {"name": "desk"})
    assert renamed.json()["name"] == "desk"
    rotated = await gateway.made(f"/admin/keys/{made['id']}/rotate", {"overlap_seconds": 60})
    assert rotated["rotated_from"] == made["id"]
    assert rotated["key"] != token
    revoked = await gateway.ask("DELETE", f"/admin/keys/{made['id']}")
    assert revoked.json()["status"] == "revoked"
    active = (await gateway.get("/admin/keys?project=team-a&active=true")).json()["keys"]
    assert [key["id"] for key in active] == [rotated["id"]]
    for path in ("/admin/keys", f"/admin/keys/{made['id']}", "/admin/projects", "/admin/openapi.json"):
        body = (await gateway.get(path)).body
        assert secret.encode() not in body
        assert digest.encode() not in body


async def test_a_key_without_a_name_is_changed_like_any_other(gateway: Gateway) -> None:
    made = await gateway.made("/admin/projects/default/keys", {})
    changed = await gateway.ask("PATCH", f"/admin/keys/{made['id']}", {"rpm": 3})
    assert (changed.status, changed.json().get("rpm"), changed.json().get("name")) == (200, 3, "")


async def test_changes_are_audited_under_the_admin_keys_fingerprint(
    gateway: Gateway, engine: AsyncEngine
) -> None:
    answer = await gateway.ask("POST", "/admin/projects", {"id": "team-a"}, **{"x-request-id": "change-1"})
    assert answer.status == 201
    async with engine.connect() as connection:
        rows = (await connection.execute(audit_log.select())).mappings().all()
    (row,) = [dict(row) for row in rows if row["subject"] == "project:team-a"]
    assert row["actor"] == f"admin:{key_fingerprint(ADMIN_KEY)}"
    assert row["action"] == "project.create"
    assert row["request_id"] == "change-1"


async def test_lists_come_in_pages(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.made("/admin/projects", {"id": f"p{number}"})
    seen: list[str] = []
    after = ""
    while True:
        page = (await gateway.get(f"/admin/projects?limit=2{after}")).json()
        assert len(page["projects"]) <= 2
        seen += [project["id"] for project in page["projects"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["default", "p0", "p1", "p2", "p3", "p4"]


async def test_a_revoked_key_and_one_of_an_archived_project_are_refused(gateway: Gateway) -> None:
    await gateway.made("/admin/projects", {"id": "team-a"})
    first, second = [
        await gateway.made("/admin/projects/team-a/keys", {"name": name}) for name in ("one", "two")
    ]
    for key in (first, second):
        assert (await gateway.ask("GET", "/v1/models", key=key["key"])).status == 200
    await gateway.ask("DELETE", f"/admin/keys/{first['id']}")
    assert await gateway.comes_to_refuse(first["key"])
    assert (await gateway.ask("GET", "/v1/models", key=second["key"])).status == 200
    await gateway.ask("DELETE", "/admin/projects/team-a")
    assert await gateway.comes_to_refuse(second["key"])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_an_allowed_model_without_an_upstream_is_no_matter_of_the_key(gateway: Gateway) -> None:
    rules = {"rules": {"models": ["local:*"]}}
    await gateway.made("/admin/projects", {"id": "team-a", **rules})
    key = (await gateway.made("/admin/projects/team-a/keys", {}))["key"]
    body = {"model": "local:qwen3", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    for path in ("/v1/chat/completions", "/v1/messages"):
        answer = await gateway.ask("POST", path, body, key=key)
        assert answer.status == 500
        assert "LOCAL_LLM_BASE_URL" in answer.json()["error"]["message"]
        refused = await gateway.ask("POST", path, {**body, "model": "groq:qwen3"}, key=key)
        assert refused.status == 403


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"id": "Team A"}, "id"),
        ({"name": "no id"}, "id"),
        ({"id": "a", "rpm": 0}, "rpm"),
        ({"id": "a", "rpm": "60"}, "rpm"),
        ({"id": "a", "daily_budget_usd": "-1"}, "daily_budget_usd"),
        ({"id": "a", "daily_budget_usd": "1e3"}, "daily_budget_usd"),
        ({"id": "a", "rules": {"models": ["a b"]}}, "rules.models[0]"),
        ({"id": "a", "rules": {"models": []}}, "rules.models"),
        ({"id": "a", "rules": {"allowed_tools": []}}, "rules.allowed_tools"),
        ({"id": "a", "rules": {"blocked_tools": []}}, "rules.blocked_tools"),
        ({"id": "a", "labels": {"x": 1}}, "labels.x"),
        ({"id": "a", "secret": 1}, "secret"),
        ([], None),
        (b"{", None),
        (b'{"id": "a", "rpm": NaN}', None),
        (b'{"id": "a", "id": "b"}', None),
        (b"\xff", None),
        (b'{"a":' * 400 + b"1" + b"}" * 400, None),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_wrong_project_is_400_and_the_field_is_named(
    gateway: Gateway, body: Any, param: str | None
) -> None:
    answer = await gateway.ask("POST", "/admin/projects", body)
    assert answer.status == 400, answer.body
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/admin/projects/nobody", None, 404, "project_not_found"),
        ("PATCH", "/admin/projects/nobody", {}, 404, "project_not_found"),
        ("POST", "/admin/projects/nobody/keys", {}, 404, "project_not_found"),
        ("GET", "/admin/keys?project=nobody", None, 404, "project_not_found"),
        ("GET", "/admin/keys/nobody", None, 404, "key_not_found"),
        ("DELETE", "/admin/keys/nobody", None, 404, "key_not_found"),
        ("POST", "/admin/keys/nobody/rotate", {}, 404, "key_not_found"),
        ("POST", "/admin/keys/nobody/rotate", {"overlap_seconds": -1}, 400, "invalid_value"),
        ("POST", "/admin/keys/nobody/rotate", {"overlap_seconds": True}, 400, "invalid_value"),
        ("POST", "/admin/keys/nobody/rotate", {"overlap": 1}, 400, "invalid_value"),
        ("POST", "/admin/projects", {"id": "default"}, 409, "conflict"),
        ("DELETE", "/admin/projects/default", None, 409, "conflict"),
        ("GET", "/admin/projects?limit=501", None, 400, "invalid_parameter"),
        ("GET", "/admin/projects?page=2", None, 400, "invalid_parameter"),
        ("DELETE", "/admin/projects/default?force=true", None, 400, "invalid_parameter"),
        ("PUT", "/admin/projects/default", {}, 404, "unknown_url"),
        ("GET", "/admin", None, 404, "unknown_url"),
    ],
)
async def test_what_is_not_there_or_not_allowed_is_said(
    gateway: Gateway, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = await gateway.ask(method, path, body)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_whole_key_in_a_url_is_refused_and_not_repeated(gateway: Gateway) -> None:
    made = await gateway.made("/admin/projects/default/keys", {})
    for method, path in (
        ("GET", f"/admin/keys/{made['key']}"),
        ("DELETE", f"/admin/keys/{made['key']}"),
        ("GET", f"/admin/usage?key={made['key']}"),
    ):
        answer = await gateway.ask(method, path)
        assert answer.status == 400
        assert answer.json()["error"]["param"] == "key"
        assert "between the key's two underscores" in answer.json()["error"]["message"]
        assert made["key"][-64:].encode() not in answer.body


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_without_projects_their_routes_name_the_variable(database: Ledger) -> None:
    async with gateway_over(database, ENABLE_MULTI_PROJECT="0") as gateway:
        for method, path in (("GET", "/admin/projects"), ("POST", "/admin/projects/default/keys")):
            answer = await gateway.ask(method, path)
            assert (answer.status, answer.json()["error"]["code"]) == (409, "projects_off")
            assert "ENABLE_MULTI_PROJECT=1" in answer.json()["error"]["message"]
