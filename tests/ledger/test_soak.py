"""A short soak: what the ledger says is what the upstreams would be paid for, whatever has gone wrong.

The long one is ``python -m perf.soak``; docs/soak.md has what it found.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perf.soak.run import Plan, run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_request_has_one_row_with_what_its_upstream_has_billed(kind: str, tmp_path: Path) -> None:
    plan = Plan(kind, requests=250, outage=2.5, seed=7, projects=1)
    said: list[str] = []
    report = asyncio.run(run(plan, tmp_path, said.append))
    found = report.findings
    assert found.differences == [], said
    # And it was not for want of traffic, of faults, or of answers.
    assert found.rows > 220
    assert found.exact > 120
    assert len(found.flagged) > 20
    assert {"finished", "aborted", "failed", "refused", "unanswered"} <= found.outcomes.keys()
    assert found.cost_nano > 0
    assert {kind for row, _, _ in found.flagged for kind in row.estimated} == {"input", "output"}
    assert any("killed" in event for event in report.events)
