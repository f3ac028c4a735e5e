"""The ledger's state, as /health and a scrape tell it from the recorder's file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gw.ledger.spool import spool_dir
from gw.ledger.status import Status, write_status
from gw.observability.ledger import FRESH_SECONDS, SILENT_SECONDS, LedgerCollector, LedgerHealth, state_of
from gw.observability.metrics import REFUSALS, open_metrics
from gw.settings import Ledger
from tests.databases import ledger_of
from tests.e2e.gateway import ROOT, clean_environment

NOW = 1_800_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    books = ledger_of(tmp_path / "data")
    spool_dir(books).mkdir()
    return books


def told(ledger: Ledger, **status: Any) -> None:
    write_status(spool_dir(ledger), Status(**{"at": NOW, **status}))


def scraped(ledger: Ledger) -> dict[str, float]:
    metrics = open_metrics()
    metrics.add(LedgerCollector(ledger, clock=lambda: NOW))
    return {
        sample.name: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("gateway_ledger_")
    }


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, "stopped"),
        (Status(at=NOW), "ok"),
        (Status(at=NOW - SILENT_SECONDS + 1), "ok"),
        (Status(at=NOW - SILENT_SECONDS - 1), "stopped"),
        (Status(at=NOW, error="OperationalError"), "behind"),
        (Status(at=NOW - 3600, error="OperationalError"), "stopped"),
    ],
)
def test_the_state_in_a_word(status: Status | None, state: str) -> None:
    assert state_of(status, NOW) == state


def test_a_scrape_tells_what_the_recorder_has_told(ledger: Ledger) -> None:
    counts = {"rows_total": 12, "lost": 3, "rejected": 2, "backlog_bytes": 4096}
    told(ledger, **counts, last_commit_at=NOW - 5)
    assert scraped(ledger) == {
        "gateway_ledger_up": 1,
        "gateway_ledger_recorder_up": 1,
        "gateway_ledger_backlog_bytes": 4096,
        "gateway_ledger_last_commit_timestamp_seconds": NOW - 5,
        "gateway_ledger_rows_total": 12,
        "gateway_ledger_lost_total": 3,
        "gateway_ledger_rejected_total": 2,
    }
    told(ledger, error="TimeoutError")
    assert (scraped(ledger)["gateway_ledger_up"], scraped(ledger)["gateway_ledger_recorder_up"]) == (0, 1)


def test_without_a_recorder_or_a_place_a_scrape_still_works(ledger: Ledger, tmp_path: Path) -> None:
    found = scraped(ledger)
    assert set(found.values()) == {0}
    (tmp_path / "file").write_text("")
    assert scraped(replace(ledger, data_dir=str(tmp_path / "file" / "data"))) == found


def test_health_gives_a_recorder_time_to_begin_and_looks_at_the_disk_once_a_second(ledger: Ledger) -> None:
    now = NOW
    health = LedgerHealth(ledger, clock=lambda: now)
    assert health() == "ok"
    told(ledger, error="OperationalError")
    assert health() == "ok"
    now += FRESH_SECONDS
    assert health() == "behind"
    now += 2 * SILENT_SECONDS
    assert health() == "stopped"
    now -= 3600  # a clock that is set back
    assert health() in ("ok", "behind")
    assert LedgerHealth(replace(ledger, enabled=False))() == "off"


_TWO_WORKERS = """
import sys
from gw.observability.ledger import LedgerCollector
from gw.observability.metrics import open_metrics
from gw.settings import Ledger
metrics = open_metrics()
metrics.add(LedgerCollector(Ledger(True, sys.argv[1], None, 2**23, True, None)))
metrics.latest("gateway_keys_up", "Keys")(float(sys.argv[2]))
metrics.ratelimit_degraded.inc()
metrics.observe(None, 402, 0.01, None, "budget_exceeded")
print(metrics.render()[0].decode())
"""


def test_of_several_workers_each_tells_the_ledger_once_and_the_rest_for_all(
    ledger: Ledger, tmp_path: Path
) -> None:
    told(ledger, at=time.time(), rows_total=12)
    shared = tmp_path / "metrics"
    shared.mkdir()
    env = clean_environment(PROMETHEUS_MULTIPROC_DIR=str(shared), PYTHONPATH=os.fspath(ROOT))

    def worker(keys_up: str) -> list[str]:
        command = [sys.executable, "-c", _TWO_WORKERS, str(ledger.data_dir), keys_up]
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    worker("1")
    lines = worker("0")
    assert lines.count("gateway_ledger_rows_total 12.0") == 1
    assert "gateway_keys_up 0.0" in lines
    assert "gateway_ratelimit_degraded_total 2.0" in lines
    assert 'gateway_refusals_total{code="budget_exceeded"} 2.0' in lines


def test_what_alerts_wait_for_begins_at_nothing() -> None:
    registry = open_metrics().registry
    for code in REFUSALS:
        assert registry.get_sample_value("gateway_refusals_total", {"code": code}) == 0
    labels = {"stage": "response", "code": "upstream_auth"}
    assert registry.get_sample_value("gateway_upstream_errors_total", labels) == 0
