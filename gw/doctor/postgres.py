"""PostgreSQL: reachable, recent enough, and we may do there what the ledger does. (What is in it:
``ledger.py``.)"""

from __future__ import annotations

import asyncio
import secrets
import time

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from ..store.postgres import Address
from .clock import reading
from .context import Context
from .report import Section
from .stores import PATIENCE, SLOW_MS, place_of, root_of, unreachable

#: The oldest PostgreSQL that the gateway is to run on.
NEEDED = 13


async def check(section: Section, context: Context) -> None:
    url = context.environ.get("DATABASE_URL", "").strip()
    if not url:
        section.skip("DATABASE_URL is not set: the ledger is a file of SQLite.")
        return
    if url.startswith("sqlite:"):
        section.skip("DATABASE_URL is a file of SQLite.")
        return
    place = place_of(url, 5432)
    patience = min(2 * PATIENCE, context.seconds)
    connection: asyncpg.Connection | None = None
    try:
        async with asyncio.timeout(2 * patience):
            connection = await Address.parse(url).connect_to(patience)
            await _examine(section, context, connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        _explain(section, error, place, patience)
    finally:
        if connection is not None:
            connection.terminate()


async def _examine(section: Section, context: Context, connection: asyncpg.Connection) -> None:
    started = time.perf_counter()
    await connection.fetchval("SELECT 1")
    latency = (time.perf_counter() - started) * 1000
    major = connection.get_server_version().major
    version = str(await connection.fetchval("SHOW server_version")).partition(" ")[0]
    section.ok(f"PostgreSQL {version} answers in {latency:.1f} ms.")
    if latency > SLOW_MS:
        section.warn(f"{latency:.0f} ms for each statement is slow.", "Run it near the gateway.")
    if major < NEEDED:
        section.fail(f"PostgreSQL {version} is too old: {NEEDED} is needed.", "Upgrade it.")
    sent = time.time()
    row = await connection.fetchrow(
        "SELECT extract(epoch FROM clock_timestamp())::float8 AS now, pg_is_in_recovery() AS replica,"
        " current_schema() AS schema, current_user AS who,"
        " current_setting('server_encoding') AS encoding"
    )
    assert row is not None
    context.readings.append(reading("PostgreSQL", row["now"], sent=sent, received=time.time()))
    if row["encoding"] != "UTF8":
        section.warn(
            f"The database's encoding is {row['encoding']}: not every text can be stored.",
            "CREATE DATABASE gateway ENCODING 'UTF8' TEMPLATE template0",
        )
    if row["replica"]:
        section.fail(
            "This PostgreSQL is a replica, which nothing can be written to.", "DATABASE_URL=<the primary>"
        )
        return
    await _try_tables(section, connection, row["schema"], row["who"])


async def _try_tables(section: Section, connection: asyncpg.Connection, schema: str | None, who: str) -> None:
    """Make a table and write to it, in a transaction that is always rolled back."""
    name = f"gateway_doctor_{secrets.token_hex(8)}"
    transaction = connection.transaction()
    await transaction.start()
    try:
        # Nothing of ours goes into these statements but random hexadecimal digits.
        await connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, data jsonb)")
        await connection.execute(f"INSERT INTO {name} VALUES (1, '{{}}')")  # noqa: S608
        section.ok(f"{who} can make tables in the schema {schema} and write to them (rolled back).")
    except asyncpg.InsufficientPrivilegeError:
        section.fail(
            f"{who} may not make tables in the schema {schema}.",
            f'GRANT CREATE, USAGE ON SCHEMA {schema} TO "{who}"  (as the owner of the database)',
        )
    except asyncpg.InvalidSchemaNameError:
        section.fail(
            f"{who} has no schema to make tables in.", f'CREATE SCHEMA gateway AUTHORIZATION "{who}"'
        )
    except asyncpg.ReadOnlySQLTransactionError:
        section.fail("The database is read-only.", "ALTER DATABASE … SET default_transaction_read_only = off")
    finally:
        await transaction.rollback()


def _explain(section: Section, error: Exception, place: str, patience: float) -> None:
    if isinstance(error, asyncpg.InvalidPasswordError):
        section.fail(
            f"PostgreSQL at {place} refuses the password or the user.",
            "Correct user and password in DATABASE_URL, or: ALTER ROLE <user> LOGIN PASSWORD '…'",
        )
    elif isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        section.fail(
            f"PostgreSQL at {place} lets this user not in from here: {_first_line(error)}.",
            "CREATE ROLE <user> LOGIN PASSWORD '…', or a line for it in pg_hba.conf",
        )
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        section.fail(f"{_capital(_first_line(error))}.", "CREATE DATABASE …, or another name in DATABASE_URL")
    elif isinstance(error, asyncpg.TooManyConnectionsError):
        section.fail(
            "PostgreSQL has no connection left.", "Raise max_connections, or put PgBouncer before it."
        )
    elif isinstance(error, asyncpg.CannotConnectNowError):
        section.warn(f"PostgreSQL is not ready: {_first_line(error)}.", "Wait, then look again.")
    elif isinstance(error, asyncpg.PostgresError):
        section.fail(f"PostgreSQL says: {_first_line(error)}.", "Look at the log of PostgreSQL.")
    elif isinstance(error, TimeoutError):
        section.fail(
            f"PostgreSQL at {place} does not answer within {patience:g} s.",
            'It hangs, or a firewall drops packets: `pg_isready -d "$DATABASE_URL"`.',
        )
    elif isinstance(error, ValueError) and not isinstance(error, OSError):  # a certificate's is both
        # Its text may quote pieces of the URL, and so of the password.
        section.fail(
            "DATABASE_URL cannot be read.",
            "DATABASE_URL=postgresql://user:password@host:5432/database, / @ : in a password as %2F %40 %3A",
        )
    else:
        unreachable(section, root_of(error), error, place, "DATABASE_URL", "`systemctl start postgresql`")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
