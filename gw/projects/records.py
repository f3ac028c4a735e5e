"""What the verifier asks the database, one statement each. Loads SQLAlchemy: import it late."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from middleware._state import Principal

from ..store.engine import reading
from ..store.schema import directory_version, keys, projects
from .merge import principal_of
from .rows import key_of, project_of
from .types import DEFAULT_PROJECT, Project

_log = logging.getLogger(__name__)
_VERSION = select(directory_version.c.version).where(directory_version.c.id == 1)
_KEYS = select(_VERSION.scalar_subquery(), *keys.c, *projects.c).join_from(
    keys, projects, keys.c.project == projects.c.id
)
_KEY_NAMES, _PROJECT_NAMES = keys.c.keys(), projects.c.keys()


@dataclass(slots=True, frozen=True)
class Record:
    """A key as the table had it at ``version`` of the directory."""

    version: int
    digest: str
    #: None: the key is revoked, or its project archived.
    principal: Principal | None
    #: Unix seconds.
    expires_at: float


async def read_version(engine: AsyncEngine) -> int:
    """The directory's version; 0 before its first change."""
    async with reading(engine) as connection:
        return (await connection.execute(_VERSION)).scalar() or 0


async def read_records(engine: AsyncEngine, ids: Sequence[str]) -> dict[str, Record | None]:
    """The keys among ``ids`` that there are; None for one that cannot be read, which is logged."""
    async with reading(engine) as connection:
        rows = (await connection.execute(_KEYS.where(keys.c.id.in_(ids)))).all()
    found: dict[str, Record | None] = {}
    known: dict[str, Project] = {}  # many keys, few projects
    for version, *values in rows:
        row = dict(zip(_KEY_NAMES, values, strict=False))
        try:
            key = key_of(row)
            if (project := known.get(key.project)) is None:
                columns = values[len(_KEY_NAMES) :]
                project = known[key.project] = project_of(dict(zip(_PROJECT_NAMES, columns, strict=True)))
        except Exception:  # noqa: BLE001 - somebody has written into the table by hand
            _log.error("the row of the key %s, or of its project, cannot be read", row["id"])
            found[row["id"]] = None
            continue
        alive = key.revoked_at is None and project.archived_at is None
        found[key.id] = Record(
            version=version or 0,
            digest=row["digest"],
            principal=principal_of(key, project) if alive else None,
            expires_at=math.inf if key.expires_at is None else key.expires_at.timestamp(),
        )
    return found


async def read_default(engine: AsyncEngine) -> Project | None:
    """The project of ``GATEWAY_API_KEY``; None before the directory's first use."""
    async with reading(engine) as connection:
        found = await connection.execute(select(projects).where(projects.c.id == DEFAULT_PROJECT))
        row = found.mappings().first()
    return None if row is None else project_of(dict(row))
