"""CSV for spreadsheets, which run what looks like a formula: here no cell of somebody else's text does."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

#: What the common spreadsheets take for the beginning of a formula, also in full width
#: (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """``rows`` as RFC 4180 text with a line of names first. Unknown (None) is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out)  # its lines end as the RFC's do
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row.get(column)) for column in columns])
    return out.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """``value`` as a spreadsheet may read it: text that could be a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
    if text.lstrip(" ").startswith(_FORMULA) and _NUMBER.fullmatch(text) is None:
        return f"'{text}"
    return text
