"""What commands on the database share: open it, migrate it, say what is wrong with it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import os
import pwd
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..settings import Settings
from ._start import read_settings
from .arguments import NONE, option_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ..projects.directory import Directory

#: Seconds for one statement of a report, which no request waits for.
SECONDS = 60.0
#: The same for projects and keys, which are found at once or not at all: somebody sits there and waits.
DIRECTORY_SECONDS = 10.0
OFF = "Projects are off, and GATEWAY_API_KEY is the one key: set ENABLE_MULTI_PROJECT=1 to have them."

#: Who is another user than the gateway, or has other settings, would wonder where everything is.
_NEW = (
    "There was no database yet, and now there is: {place}. A gateway with another DATA_DIR, DATABASE_URL or "
    "user has another one."
)


def with_engine(
    args: argparse.Namespace,
    work: Callable[[AsyncEngine, Settings], Awaitable[int]],
    *,
    migrated: bool = True,
    seconds: float = SECONDS,
) -> int:
    """The exit code of ``work`` on the database of the settings, which is at this version's tables then.

    What ``work`` prints to standard output is written when the database is done with, or an output that
    nobody reads (``OSError``) would be taken for the database's trouble.
    """
    settings = read_settings(args)
    if settings is None:
        return 2
    # What is wrong is said once, below, and not by the log as well.
    logging.getLogger("gw").addHandler(logging.NullHandler())
    from ..store.engine import FILE, DataDirError, data_dir, open_engine
    from ..store.migrate import MigrationError, migrate, version_of

    async def run() -> int:
        engine = open_engine(settings.ledger, connections=1, seconds=seconds)
        try:
            if migrated:
                new = await version_of(engine) is None
                await migrate(engine)
                if new:
                    given = settings.ledger.database
                    place = data_dir(settings.ledger) / FILE if given is None else "the one of DATABASE_URL"
                    print(f"gw: {_NEW.format(place=place)}", file=sys.stderr)
            return await work(engine, settings)
        finally:
            await engine.dispose()

    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            return asyncio.run(run())
    except DataDirError as error:
        return failed(str(error), 2)
    except MigrationError as error:
        return failed(str(error))
    except Exception as error:
        from ..store.engine import is_away

        if is_away(error):
            return failed(trouble(error, settings))
        if settings.ledger.database is not None and type(error) is ValueError:
            return failed(str(error), 2)  # of the URL
        raise
    finally:
        print(output.getvalue(), end="", flush=True)


def with_directory(args: argparse.Namespace, work: Callable[[Directory, Settings], Awaitable[int]]) -> int:
    """The same on projects and keys."""

    async def run(engine: AsyncEngine, settings: Settings) -> int:
        if not settings.projects.enabled:
            return failed(OFF, 2)
        from ..projects.directory import Directory
        from ..projects.keys import PepperError, load_pepper
        from ..projects.types import DirectoryError, Invalid, Unavailable
        from ..store.engine import data_dir

        try:
            pepper = load_pepper(settings.projects.pepper, lambda: data_dir(settings.ledger))
            return await work(Directory(engine, pepper, seconds=2 * DIRECTORY_SECONDS), settings)
        except PepperError as error:
            return failed(str(error), 2)
        except Invalid as error:
            message = error.message.replace("or null", f"or {NONE}")
            return failed(f"{option_of(error.field)} {message}.", 2)
        except Unavailable as error:
            return failed(trouble(error.__cause__ or error, settings))
        except DirectoryError as error:
            return failed(str(error))

    return with_engine(args, run, seconds=DIRECTORY_SECONDS)


def actor() -> str:
    """Who changes something, for the audit log."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # containers run as users without a name
        return f"cli:uid-{os.getuid()}"


def failed(message: str, code: int = 1) -> int:
    print(f"gw: {message}", file=sys.stderr)
    return code


def trouble(error: BaseException, settings: Settings) -> str:
    """What is the matter with the database, in words, and without its password."""
    from ..store.engine import driver_error

    cause = driver_error(error)
    text = str(cause).strip().partition("\n")[0] or type(cause).__name__
    for secret in (settings.ledger.database, settings.projects.pepper, settings.keys.gateway):
        text = text.replace(secret, "…") if secret else text
    if "database is locked" in text:
        return "The database is locked by another process, which has not let go of it: try again."
    where = "SQLite's file in DATA_DIR" if settings.ledger.database is None else "DATABASE_URL"
    if isinstance(cause, TimeoutError):
        text = "it does not answer in time"
    return f"The database ({where}) cannot be asked: {text}."
