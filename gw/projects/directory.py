"""Projects and keys in the database: looked up, listed, changed.

Every change, its line in the audit log and the new version of the directory are one transaction. It begins
with the version, which is one row: so changes come one after another in both databases, and a worker that
sees a version sees everything that made it.

Every method takes ten seconds at most, and raises :class:`~.types.Unavailable` where the database cannot be
asked. SQLAlchemy is loaded with this module: import it late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..store.engine import is_away, reading
from ..store.schema import keys, projects
from .change import Change
from .keys import mint
from .parse import changed_key, changed_project
from .rows import key_of, key_values, project_of, project_values
from .types import (
    DEFAULT_PROJECT,
    Conflict,
    Invalid,
    Key,
    KeySpec,
    NewKey,
    Page,
    Project,
    ProjectSpec,
    Unavailable,
    key_json,
    project_json,
)

#: A key goes on working for so long beside the one that takes its place: seconds.
DAY = 86_400
MAX_OVERLAP = 30 * DAY
MAX_PAGE = 500
SECONDS = 10.0
_log = logging.getLogger(__name__)


class Directory:
    """Projects and keys. ``pepper`` is what keys are hashed with (see :mod:`.keys`).

    ``actor`` and ``request_id`` of a change are what the audit log says of it: ``admin:<fingerprint>`` or
    ``cli:<user>``.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        pepper: bytes,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: float = SECONDS,
    ) -> None:
        self._engine = engine
        self._pepper = pepper
        self._clock = clock
        self._seconds = seconds
        self._has_default = False

    async def create_project(
        self, spec: ProjectSpec, *, actor: str, request_id: str | None = None
    ) -> Project:
        """Raises ``Conflict`` when there is one of that id."""
        async with self._changing(actor, request_id) as change:
            now = change.now
            if await change.find_project(spec.id) is not None:
                raise Conflict(f"There is a project {spec.id!r} already.")
            made = project_of({**project_values(spec), "created_at": now, "updated_at": now})
            await change.insert_project(made)
            await change.note("project.create", f"project:{made.id}", None, project_json(made))
        return made

    async def project(self, id: str) -> Project:
        """Raises ``NotFound``."""
        async with self._reading() as connection:
            return await Change(connection).project(id)

    async def projects(
        self, *, after: str | None = None, limit: int = 100, archived: bool = False
    ) -> Page[Project]:
        """Projects by id, at most ``limit`` of them; ``archived``: those, too. Raises ``Invalid``."""
        query = select(projects)
        if not archived:
            query = query.where(projects.c.archived_at.is_(None))
        async with self._reading() as connection:
            rows = await _page(connection, query, projects.c.id, after, limit)
        return _paged([project_of(row) for row in rows], limit)

    async def update_project(
        self, id: str, patch: Any, *, actor: str, request_id: str | None = None
    ) -> Project:
        """``patch`` is a JSON merge patch, from :func:`~.parse.read_json`: see
        :func:`~.parse.changed_project`. Raises ``NotFound`` and ``Invalid``."""
        async with self._changing(actor, request_id) as change:
            old = await change.project(id)
            spec = changed_project(old, patch)
            new = project_of(
                {
                    **project_values(spec),
                    "created_at": old.created_at,
                    "updated_at": change.now,
                    "archived_at": old.archived_at,
                }
            )
            await change.save_project(old, new, "project.update")
        return new

    async def archive_project(
        self, id: str, *, restore: bool = False, actor: str, request_id: str | None = None
    ) -> Project:
        """From now on the project's keys are refused; with ``restore`` they are taken again. Its rows stay
        in the ledger. Raises ``NotFound``, and ``Conflict`` for the project ``default``."""
        if id == DEFAULT_PROJECT:
            raise Conflict("The project 'default' is the one of GATEWAY_API_KEY: it cannot be archived.")
        async with self._changing(actor, request_id) as change:
            old = await change.project(id)
            if (old.archived_at is None) is restore:
                return old
            now = change.now
            new = replace(old, archived_at=None if restore else now, updated_at=now)
            await change.save_project(old, new, "project.restore" if restore else "project.archive")
        return new

    async def create_key(
        self, project: str, spec: KeySpec, *, actor: str, request_id: str | None = None
    ) -> NewKey:
        """Raises ``NotFound`` for the project, ``Conflict`` when it is archived, ``Invalid`` for an expiry
        in the past."""
        async with self._changing(actor, request_id) as change:
            _check_expiry(spec.expires_at, change.now)
            await change.living_project(project)
            made = await self._mint(change, project, spec)
            await change.note("key.create", f"key:{made.key.id}", None, key_json(made.key))
        return made

    async def key(self, id: str) -> Key:
        """Raises ``NotFound``."""
        async with self._reading() as connection:
            return await Change(connection).key(id)

    async def keys(
        self,
        *,
        project: str | None = None,
        after: str | None = None,
        limit: int = 100,
        active: bool = False,
    ) -> Page[Key]:
        """Keys in the order in which they were made, at most ``limit``; of ``project`` alone where it is
        given. ``active``: neither revoked nor expired. Raises ``NotFound`` and ``Invalid``."""
        query = select(keys)
        if project is not None:
            query = query.where(keys.c.project == project)
        if active:
            now = self._clock()
            query = query.where(
                keys.c.revoked_at.is_(None), keys.c.expires_at.is_(None) | (keys.c.expires_at > now)
            )
        async with self._reading() as connection:
            if project is not None:
                await Change(connection).project(project)
            rows = await _page(connection, query, keys.c.id, after, limit)
        return _paged([key_of(row) for row in rows], limit)

    async def update_key(self, id: str, patch: Any, *, actor: str, request_id: str | None = None) -> Key:
        """``patch`` is a JSON merge patch: see :func:`~.parse.changed_key`. Raises ``NotFound``, ``Invalid``,
        and ``Conflict`` for a key that is revoked."""
        async with self._changing(actor, request_id) as change:
            old = await change.key(id)
            if old.revoked_at is not None:
                raise Conflict(f"The key {id} is revoked.")
            spec = changed_key(old, patch)
            if spec.expires_at != old.expires_at:
                _check_expiry(spec.expires_at, change.now)
            new = key_of(
                {
                    **key_values(spec),
                    "id": old.id,
                    "project": old.project,
                    "created_at": old.created_at,
                    "updated_at": change.now,
                    "revoked_at": None,
                    "rotated_from": old.rotated_from,
                }
            )
            await change.save_key(old, new, "key.update")
        return new

    async def rotate_key(
        self, id: str, *, overlap: float = DAY, actor: str, request_id: str | None = None
    ) -> NewKey:
        """A key in the place of ``id`` on the same terms, valid for as long as that one was when it was made.

        The old one goes on working for ``overlap`` seconds (0: it ends now), or until its own end if that is
        sooner. What the key's own budgets have spent stays with the old one. Raises ``NotFound``,
        ``Invalid``, and ``Conflict`` for a key that is revoked, expired or already rotated: what is left of
        its time would be all the time of the new one.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise Invalid("overlap_seconds", f"must be from 0 to {MAX_OVERLAP} (30 days)")
        async with self._changing(actor, request_id) as change:
            now = change.now
            old = await change.key(id)
            if (status := old.status(now)) != "active":
                raise Conflict(f"The key {id} is {status}: create a new one instead.")
            if (heir := await change.successor(id)) is not None:
                raise Conflict(f"The key {id} is rotated already, to {heir}: rotate or revoke that one.")
            await change.living_project(old.project)
            until = now + timedelta(seconds=overlap)
            ends = until if old.expires_at is None else min(until, old.expires_at)
            lasts = None if old.expires_at is None else now + (old.expires_at - old.created_at)
            ending = replace(old, expires_at=ends, updated_at=now)
            made = await self._mint(change, old.project, _spec(old, lasts), rotated_from=id)
            await change.save_key(old, ending, "key.rotate")
            await change.note("key.create", f"key:{made.key.id}", None, key_json(made.key))
        return made

    async def revoke_key(self, id: str, *, actor: str, request_id: str | None = None) -> Key:
        """Refused by every worker within seconds, for good. Raises ``NotFound``."""
        async with self._changing(actor, request_id) as change:
            old = await change.key(id)
            if old.revoked_at is not None:
                return old
            now = change.now
            new = replace(old, revoked_at=now, updated_at=now)
            await change.save_key(old, new, "key.revoke")
        return new

    async def _mint(
        self, change: Change, project: str, spec: KeySpec, rotated_from: str | None = None
    ) -> NewKey:
        minted = mint(self._pepper, change.now.timestamp)
        key = key_of(
            {
                **key_values(spec),
                "id": minted.id,
                "project": project,
                "created_at": change.now,
                "updated_at": change.now,
                "rotated_from": rotated_from,
            }
        )
        await change.insert_key(key, minted.digest)
        return NewKey(key, minted.token)

    @asynccontextmanager
    async def _changing(self, actor: str, request_id: str | None) -> AsyncIterator[Change]:
        async with self._asking(), self._engine.begin() as connection:
            change = Change(connection, actor, request_id, self._clock())
            await change.bump()
            if not self._has_default:
                await change.ensure_default()
            yield change
        self._has_default = True

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        if not self._has_default:
            await self._ensure_default()
        async with self._asking(), reading(self._engine) as connection:
            yield connection

    async def _ensure_default(self) -> None:
        async with self._asking(), reading(self._engine) as connection:
            found = await Change(connection).find_project(DEFAULT_PROJECT)
        if found is None:
            async with self._changing("", None):
                pass
        self._has_default = True

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Bounds the time, and turns a database's trouble into ``Unavailable``."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except IntegrityError as error:  # somebody who does not go by the version wrote the same
            raise Conflict("Somebody has changed the same at the same time: try again.") from error
        except Exception as error:
            if not is_away(error):
                raise
            _log.warning("the directory cannot be asked: %s", type(error).__name__)
            raise Unavailable(type(error).__name__) from error


def _spec(key: Key, expires_at: datetime | None) -> KeySpec:
    values = {name: getattr(key, name) for name in KeySpec.__dataclass_fields__}
    return KeySpec(**{**values, "expires_at": expires_at})


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise Invalid("expires_at", "must be in the future")


async def _page(
    connection: AsyncConnection,
    query: Select[Any],
    id: ColumnElement[str],
    after: str | None,
    limit: int,
) -> list[Any]:
    """One row more than ``limit``, which tells whether there are more."""
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    query = query.where(true() if after is None else id > after).order_by(id).limit(limit + 1)
    return list((await connection.execute(query)).mappings())


def _paged(items: list[Any], limit: int) -> Page[Any]:
    more = len(items) > limit
    return Page(tuple(items[:limit]), items[limit - 1].id if more else None)
