"""Tables for people: columns as wide as what is in them, numbers to the right."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"<?[$~]?[0-9][0-9,.]*( \+ \?)?%?|\?|-")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None = None) -> str:
    """Lines of text. A column is set to the right where all that is in it are numbers. A cell of ``head`` may
    have several lines, so that its column is no wider than what is below."""
    body = [[printable(cell) for cell in row] for row in rows]
    last = [] if total is None else [list(total)]
    height = max(cell.count("\n") for cell in head)
    heads = list(
        zip(*(("\n" * (height - cell.count("\n")) + cell).split("\n") for cell in head), strict=True)
    )
    columns = list(zip(*heads, *body, *last, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [
        all(_NUMBER.fullmatch(row[place]) for row in (*body, *last) if row[place]) and bool(body)
        for place in range(len(head))
    ]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ).rstrip()

    ruler = ["-" * (sum(widths) + 2 * (len(widths) - 1))] if last else []
    return "\n".join([*map(line, heads), *map(line, body), *ruler, *map(line, last)])


def printable(text: str) -> str:
    """``text`` without what a terminal would take for a command."""
    return _CONTROL.sub("?", text)
