"""``python -m perf.soak``: does the ledger add up, whatever happens? Exit code 1 if it does not."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from .report import document, text
from .run import Plan, Report, run

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "soak.md"
_KINDS = ("postgresql", "sqlite")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--database", choices=(*_KINDS, "both"), default="postgresql")
    parser.add_argument(
        "--outage", type=float, default=60.0, metavar="SECONDS", help="how long the database is away, twice"
    )
    parser.add_argument(
        "--projects", type=int, default=3, metavar="N", help="projects beside the default one"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed asks the same")
    parser.add_argument("--flagged", type=int, default=20, metavar="N", help="rows with estimates to show")
    parser.add_argument("--write", action="store_true", help="write docs/soak.md")
    given = parser.parse_args()
    reports: list[Report] = []
    for kind in _KINDS if given.database == "both" else (given.database,):
        plan = Plan(kind, given.requests, given.outage, given.seed, given.projects)
        with tempfile.TemporaryDirectory() as folder:
            reports.append(asyncio.run(run(plan, Path(folder), lambda line: print(line, flush=True))))
        print(text(reports[-1], flagged=given.flagged), flush=True)
    if given.write:
        _DOCUMENT.write_text(document(reports))
    return int(any(report.findings.differences for report in reports))


if __name__ == "__main__":
    sys.exit(main())
