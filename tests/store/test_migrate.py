"""Every database comes to the schema of this program, whoever else is at it."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gw.store.migrate import HEAD, migrate, version_of

pytestmark = pytest.mark.anyio


async def test_head(engine: AsyncEngine) -> None:
    assert await version_of(engine) == HEAD
    assert not await migrate(engine)
