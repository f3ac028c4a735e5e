"""Projects and their keys: made, shown, changed, taken away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from blacksheep import Response

from ...projects.parse import key_from_json, project_from_json
from ...projects.types import Invalid, Key, NewKey, key_json, project_json
from .mounting import Admin, Refused, answer
from .table import Call

if TYPE_CHECKING:
    from ...projects.directory import Directory
    from .database import Database

T = TypeVar("T")

#: Seconds that a rotated key goes on working unless the caller says otherwise.
OVERLAP_SECONDS = 86_400


async def list_projects(admin: Admin, call: Call) -> Response:
    values = call.values
    page = await _ask(
        admin,
        lambda d: d.projects(
            after=values["after"], limit=values["limit"], archived=values["archived"] is True
        ),
    )
    return answer({"projects": [project_json(project) for project in page.items], "next": page.next})


async def create_project(admin: Admin, call: Call) -> Response:
    spec = project_from_json(call.body)
    made = await _ask(admin, lambda d: d.create_project(spec, actor=call.actor, request_id=call.request_id))
    return answer(project_json(made), 201)


async def show_project(admin: Admin, call: Call) -> Response:
    return answer(project_json(await _ask(admin, lambda d: d.project(call.values["project"]))))


async def change_project(admin: Admin, call: Call) -> Response:
    changed = await _ask(
        admin,
        lambda d: d.update_project(
            call.values["project"], call.body, actor=call.actor, request_id=call.request_id
        ),
    )
    return answer(project_json(changed))


async def archive_project(admin: Admin, call: Call) -> Response:
    return await _archive(admin, call, restore=False)


async def restore_project(admin: Admin, call: Call) -> Response:
    return await _archive(admin, call, restore=True)


async def list_keys(admin: Admin, call: Call) -> Response:
    values = call.values
    page = await _ask(
        admin,
        lambda d: d.keys(
            project=values["project"],
            after=values["after"],
            limit=values["limit"],
            active=values["active"] is True,
        ),
    )
    return answer({"keys": [_shown(key) for key in page.items], "next": page.next})


async def create_key(admin: Admin, call: Call) -> Response:
    spec = key_from_json(call.body)
    made = await _ask(
        admin,
        lambda d: d.create_key(call.values["project"], spec, actor=call.actor, request_id=call.request_id),
    )
    return answer(_issued(made), 201)


async def show_key(admin: Admin, call: Call) -> Response:
    return answer(_shown(await _ask(admin, lambda d: d.key(call.values["key"]))))


async def change_key(admin: Admin, call: Call) -> Response:
    changed = await _ask(
        admin,
        lambda d: d.update_key(call.values["key"], call.body, actor=call.actor, request_id=call.request_id),
    )
    return answer(_shown(changed))


async def rotate_key(admin: Admin, call: Call) -> Response:
    overlap = _overlap(call.body)
    made = await _ask(
        admin,
        lambda d: d.rotate_key(
            call.values["key"], overlap=overlap, actor=call.actor, request_id=call.request_id
        ),
    )
    return answer(_issued(made), 201)


async def revoke_key(admin: Admin, call: Call) -> Response:
    revoked = await _ask(
        admin, lambda d: d.revoke_key(call.values["key"], actor=call.actor, request_id=call.request_id)
    )
    return answer(_shown(revoked))


async def _archive(admin: Admin, call: Call, *, restore: bool) -> Response:
    changed = await _ask(
        admin,
        lambda d: d.archive_project(
            call.values["project"], restore=restore, actor=call.actor, request_id=call.request_id
        ),
    )
    return answer(project_json(changed))


async def _ask(admin: Admin, ask: Callable[[Directory], Awaitable[T]]) -> T:
    """What ``ask`` returns. Without projects every route of theirs says what to set."""
    if not admin.settings.projects.enabled:
        raise Refused(
            409,
            "projects_off",
            "Projects are off, and GATEWAY_API_KEY is the one key: set ENABLE_MULTI_PROJECT=1 to have them.",
        )

    async def work(database: Database) -> T:
        assert database.directory is not None
        return await ask(database.directory)

    return await admin.store.run(work)


def _shown(key: Key) -> dict[str, Any]:
    return key_json(key, datetime.now(UTC))


def _issued(made: NewKey) -> dict[str, Any]:
    """The only answer that a key is ever in."""
    return {**_shown(made.key), "key": made.token}


def _overlap(body: Any) -> float:
    if not isinstance(body, dict):
        raise Invalid("", "must be a JSON object")
    for name in body:
        if name != "overlap_seconds":
            raise Invalid(name[:40], "is not known here: there is overlap_seconds")
    given = body.get("overlap_seconds", OVERLAP_SECONDS)
    if isinstance(given, bool) or not isinstance(given, int | Decimal) or not 0 <= given < 2**31:
        raise Invalid("overlap_seconds", "must be a number of seconds")
    return float(given)
