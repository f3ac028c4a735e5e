"""Fixtures that every test may use."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from .databases import database as database
from .databases import empty_database as empty_database
from .databases import engine as engine
from .databases import postgres_server as postgres_server
from .databases import postgres_template as postgres_template
from .databases import sqlite_template as sqlite_template

settings.register_profile("ci", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("ci"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
