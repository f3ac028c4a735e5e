"""Many rows at once, at what the driver itself takes.

SQLAlchemy prepares every value of every row by itself: 40 µs for a row of ``requests``, whose insertion takes
SQLite 10. Here a whole column is prepared at once, and what most columns hold needs no more than a look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from .schema import CleanString

_Column = Sequence[Any]


async def insert_plain(connection: AsyncConnection, table: Table, columns: Mapping[str, _Column]) -> None:
    """Insert rows of which nothing is odd; ``columns`` are their values by the names of all columns.

    Raises ``ValueError`` or what SQLAlchemy or the driver does where a text would have to be cleaned (see
    :class:`gw.store.schema.CleanString`), a value does not fit its column or a row is there already. Then
    nothing is inserted, and the transaction goes on.
    """
    statement, prepare = _statement(table, connection.dialect)
    rows = list(zip(*(prepared(columns[name]) for name, prepared in prepare), strict=True))
    async with connection.begin_nested():
        await connection.exec_driver_sql(statement, rows)


@lru_cache(maxsize=8)
def _statement(
    table: Table, dialect: Dialect
) -> tuple[str, tuple[tuple[str, Callable[[_Column], _Column]], ...]]:
    """The statement, and what prepares each of its columns, in its order."""
    prepare: list[tuple[str, Callable[[_Column], _Column]]] = []
    for column in table.columns:
        kind = column.type
        if isinstance(kind, CleanString):
            prepare.append((column.name, _clean(getattr(kind.impl_instance, "length", None))))
        else:
            process = kind.dialect_impl(dialect).bind_processor(dialect)
            prepare.append((column.name, _same if process is None else _each(process)))
    return str(insert(table).compile(dialect=dialect)), tuple(prepare)


def _same(values: _Column) -> _Column:
    return values


def _each(process: Callable[[Any], Any]) -> Callable[[_Column], _Column]:
    return lambda values: [process(value) for value in values]


def _clean(length: int | None) -> Callable[[_Column], _Column]:
    """Texts that are no longer than ``length``, and without what no database takes."""

    def checked(values: _Column) -> _Column:
        if "\0" in "".join(values):
            raise ValueError("a text with a NUL")
        if length is not None and max(map(len, values)) > length:
            raise ValueError("a text is too long")
        return values

    return checked
