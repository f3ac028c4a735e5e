"""No SQL is built from strings anywhere in the gateway: checked in its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway import ROOT

#: Names under which statements reach a database: SQLAlchemy's, asyncpg's, sqlite3's.
DOORS = frozenset(
    {
        *("text", "literal_column", "exec_driver_sql", "execute", "executemany", "executescript"),
        *("fetch", "fetchval", "fetchrow", "scalar", "scalars", "prepare", "copy_from_query", "cursor"),
    }
)
DRIVERS = ("sqlalchemy", "asyncpg", "sqlite", "alembic")
#: Constants that hold the words of a statement, wherever they are put together.
WORDS = ("select ", "insert into", "update ", "delete from", "drop table", "create table", "alter table")
#: The doctor tries out whether it may make a table: what goes into the statement is random digits.
TRIED = {"gw/doctor/postgres.py": 2}


def put_together(node: ast.expr) -> bool:
    """Whether ``node`` is a text with something put into it."""
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) for value in values)
        case ast.BinOp(op=ast.Mod() | ast.Add(), left=left, right=right):
            return _is_text(left) or _is_text(right) or put_together(left) or put_together(right)
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "replace", value=value)):
            return _is_text(value) or put_together(value)
    return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def offences(source: str) -> Iterator[int]:
    """Lines with SQL that is put together from strings. Doors are looked at where a driver is in the room."""
    doors = DOORS if any(driver in source for driver in DRIVERS) else frozenset()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in doors and any(map(put_together, node.args)):
                yield node.lineno
        elif isinstance(node, ast.JoinedStr) and put_together(node):
            first = node.values[0]
            if isinstance(first, ast.Constant) and str(first.value).lower().lstrip().startswith(WORDS):
                yield node.lineno


def test_no_sql_is_built_from_strings() -> None:
    found: dict[str, int] = {}
    for folder in ("gw", "middleware", "providers"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if lines := set(offences(file.read_text())):
                found[file.relative_to(ROOT).as_posix()] = len(lines)
    assert found == TRIED, found


@pytest.mark.parametrize(
    "source",
    [
        "connection.execute(text(f\"SELECT * FROM keys WHERE id = '{id}'\"))",
        'text("SELECT * FROM keys WHERE id = %s" % id)',
        'text("SELECT * FROM keys WHERE id = {}".format(id))',
        'text("SELECT * FROM " + table)',
        'connection.exec_driver_sql("PRAGMA table_info(" + name + ")")',
        'await connection.fetch(f"SELECT {column} FROM keys")',
        'query = f"delete from {table}"',
        'text("".join(parts))',
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert set(offences(f"import sqlalchemy; {source}")) == {1}


def test_the_check_lets_statements_with_parameters_pass() -> None:
    assert not list(offences('connection.execute(select(keys).where(keys.c.id == f"{a}-{b}"))'))
    assert not list(offences('connection.execute(text("SELECT 1 FROM keys WHERE id = :id"), {"id": id})'))


def test_every_file_of_the_gateway_is_read() -> None:
    assert len(list(Path(ROOT / "gw").rglob("*.py"))) > 50
