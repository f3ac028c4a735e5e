"""Rows that wait in memory, since the disk takes none: seen by whoever asks, whichever worker has them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gw.ledger.journal import Journal
from gw.ledger.spool import spool_dir
from gw.ledger.status import Status, write_status
from gw.observability.ledger import LedgerHealth, state_of
from gw.observability.memory import Memory, Waiting
from gw.observability.metrics import open_metrics
from tests.databases import ledger_of
from tests.e2e.conftest import settings_for
from tests.e2e.gateway import ADMIN_KEY, Gateway, free_port, running_gateway, wait_until_live
from tests.e2e.test_workers import children, eventually
from tests.e2e.upstream import Upstream, running_upstream

from .test_scrape import CHAT, is_worker, post

NOW = 1_800_000_000.0
REQUESTS = 24


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def test_a_journal_says_what_it_could_not_write_down(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.write_text("in the way")
    journal = Journal(place, 2**23, retry_seconds=0.02)
    assert journal.in_memory == (0, 0)
    for _ in range(3):
        assert journal.write(b"{}")
    assert journal.in_memory == (3, 3 * len(b"00000000 {}\n"))
    place.unlink()
    assert eventually(lambda: journal.in_memory == (0, 0))
    journal.close()


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status(at=NOW), "behind"),
        (Status(at=NOW, error="OperationalError"), "behind"),
        (Status(at=NOW - 3600), "stopped"),
        (None, "stopped"),
    ],
)
def test_rows_in_memory_are_never_well(status: Status | None, state: str) -> None:
    assert state_of(status, NOW, Waiting(1, 400)) == state


def test_health_and_a_scrape_tell_of_rows_in_memory_and_when_they_are_gone(tmp_path: Path) -> None:
    ledger, now, metrics = ledger_of(tmp_path / "data"), NOW, open_metrics()
    spool_dir(ledger).mkdir()
    memory = Memory(metrics)
    health = LedgerHealth(ledger, memory, clock=lambda: now)
    for waiting, state in ((Waiting(), "ok"), (Waiting(2, 800), "behind"), (Waiting(), "ok")):
        write_status(spool_dir(ledger), Status(at=now))
        memory.tell(waiting)
        assert health() == state
        for name, value in zip(("records", "bytes"), waiting, strict=True):
            assert metrics.registry.get_sample_value(f"gateway_ledger_memory_{name}") == value
        now += 2


def told(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.get("/health")[1])
    return found


def shown(gateway: Gateway) -> dict[str, Any]:
    status, text = gateway.get("/admin/ledger", **{"x-api-key": ADMIN_KEY})
    assert status == 200
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("own_port", [False, True])
def test_rows_in_any_workers_memory_are_seen_by_all_and_forgotten_when_they_are_written(
    upstream: Upstream, tmp_path: Path, own_port: bool
) -> None:
    place = tmp_path / "spool"
    place.write_text("in the way")
    more = {"ADMIN_PORT": str(free_port())} if own_port else {}
    environment = settings_for(
        upstream, WEB_CONCURRENCY="2", LEDGER_ENABLED="1", DATA_DIR=str(tmp_path), **more
    )
    with running_gateway(**environment) as gateway:
        admin = gateway
        if own_port:
            admin = replace(gateway, base_url=f"http://127.0.0.1:{more['ADMIN_PORT']}")
            wait_until_live(admin)
        before = told(gateway)
        assert before["ledger"] == "ok"
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: post(gateway, "/v1/chat/completions", CHAT), range(REQUESTS))) == {
                200
            }
        # Two records for each request, and it is known to every worker and to /admin's own process.
        assert eventually(lambda: admin.metric("gateway_ledger_memory_records") == 2 * REQUESTS)
        assert admin.metric("gateway_ledger_memory_bytes") > 2 * REQUESTS * 50
        # Whichever worker answers, once it has forgotten what it knew a second ago.
        assert eventually(lambda: all(told(gateway)["ledger"] == "behind" for _ in range(20)))
        assert eventually(lambda: told(admin)["ledger"] == "behind")
        assert told(gateway) == {**before, "ledger": "behind"}, "a word, and no more, to strangers"
        assert shown(admin)["memory_records"] == 2 * REQUESTS
        place.unlink()
        assert eventually(lambda: admin.metric("gateway_ledger_rows_total") == REQUESTS, 30)
        assert eventually(lambda: admin.metric("gateway_ledger_memory_records") == 0)
        assert eventually(lambda: told(gateway)["ledger"] == told(admin)["ledger"] == "ok")
        assert (shown(admin)["state"], shown(admin)["memory_bytes"]) == ("recording", 0)


def test_what_a_killed_worker_had_in_memory_does_not_wait_for_ever(
    upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("in the way")
    environment = settings_for(upstream, WEB_CONCURRENCY="2", LEDGER_ENABLED="1", DATA_DIR=str(tmp_path))
    with running_gateway(**environment) as gateway:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: post(gateway, "/v1/chat/completions", CHAT), range(REQUESTS)))
        assert eventually(lambda: gateway.metric("gateway_ledger_memory_records") == 2 * REQUESTS)
        killed = workers(gateway)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: len(workers(gateway) - killed) == 2 and not workers(gateway) & killed)
        wait_until_live(gateway)
        assert post(gateway, "/v1/chat/completions", CHAT) == 200
        assert eventually(lambda: gateway.metric("gateway_ledger_memory_records") == 2), gateway.log


def workers(gateway: Gateway) -> set[int]:
    return {pid for pid in children(gateway.process.pid) if is_worker(pid)}
