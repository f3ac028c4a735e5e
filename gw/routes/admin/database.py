"""What the handlers ask. Imports SQLAlchemy: only :mod:`.store` imports this, in a thread."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from ...projects.directory import Directory
from ...projects.keys import load_pepper
from ...settings import Settings
from ...store.engine import data_dir, open_engine
from ...store.migrate import migrate


@dataclass(slots=True, frozen=True)
class Database:
    """``directory`` is None while projects are off: without them there is no pepper to make keys with."""

    engine: AsyncEngine
    directory: Directory | None

    async def migrate(self) -> None:
        """Bring the database to the newest schema. Raises ``MigrationError`` for one that is newer."""
        await migrate(self.engine)


def open_database(settings: Settings) -> Database:
    """Connects to nothing yet. Raises ``DataDirError``,
    ``PepperError`` and ``ValueError`` for a URL that cannot be read."""
    pepper = None
    if settings.projects.enabled:
        pepper = load_pepper(settings.projects.pepper, lambda: data_dir(settings.ledger))
    engine = open_engine(settings.ledger)
    return Database(engine, None if pepper is None else Directory(engine, pepper))
