"""What the admin API reads from a query, and what it writes into a table for spreadsheets."""

from __future__ import annotations

import contextlib
import csv
import io
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.routes.admin.parameters import (
    MAX_PARAMETERS,
    BadParameter,
    choice,
    choices,
    flag,
    moment,
    read_query,
    text,
    whole,
)
from gw.routes.admin.sheet import cell, table

ALL = (
    text("project", "…"),
    moment("from", "…"),
    whole("limit", "…", 1, 1000, default=100),
    choice("format", "…", ("json", "csv")),
    choices("group_by", "…", ("day", "project", "model"), ("day",), at_most=2),
    flag("failed", "…"),
)


def test_what_is_not_given_has_its_default() -> None:
    assert read_query(b"", ALL) == {
        "project": None,
        "from": None,
        "limit": 100,
        "format": None,
        "group_by": ("day",),
        "failed": None,
    }


def test_every_kind_of_value_is_read() -> None:
    query = "project=team%20a&from=2026-11-01&limit=7&format=csv&group_by=model,day&failed=false"
    assert read_query(query.encode(), ALL) == {
        "project": "team a",
        "from": datetime(2026, 11, 1, tzinfo=UTC),
        "limit": 7,
        "format": "csv",
        "group_by": ("model", "day"),
        "failed": False,
    }


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=%D9%A3", "limit"),  # a digit, but not one of ASCII's
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("from=yesterday", "from"),
        ("from=2026-13-01", "from"),
        ("from=2026-11-01T00:00:00", "from"),  # of which zone?
        ("from=2026-11-01T00:00:00+01:00", "from"),  # a + is a space in a query
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("from=9999-12-31T23:59:59-14:00", "from"),
        ("from=20261101", "from"),
        ("format=xml", "format"),
        ("group_by=", "group_by"),
        ("group_by=day,day", "group_by"),
        ("group_by=day,project,model", "group_by"),
        ("group_by=secret", "group_by"),
        ("failed=1", "failed"),
        ("project=", "project"),
        ("project=%00", "project"),
        ("project=a%0Ab", "project"),
        ("project=" + "x" * 257, "project"),
        ("projct=a", "projct"),
        ("%00=a", "…"),
        ("project=%ff", "query"),
        ("a&" * (MAX_PARAMETERS + 1), "query"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, name: str) -> None:
    with pytest.raises(BadParameter) as caught:
        read_query(query.encode(), ALL)
    assert caught.value.name == name
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01t10:00:00z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00.123456789Z", datetime(2026, 11, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-01T00:30:00+01:00", datetime(2026, 10, 31, 23, 30, tzinfo=UTC)),
    ],
)
def test_times_are_rfc_3339(written: str, read: datetime) -> None:
    values = read_query(urlencode({"from": written}).encode(), ALL)
    assert values["from"] == read
    assert values["from"].tzinfo is UTC


@given(st.text(max_size=40), st.text(max_size=300))
def test_no_query_is_more_than_a_bad_parameter(name: str, value: str) -> None:
    encoded = f"{quote(name, errors='replace')}={quote(value, errors='replace')}"
    for query in (encoded.encode(), f"{name}={value}".encode("utf-8", "replace")):
        try:
            values = read_query(query, ALL)
        except BadParameter:
            continue
        assert set(values) == {parameter.name for parameter in ALL}


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_bad_parameter(query: bytes) -> None:
    with contextlib.suppress(BadParameter):
        read_query(query, ALL)


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "|calc",
        "%0A",
        "\uff1d1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_no_text_is_a_formula_in_a_spreadsheet(formula: str) -> None:
    (_, (read,)) = csv.reader(io.StringIO(table(["model"], [{"model": formula}]).decode(), newline=""))
    assert read == f"'{formula}"


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, ""), (True, "true"), (False, "false"), (0, "0"), (-3, "-3"), ("-0.000000001", "-0.000000001")],
)
def test_numbers_stay_numbers(value: object, written: str) -> None:
    assert cell(value) == written


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)))
def test_any_table_is_read_back_as_it_was(rows: list[list[str]]) -> None:
    written = table(["a", "b"], ({"a": a, "b": b} for a, b in rows)).decode()
    header, *read = csv.reader(io.StringIO(written, newline=""))
    assert header == ["a", "b"]
    assert read == [[cell(a), cell(b)] for a, b in rows]
