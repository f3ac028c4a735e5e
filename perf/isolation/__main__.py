"""``python -m perf.isolation --requests 100000``: exit code 0 where nobody saw anything of anybody else."""

from __future__ import annotations

import argparse
import sys
import time

from .run import isolation

_SHOWN = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.isolation", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database-url", metavar="URL", help="an empty PostgreSQL (SQLite without it)")
    arguments = parser.parse_args()
    began = time.perf_counter()

    def progress(sent: int) -> None:
        print(f"{sent:>9,} requests, {sent / (time.perf_counter() - began):,.0f}/s", flush=True)

    result = isolation(**vars(arguments), progress=progress)
    for problem in result.problems[:_SHOWN]:
        print("PROBLEM", problem)
    if len(result.problems) > _SHOWN:
        print(f"… and {len(result.problems) - _SHOWN} more")
    statuses = ", ".join(f"{status}: {count:,}" for status, count in result.by_status.items())
    print(
        f"{result.requests:,} requests of {result.projects} projects in {result.seconds:.0f} s ({statuses}); "
        f"{result.heard:,} answers with a canary of their own, {result.rows:,} rows; "
        f"{len(result.problems)} problems"
    )
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
