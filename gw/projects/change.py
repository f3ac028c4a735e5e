"""One transaction on projects and keys: what it finds, what it writes, and its lines in the audit log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..store.schema import audit_log, directory_version, keys, projects
from .rows import key_of, key_values, project_of, project_values
from .types import DEFAULT_PROJECT, Conflict, Key, NotFound, Project, ProjectSpec, key_json, project_json

#: Who made the project that is always there.
GATEWAY = "gateway"
_NEVER = datetime.min.replace(tzinfo=UTC)


class Change:
    """What one transaction reads and writes. ``actor`` is who changes; "" where nothing is changed."""

    def __init__(
        self,
        connection: AsyncConnection,
        actor: str = "",
        request_id: str | None = None,
        now: datetime = _NEVER,
    ) -> None:
        self._connection = connection
        self._actor = actor
        self._request_id = request_id
        self.now = now

    async def bump(self) -> None:
        insert = postgresql.insert if self._connection.dialect.name == "postgresql" else sqlite.insert
        row = insert(directory_version).values(id=1, version=1)
        more = {"version": directory_version.c.version + 1}
        await self._connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=more))

    async def ensure_default(self) -> None:
        if await self.find_project(DEFAULT_PROJECT) is None:
            spec = ProjectSpec(id=DEFAULT_PROJECT, name=DEFAULT_PROJECT)
            made = project_of({**project_values(spec), "created_at": self.now, "updated_at": self.now})
            await self.insert_project(made)
            by, self._actor = self._actor, GATEWAY
            await self.note("project.create", f"project:{made.id}", None, project_json(made))
            self._actor = by

    async def find_project(self, id: str) -> Project | None:
        found = await self._connection.execute(select(projects).where(projects.c.id == id))
        row = found.mappings().first()
        return None if row is None else project_of(dict(row))

    async def project(self, id: str) -> Project:
        if (found := await self.find_project(id)) is None:
            raise NotFound("project", id)
        return found

    async def living_project(self, id: str) -> Project:
        found = await self.project(id)
        if found.archived_at is not None:
            raise Conflict(f"The project {id!r} is archived.")
        return found

    async def key(self, id: str) -> Key:
        found = await self._connection.execute(select(keys).where(keys.c.id == id))
        row = found.mappings().first()
        if row is None:
            raise NotFound("key", id)
        return key_of(dict(row))

    async def successor(self, id: str) -> str | None:
        """The key that has been made in the place of ``id``, unless it is revoked."""
        heirs = select(keys.c.id).where(keys.c.rotated_from == id, keys.c.revoked_at.is_(None))
        found: str | None = await self._connection.scalar(heirs.limit(1))
        return found

    async def insert_project(self, project: Project) -> None:
        await self._connection.execute(projects.insert().values(**project_values(project)))

    async def insert_key(self, key: Key, digest: str) -> None:
        await self._connection.execute(keys.insert().values(**key_values(key), digest=digest))

    async def save_project(self, old: Project, new: Project, action: str) -> None:
        row = projects.update().where(projects.c.id == new.id).values(**project_values(new))
        await self._connection.execute(row)
        await self.note(action, f"project:{new.id}", project_json(old), project_json(new))

    async def save_key(self, old: Key, new: Key, action: str) -> None:
        await self._connection.execute(keys.update().where(keys.c.id == new.id).values(**key_values(new)))
        await self.note(action, f"key:{new.id}", key_json(old), key_json(new))

    async def note(
        self, action: str, subject: str, before: dict[str, Any] | None, after: dict[str, Any] | None
    ) -> None:
        row = audit_log.insert().values(
            at=self.now,
            actor=self._actor,
            action=action,
            subject=subject,
            before=None if before is None else json.dumps(before, ensure_ascii=False),
            after=None if after is None else json.dumps(after, ensure_ascii=False),
            request_id=self._request_id,
        )
        await self._connection.execute(row)
