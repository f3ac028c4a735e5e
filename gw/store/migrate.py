"""Brings a database to the schema of this program; many processes may do so at once.

Alembic is loaded only where there is something to do: it takes half a second.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, column, func, inspect, select, table

from .engine import reading, reopen

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

#: The newest revision in ``migrations/versions``.
HEAD = "0001"
#: Seconds to wait for another process that is migrating, and for one statement of a migration.
PATIENCE = 120.0
#: PostgreSQL's advisory locks are numbers, shared by all who use a database: these are the letters "gwstore".
_LOCK = int.from_bytes(b"gwstore")
#: Alembic's commands work on objects of its modules: one at a time in a process.
_alembic = threading.Lock()


class MigrationError(Exception):
    """The database is not one that this program can bring up to date; the message says what to do."""


async def version_of(engine: AsyncEngine) -> str | None:
    """The revision of the database; None for one that has no tables yet."""
    async with reading(engine) as connection:
        return await connection.run_sync(_version)


async def migrate(engine: AsyncEngine, *, patience: float = PATIENCE) -> bool:
    """Bring the database to :data:`HEAD`; says whether there was anything to do.

    It happens in one transaction, all of it or nothing, under a lock. Raises :class:`MigrationError` where
    the database is newer than this program, and what :func:`gw.store.engine.is_away` knows where it cannot
    be reached or another process migrates for longer than ``patience`` seconds.
    """
    if await version_of(engine) == HEAD:
        return False
    # In a thread: loading Alembic would hold up all others of this event loop.
    return await asyncio.to_thread(_run_alone, engine, "upgrade", HEAD, patience)


async def downgrade(engine: AsyncEngine, revision: str, *, patience: float = PATIENCE) -> bool:
    """Go back to ``revision`` (``"base"``: before the first), with the loss of what it does not know."""
    return await asyncio.to_thread(_run_alone, engine, "downgrade", revision, patience)


def _run_alone(engine: AsyncEngine, command: str, revision: str, patience: float) -> bool:
    with _alembic:
        return asyncio.run(_run(engine, command, revision, patience))


async def _run(engine: AsyncEngine, command: str, revision: str, patience: float) -> bool:
    patient = reopen(engine, seconds=patience)
    try:
        async with patient.connect() as connection:
            await _prepare(connection)
            async with connection.begin():
                if connection.dialect.name == "postgresql":
                    # Of the transaction: a pooler may give each one another session.
                    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                return await connection.run_sync(_alter, command, revision)
    finally:
        await patient.dispose()


async def _prepare(connection: AsyncConnection) -> None:
    """SQLite, which checks foreign keys here, would empty the tables that refer to one that is copied. That
    cannot be changed inside a transaction."""
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("PRAGMA foreign_keys = OFF")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(select(column("version_num")).select_from(table("alembic_version")))
    return found


def _alter(connection: Connection, command: str, revision: str) -> bool:
    before = _version(connection)
    if before == revision:
        return False  # another process was quicker

    from alembic import command as commands
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "gw.store:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise MigrationError(
            f"The database is at revision {before}, and this program knows revisions up to {HEAD}: a newer "
            "gateway has migrated it. Run that version or a later one, or restore the backup from before."
        )
    getattr(commands, command)(config, revision)
    return _version(connection) != before
