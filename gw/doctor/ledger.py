"""The ledger: where it is kept, whether its tables are current, and whether what happens reaches it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from ..ledger.spool import REJECTED, boots, is_alive, spool_dir, used_bytes
from ..ledger.status import Status, read_status
from ..observability.ledger import SILENT_SECONDS, state_of
from ..settings import Ledger
from ..store.place import DataDirError, data_dir, is_lasting
from .context import Context
from .report import Section

#: Share of SPOOL_MAX_BYTES in use from which there is something to do, and from which it is urgent.
_FILLING, _FULL = 0.5, 0.9
#: Seconds that a sign of life of the recorder may be ahead of the clock.
_AHEAD = 5.0


async def check(section: Section, context: Context) -> None:
    books = context.settings.ledger
    if not books.enabled:
        section.skip("LEDGER_ENABLED=0: nobody writes down what requests cost.")
        return
    try:
        place = data_dir(books)
    except DataDirError as error:
        text, _, fix = str(error).partition(": ")
        section.fail(f"{text}.", fix)
        return
    if books.data_dir is None and not is_lasting(place):
        section.warn(
            f"The ledger is kept in {place}, which a restart of the machine may empty.",
            "DATA_DIR=<a directory that lasts; in a container, a volume>",
        )
    spool = spool_dir(books)
    _space(section, books, spool)
    _recorder(section, spool, time.time())
    await _tables(section, context, place)


def _space(section: Section, books: Ledger, spool: Path) -> None:
    """Room for what waits for the database."""
    where = spool if spool.is_dir() else spool.parent
    try:
        used, free = used_bytes(spool), shutil.disk_usage(where).free
        writable = os.access(where, os.W_OK | os.X_OK)
    except OSError as error:
        section.fail(f"{where} cannot be read ({error.strerror}).", f"ls -la {where}")
        return
    if not writable:
        section.fail(f"{where} cannot be written.", f"chown -R $(id -u) {where}")
        return
    wanted, share = max(0, books.spool_max_bytes - used), used / books.spool_max_bytes
    shown = f"{used / 2**20:.1f} of {books.spool_max_bytes / 2**20:.0f} MiB"
    if share >= _FULL:
        section.fail(
            f"The spool is full: {shown}.",
            "Let the database take rows again, or raise SPOOL_MAX_BYTES and restart.",
        )
    elif share >= _FILLING:
        section.warn(f"The spool fills up: {shown}.", "Look why the database does not take rows.")
    elif free < wanted:
        section.warn(
            f"{where} has {free / 2**20:.0f} MiB free, and the spool may grow by {wanted / 2**20:.0f} MiB.",
            "Make room, or lower SPOOL_MAX_BYTES.",
        )
    else:
        section.ok(f"The spool {spool} can be written: {shown} in use.")
    try:
        aside = sum(1 for _ in (spool / REJECTED).iterdir())
    except OSError:
        aside = 0
    if aside:
        section.warn(
            f"{aside} records are put aside that the database took in no way, or that were damaged.",
            f"Look at them in {spool / REJECTED}; removing them makes this warning go away.",
        )


def _recorder(section: Section, spool: Path, now: float) -> None:
    status = read_status(spool)
    try:
        workers = sum(map(is_alive, boots(spool)))
    except OSError:
        workers = 0
    if status is not None and status.at > now + _AHEAD:
        section.fail(
            f"The recorder's last sign of life is {status.at - now:.0f} s in the future.",
            "The clock was set back: `timedatectl`, or `chronyc tracking`.",
        )
        return
    if status is None or state_of(status, now) == "stopped":
        if workers:
            section.fail(
                f"{workers} workers write to the spool, but no recorder has been there for "
                f"{SILENT_SECONDS:g} s.",
                "Restart the gateway; what waits in the spool is recorded then.",
            )
        elif status is not None and status.backlog_bytes:
            section.warn(
                f"No gateway runs here, and {status.backlog_bytes:,} bytes of records wait.",
                "They are recorded when `gw serve` runs again.",
            )
        else:
            section.skip("No gateway runs here now, and nothing waits to be recorded.")
    elif status.error is not None:
        section.fail(
            f"The database does not take rows ({status.error}): {status.backlog_bytes:,} bytes wait.",
            "Look at the checks of the database, and at the log of `gw serve`.",
        )
    else:
        section.ok(f"The recorder runs; {_rows(status)} by it, {status.backlog_bytes:,} bytes wait.")
    if status is not None and status.lost:
        section.warn(
            f"{status.lost} records were lost: neither disk nor memory had room for them.",
            "Raise SPOOL_MAX_BYTES; SPOOL_WHEN_FULL=refuse lets no request go unrecorded.",
        )


def _rows(status: Status) -> str:
    if status.last_commit_at is None:
        return "no row yet"
    return f"{status.rows_total:,} rows"


async def _tables(section: Section, context: Context, place: Path) -> None:
    """Whether the tables are those of this version. Nothing is changed."""
    await asyncio.to_thread(_load)  # half a second, in which other checks go on
    from ..store.engine import FILE, is_away, open_engine
    from ..store.migrate import HEAD, version_of

    books = context.settings.ledger
    file = _file(books.database, place / FILE)
    if file is not None and not os.path.exists(file):  # noqa: ASYNC240, PTH110 - as quick as the rest of it
        section.ok(f"{file} is made when the first request is recorded.")
        return
    shown = "The database of DATABASE_URL" if file is None else str(file)
    try:
        engine = open_engine(books, connections=1, seconds=min(2.0, context.seconds / 2))
    except ValueError:
        return  # the check of PostgreSQL says so
    try:
        version = await version_of(engine)
    except Exception as error:
        if not is_away(error):
            raise
        section.fail(
            f"{shown} cannot be read ({type(error).__name__}).",
            "`gw doctor --only postgres` says why."
            if file is None
            else "Is it a database of the gateway's, and may this user read and write it?",
        )
        return
    finally:
        await engine.dispose()
    if version is None:
        section.ok(f"{shown} has no tables yet: they are made at the first start.")
    elif version == HEAD:
        section.ok(f"{shown} has the tables of this version ({HEAD}).")
    elif version < HEAD:
        section.warn(
            f"{shown} is at revision {version}, this version wants {HEAD}.",
            "`gw migrate`, or start the gateway.",
        )
    else:
        section.fail(
            f"{shown} is at revision {version}, which this version ({HEAD}) does not know.",
            "Run the version that migrated it, or a later one.",
        )


def _file(url: str | None, own: Path) -> Path | None:
    """SQLite's file; None for PostgreSQL."""
    if url is None:
        return own
    return Path(url.removeprefix("sqlite:///")).expanduser() if url.startswith("sqlite:") else None


def _load() -> None:
    from ..store import migrate as migrate
