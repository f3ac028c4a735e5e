"""``gw migrate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..settings import Settings
from ._database import with_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


def migrate(args: argparse.Namespace) -> int:
    """0 the database is at this version's tables, 1 it is not, 2 wrong settings."""

    async def work(engine: AsyncEngine, settings: Settings) -> int:
        from ..store.migrate import HEAD
        from ..store.migrate import migrate as bring

        done = "is now at" if await bring(engine) else "is already at"
        print(f"The database {done} revision {HEAD}, the newest of this version.")
        return 0

    return with_engine(args, work, migrated=False)
