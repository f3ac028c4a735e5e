"""The first start, with nothing there yet: no error is told that is none, and every one that is one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import gw
from tests.services import PASSWORD, running_postgres

from .gateway import KEY, Gateway, running_gateway

PROJECTS = {"GATEWAY_API_KEY": KEY, "LEDGER_ENABLED": "1", "ENABLE_MULTI_PROJECT": "1"}
#: Nothing listens there.
AWAY = "postgresql://gateway@127.0.0.1:9/gateway"


def complaints(gateway: Gateway) -> list[str]:
    return [line for line in gateway.log.splitlines() if " ERROR " in line or " WARNING " in line]


def await_that(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def test_a_first_start_with_projects_looks_clean_and_takes_keys_soon(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_gateway("serve", "--workers", "2", DATA_DIR=str(data), **PROJECTS) as gateway:
        assert gw("projects", "create", "acme", data=data).returncode == 0
        token = json.loads(gw("keys", "create", "acme", "--json", data=data).stdout)["key"]

        def status() -> int:
            found = gateway.get("/v1/models", authorization=f"Bearer {token}")[0]
            assert found in (200, 503)  # never: your key is wrong
            return found

        await_that(lambda: [status() for _ in range(4)] == [200] * 4)
        assert complaints(gateway) == []
        assert gateway.stop() == 0
        assert complaints(gateway) == []
        assert "Traceback" not in gateway.log


@pytest.mark.parametrize("settings", [{}, {"ENABLE_MULTI_PROJECT": "1", "KEY_PEPPER": "p" * 32}])
def test_a_database_that_is_away_at_the_start_is_told_before_anybody_asks(settings: dict[str, str]) -> None:
    chosen = {"GATEWAY_API_KEY": KEY, "LEDGER_ENABLED": "1", "DATABASE_URL": AWAY, **settings}
    with running_gateway(**chosen) as gateway:
        await_that(lambda: "the database does not take them (ConnectionRefusedError)" in gateway.log)
        assert gateway.get("/v1/models", authorization=f"Bearer {KEY}")[0] == 200
        if settings:
            await_that(lambda: "keys cannot be checked" in gateway.log)
        assert len(complaints(gateway)) == 1 + bool(settings)
        assert gateway.stop() == 0


def test_a_wrong_password_is_called_so() -> None:
    with running_postgres() as postgres:
        wrong = postgres.url.replace(PASSWORD, "canary-wrong")
        with running_gateway(GATEWAY_API_KEY=KEY, LEDGER_ENABLED="1", DATABASE_URL=wrong) as gateway:
            await_that(lambda: "(InvalidPasswordError)" in gateway.log)
            assert "canary" not in gateway.log
