"""What all reports are built from: time and text that compare alike in both databases, pages, patience."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Column, ColumnElement, String, Table, collate, func, literal, select, tuple_
from sqlalchemy.exc import DBAPIError

from ..engine import opened, reading
from .types import BadQuery, Filters, TooSlow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

#: Rows on one page.
LIMIT = 100
MOST = 10_000
#: Of the seconds that the engine allows: PostgreSQL then stops by itself, before it is asked to.
_SHARE = 0.9
_CANCELLED = "57014"


@asynccontextmanager
async def report(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction for reports. Raises :class:`TooSlow` where one takes longer than ``engine`` allows."""
    seconds = opened(engine).seconds
    try:
        async with reading(engine) as connection:
            if connection.dialect.name == "postgresql":
                milliseconds = str(int(seconds * _SHARE * 1000))
                await connection.execute(select(func.set_config("statement_timeout", milliseconds, True)))
            yield connection
    except TimeoutError as error:
        raise _too_slow(seconds) from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _CANCELLED:
            raise _too_slow(seconds) from error
        raise


def _too_slow(seconds: float) -> TooSlow:
    return TooSlow(f"The report takes longer than {seconds:g} s: ask for a shorter time range.")


def text_of(column: ColumnElement[str], dialect: str) -> ColumnElement[str]:
    """``column``, in the order of its code points, which is SQLite's; PostgreSQL's depends on its locale."""
    return collate(column, "C") if dialect == "postgresql" else column


def date_of(at: Column[Any], length: int, dialect: str) -> ColumnElement[str]:
    """The first ``length`` characters of the time as ``2026-11-23``, in UTC."""
    if dialect == "sqlite":
        return func.substr(at, 1, length, type_=String)
    pattern = "YYYY-MM-DD"[:length]
    return text_of(func.to_char(func.timezone("UTC", at), pattern, type_=String), dialect)


def conditions(rows: Table, filters: Filters) -> list[ColumnElement[bool]]:
    """``filters`` on a table that has columns of those names. Raises :class:`BadQuery`."""
    found: list[ColumnElement[bool]] = []
    for name, value in (("since", filters.since), ("until", filters.until)):
        if value is None:
            continue
        if value.tzinfo is None:
            raise BadQuery(f"{name} has no time zone: 2026-11-01T00:00:00Z")
        found.append(rows.c.at >= value if name == "since" else rows.c.at < value)
    for column, wanted in (
        ("project", filters.project),
        ("key_id", filters.key),
        ("model", filters.model),
        ("provider", filters.provider),
    ):
        if wanted is not None:
            found.append(rows.c[column] == wanted)
    return found


def limited(limit: int) -> int:
    """``limit``, if it is one. Raises :class:`BadQuery`."""
    if not 1 <= limit <= MOST:
        raise BadQuery(f"limit is from 1 to {MOST}")
    return limit


def after(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[bool]:
    """Rows behind ``values`` in the ascending order of ``columns``."""
    found: ColumnElement[bool] = tuple_(*columns) > _literals(columns, values)
    return found


def before(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[bool]:
    """Rows behind ``values`` in the descending order of ``columns``."""
    found: ColumnElement[bool] = tuple_(*columns) < _literals(columns, values)
    return found


def between(
    columns: Sequence[ColumnElement[Any]], first: Sequence[Any], last: Sequence[Any]
) -> ColumnElement[bool]:
    row = tuple_(*columns)
    found: ColumnElement[bool] = (row >= _literals(columns, first)) & (row <= _literals(columns, last))
    return found


def _literals(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> Any:
    return tuple_(*(literal(value, column.type) for column, value in zip(columns, values, strict=True)))


def cursor_of(*values: Any) -> str:
    """``values``, of JSON, as a text for a URL. It says where a page ended, and is no secret."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).rstrip(b"=").decode()


def read_cursor(cursor: str, *kinds: Callable[[Any], Any]) -> list[Any]:
    """The values of a cursor, each through its one of ``kinds``. Raises :class:`BadQuery`."""
    try:
        raw = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(raw, list) or len(raw) != len(kinds):
            raise ValueError("of another report")
        return [kind(value) for kind, value in zip(kinds, raw, strict=True)]
    except (ValueError, TypeError, binascii.Error):
        raise BadQuery("cursor is not one that this report has given: begin without one") from None


def a_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def a_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def a_time(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(value)
    return found
