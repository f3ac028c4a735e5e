"""`gw usage` says what a bill leaves out, and on which database it looked."""

from __future__ import annotations

import json
from pathlib import Path

from gw.ledger.journal import Journal
from tests.ledger.records import row, write

from .running import gw


def test_a_database_that_a_command_has_made_is_named(tmp_path: Path) -> None:
    first, second = (gw("usage", data=tmp_path / "data") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert str(tmp_path / "data" / "gateway.db") in first.stderr
    assert "No requests." in first.stdout
    assert second.stderr == ""


def test_nothing_recorded_costs_0_and_not_unknown(tmp_path: Path) -> None:
    total = json.loads(gw("usage", "--json", data=tmp_path / "data").stdout)["total"]
    assert (total["cost_usd"], total["unknown_price_requests"], total["requests"]) == ("0.00", 0, 0)


def test_requests_that_nobody_has_recorded_yet_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    spool = tmp_path / "data" / "spool"
    journal = Journal(spool, 2**23)
    write(journal, row("one"))
    journal.close()
    told = gw("usage", "--json", data=tmp_path / "data")
    assert f"wait in {spool}: no gateway runs" in told.stderr
    assert json.loads(told.stdout)["total"]["requests"] == 0
