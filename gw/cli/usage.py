"""``gw usage``: who used what, what it cost, and what each layer of the gateway saved."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..settings import Ledger, Settings
from ..wire import LAYER
from ._bill import Bill, as_csv, as_json, as_text
from ._database import failed, with_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ..store.reports import Filters, Group, Usage

#: Models without a price that are named below the table.
_NAMED = 5


class WrongUsage(Exception):
    """Options that do not go together; the text says what to do."""


@dataclass(slots=True, frozen=True)
class Range:
    """``since`` ≤ time < ``until``."""

    since: datetime
    until: datetime


def usage(args: argparse.Namespace) -> int:
    """0 printed, 1 no database, 2 wrong usage or settings."""
    try:
        times = _range(args, datetime.now(UTC))
        by = _columns(args.by)
    except WrongUsage as error:
        return failed(str(error), 2)

    missing: str | None = None

    async def work(engine: AsyncEngine, settings: Settings) -> int:
        nonlocal missing
        from ..store.reports import Filters

        filters = Filters(times.since, times.until, args.project, args.key)
        bill = await _bill(engine, by, filters)
        if not settings.ledger.enabled:
            print("gw: LEDGER_ENABLED=0: nothing is recorded at the moment.", file=sys.stderr)
        if args.csv:
            sys.stdout.write(as_csv(bill))
        else:
            print(json.dumps(as_json(bill), indent=2) if args.json else as_text(bill))
        missing = _waiting(settings.ledger, time.time())
        return 0

    code = with_engine(args, work)
    if missing is not None:  # below the bill
        print(f"gw: {missing}", file=sys.stderr)
    return code


def _waiting(ledger: Ledger, now: float) -> str | None:
    """Why requests of this machine are not in the bill yet, or None."""
    from ..ledger.spool import begun, boots, is_alive, segments, spool_dir
    from ..ledger.status import read_status
    from ..observability.ledger import state_of
    from ..store.place import DataDirError

    try:
        spool = spool_dir(ledger)
        status = read_status(spool)
        workers = boots(spool)
        state = state_of(status, now) if any(map(is_alive, workers)) else "stopped"
        waiting = any(begun(segment) for worker in workers for segment in segments(worker))
    except (DataDirError, OSError):
        return None
    if state == "ok" or not waiting:
        return None
    why = "no gateway runs that would record them"
    if status is not None and status.error is not None:
        why = f"the database does not take them ({status.error})"
    return f"Requests that are not in this bill wait in {spool}: {why}."


async def _bill(engine: AsyncEngine, by: tuple[str, ...], filters: Filters) -> Bill:
    groups: tuple[Group, ...] = tuple(name for name in by if name != LAYER)  # type: ignore[misc]
    rows = await _every(engine, groups, filters)
    unknown = sum(row.cost.unknown for row in rows)
    unpriced: list[str] = []
    if unknown:
        models = rows if groups == ("model",) else await _every(engine, ("model",), filters)
        unpriced = [row.group[0] or "no model" for row in models if row.cost.unknown]
    more = len(unpriced) - _NAMED
    named = [*unpriced[:_NAMED], f"{more} more"] if more > 0 else unpriced
    assert filters.since is not None
    assert filters.until is not None
    return Bill(
        filters.since, filters.until, by, tuple(rows), tuple(named), project=filters.project, key=filters.key
    )


async def _every(engine: AsyncEngine, groups: tuple[Group, ...], filters: Filters) -> list[Usage]:
    from ..store.reports import MOST
    from ..store.reports import usage as report

    rows: list[Usage] = []
    cursor: str | None = None
    while True:
        page = await report(engine, groups, filters, cursor=cursor, limit=MOST)
        rows += page.rows
        if (cursor := page.next) is None:
            return rows


def _range(args: argparse.Namespace, now: datetime) -> Range:
    if args.month is not None and (args.since is not None or args.until is not None):
        raise WrongUsage("--month goes without --since and --until.")
    if args.since is None and args.until is not None:
        raise WrongUsage("--until needs --since.")
    if args.since is not None:
        times = Range(args.since, args.until or now)
        if times.since >= times.until:
            raise WrongUsage("--since is not before --until (or, without one, now).")
        return times
    month = args.month or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    try:
        return Range(month, (month + timedelta(days=31)).replace(day=1))
    except OverflowError:
        raise WrongUsage("--month: as 2026-11.") from None


def _columns(text: str) -> tuple[str, ...]:
    from ..store.reports import GROUPS

    known = (*GROUPS, LAYER)
    found = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    if not found or any(name not in known for name in found):
        raise WrongUsage(f"--by is some of {', '.join(known)}, with commas between them.")
    return found
