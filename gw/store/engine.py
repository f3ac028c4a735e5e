"""The database: PostgreSQL by ``DATABASE_URL``, or else SQLite in the data directory.

SQLAlchemy is loaded when a database is opened, and not before.

Every transaction in SQLite is one that writes (``BEGIN IMMEDIATE``) unless it comes from :func:`reading`:
one that begins as a reader and then writes fails at once where another has written meanwhile, however long
it would have waited.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..settings import Ledger
from .place import DataDirError as DataDirError
from .place import data_dir as data_dir
from .place import is_lasting as is_lasting
from .postgres import Address
from .text import clean_text as clean_text

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

FILE = "gateway.db"
#: Connections of one engine, made when they are needed.
CONNECTIONS = 4
#: Seconds that one statement may take, and that SQLite waits for another writer.
STATEMENT_SECONDS = 5.0
#: Seconds to wait for a free connection.
POOL_SECONDS = 2.0
#: Between two looks at the clock in a query of SQLite; some 10,000 instructions take a millisecond.
_INSTRUCTIONS = 20_000
_READS = "gateway_reads"
_DEADLINE = "gateway_deadline"
_OPENED = "gateway_opened"


@dataclass(slots=True, frozen=True)
class Opened:
    """How an engine was opened: what it takes to open another one on the same database."""

    ledger: Ledger
    seconds: float


def open_engine(
    ledger: Ledger, *, connections: int = CONNECTIONS, seconds: float = STATEMENT_SECONDS
) -> AsyncEngine:
    """An engine that connects when it is first used. Whoever opens it calls ``dispose``.

    ``connections`` is the size of its pool, ``seconds`` how long a statement may take. Raises
    ``ValueError`` for a ``DATABASE_URL`` that cannot be read and :class:`DataDirError`.
    """
    url = ledger.database
    if url is not None and not url.startswith("sqlite:"):
        engine = _postgres(Address.parse(url), connections, seconds)
    else:
        path = data_dir(ledger) / FILE if url is None else Path(url.removeprefix("sqlite:///")).expanduser()
        engine = _sqlite(path, connections, seconds)
    engine.sync_engine.update_execution_options(**{_OPENED: Opened(ledger, seconds)})
    return engine


def reopen(engine: AsyncEngine, *, connections: int = 1, seconds: float) -> AsyncEngine:
    """Another engine on the database of ``engine``, for work that takes longer than a request may."""
    return open_engine(opened(engine).ledger, connections=connections, seconds=seconds)


def opened(engine: AsyncEngine) -> Opened:
    options: Any = engine.get_execution_options()
    found: Opened = options[_OPENED]
    return found


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that only reads one state of the database, and so waits for no writer. One statement of
    it may take as long as ``engine`` allows: then it is stopped, in the database too, and ``TimeoutError``
    raised."""
    async with engine.connect() as plain:
        if engine.dialect.name == "sqlite":
            connection = await plain.execution_options(**{_READS: True})
            info = (await connection.get_raw_connection()).info
            with _stopped_at(monotonic() + opened(engine).seconds, info):
                yield connection
        else:
            yield await plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def is_away(error: BaseException) -> bool:
    """Whether the database cannot do its work now (it is down, hangs, is full, locked or not migrated yet),
    so that the same may well succeed later; False where what was asked for is wrong."""
    from sqlalchemy import exc

    if isinstance(error, OSError | TimeoutError | exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, exc.OperationalError):
        return True
    if isinstance(error, exc.InterfaceError):
        # asyncpg's, who also says so of an argument that does not fit its column.
        return not isinstance(error.driver_exception, ValueError)
    if type(error) is exc.DatabaseError:
        return True  # SQLite's, of a file that is no database
    state = getattr(error.orig, "sqlstate", None) or ""
    return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES


def driver_error(error: BaseException) -> BaseException:
    """What the driver has raised, without what SQLAlchemy puts around it."""
    wrapped: BaseException | None = getattr(error, "orig", None)
    return error if wrapped is None else wrapped.__cause__ or wrapped


def error_name(error: BaseException) -> str:
    """As in ``InvalidPasswordError`` and ``SQLITE_FULL``. Never its text: drivers quote addresses, and the
    values that they failed on."""
    found = driver_error(error)
    return getattr(found, "sqlite_errorname", None) or type(found).__name__


#: Connection, authorization, catalogue, rollback, resources, not in that state, intervention, system, its own
#: errors (PostgreSQL, appendix A).
_AWAY_CLASSES = frozenset({"08", "28", "3D", "40", "53", "55", "57", "58", "XX"})
#: A replica, which is read-only; a table that is not there yet.
_AWAY_STATES = frozenset({"25006", "42P01"})


def _postgres(address: Address, connections: int, seconds: float) -> AsyncEngine:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: address.connect_to(seconds),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "handle_error", _leave_hung)
    return engine


def _refuse_closed(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """The event loop has seen the server close it: that costs no question to the server."""
    from sqlalchemy.exc import DisconnectionError

    if connection.driver_connection.is_closed():  # type: ignore[union-attr,unused-ignore]
        raise DisconnectionError("closed by the server")


def _leave_hung(context: ExceptionContext) -> None:
    """A connection whose statement had no answer in time is not asked anything more."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True


def _sqlite(path: Path, connections: int, seconds: float) -> AsyncEngine:
    from sqlalchemy import URL, event
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": seconds},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
    )

    def prepare(connection: Any, entry: ConnectionPoolEntry) -> None:
        info = entry.info
        info[_DEADLINE] = inf
        connection.run_async(
            lambda driver: driver.set_progress_handler(lambda: monotonic() > info[_DEADLINE], _INSTRUCTIONS)
        )
        # SQLAlchemy begins transactions itself: sqlite3 begins them late, and none for definitions.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = NORMAL",
            "PRAGMA foreign_keys = ON",
        ):
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    def make_private(*_args: Any) -> None:
        # SQLite gives its other files the mode of this one. Only a file that is not there yet is opened: to
        # close one gives up the locks that other connections of this process have on it, and the next
        # program that closes the database would take the log away under them
        # (https://www.sqlite.org/howtocorrupt.html, 2.2).
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    event.listen(engine.sync_engine, "do_connect", make_private)
    event.listen(engine.sync_engine, "handle_error", _stop_given_up)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def _stop_given_up(context: ExceptionContext) -> None:
    """Nobody waits for the statement any more, but closing the connection would."""
    if isinstance(context.original_exception, asyncio.CancelledError) and context.connection is not None:
        context.connection.connection.info[_DEADLINE] = 0.0


@contextmanager
def _stopped_at(deadline: float, info: dict[Any, Any]) -> Iterator[None]:
    """``info`` is that of a connection of :func:`_sqlite`."""
    info[_DEADLINE] = deadline
    try:
        yield
    except Exception as error:
        if monotonic() > deadline and "interrupted" in str(error):
            raise TimeoutError from error
        raise
    finally:
        info[_DEADLINE] = inf
