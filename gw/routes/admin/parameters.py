"""What may stand in a query string: read strictly, and described for OpenAPI by the same object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

#: Characters of a text value; the store's own columns end there.
MAX_TEXT = 256
#: Parameters of one request; more are refused before they are looked at.
MAX_PARAMETERS = 50

_DAY = r"\d{4}-\d\d-\d\d"
#: RFC 3339, section 5.6, and a day alone, which is its first moment.
_MOMENT = re.compile(rf"({_DAY})(?:[Tt ](\d\d:\d\d:\d\d(?:\.\d{{1,9}})?)([Zz]|[+-]\d\d:\d\d))?")
#: Years that both databases and every zone can hold.
_YEARS = range(1970, 9999)


class BadParameter(ValueError):
    """``name`` is not what it has to be; the message says how it should be."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


@dataclass(slots=True, frozen=True)
class Parameter:
    """One parameter. ``read`` turns its text into a value or raises ``ValueError`` saying what it must be."""

    name: str
    help: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    default: Any = None
    in_path: bool = False


def text(name: str, help: str) -> Parameter:
    """Any text that a row may hold: it is compared, never interpreted."""
    return Parameter(name, help, plain_text, {"type": "string", "minLength": 1, "maxLength": MAX_TEXT})


def path_text(name: str, help: str) -> Parameter:
    return Parameter(name, help, plain_text, {"type": "string"}, in_path=True)


def key_text(name: str, help: str, *, in_path: bool = False) -> Parameter:
    """The id of a key. Some will paste the whole key: it is refused without being repeated."""

    def read(value: str) -> str:
        if value.startswith("gw_"):
            raise ValueError("it must be the id alone, what stands between the key's two underscores")
        return plain_text(value)

    schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "not": {"pattern": "^gw_"}}
    return Parameter(name, help, read, schema, in_path=in_path)


def choice(name: str, help: str, allowed: Iterable[str], default: str | None = None) -> Parameter:
    names = tuple(allowed)

    def read(value: str) -> str:
        if value not in names:
            raise ValueError(f"it must be one of {', '.join(names)}")
        return value

    return Parameter(name, help, read, {"type": "string", "enum": [*names]}, default)


def choices(
    name: str, help: str, allowed: Iterable[str], default: tuple[str, ...] = (), at_most: int = 4
) -> Parameter:
    """A comma list of different names."""
    names = tuple(allowed)

    def read(value: str) -> tuple[str, ...]:
        chosen = tuple(value.split(","))
        if len(set(chosen)) != len(chosen) or len(chosen) > at_most or not set(chosen) <= set(names):
            raise ValueError(f"it must be up to {at_most} different ones of {', '.join(names)}, with commas")
        return chosen

    one = "(" + "|".join(names) + ")"
    return Parameter(name, help, read, {"type": "string", "pattern": f"^{one}(,{one})*$"}, default)


def whole(name: str, help: str, low: int, high: int, default: int | None = None) -> Parameter:
    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 19 and low <= int(value) <= high):
            raise ValueError(f"it must be a whole number between {low} and {high}")
        return int(value)

    return Parameter(name, help, read, {"type": "integer", "minimum": low, "maximum": high}, default)


def flag(name: str, help: str) -> Parameter:
    def read(value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("it must be true or false")
        return value == "true"

    return Parameter(name, help, read, {"type": "boolean"})


def moment(name: str, help: str) -> Parameter:
    return Parameter(name, help, read_moment, {"type": "string", "examples": ["2026-11-01T00:00:00Z"]})


def plain_text(value: str) -> str:
    """``value``. Raises ``ValueError`` when it is empty, long, or holds what no column can keep."""
    if not 0 < len(value) <= MAX_TEXT:
        raise ValueError(f"it must be 1 to {MAX_TEXT} characters long")
    if not value.isprintable():
        raise ValueError("it must not hold control characters")
    return value


def read_moment(value: str) -> datetime:
    """An RFC 3339 time, or a day: its beginning in UTC. Raises ``ValueError``."""
    wrong = "it must be a time with its zone, as in 2026-11-01T00:00:00Z (write + as %2B), or a day of UTC"
    if (found := _MOMENT.fullmatch(value)) is None or not value.isascii():
        raise ValueError(wrong)
    day, time, zone = found.groups()
    try:
        # More digits than Python keeps are cut off, not refused.
        whole, _, parts = (time or "00:00:00").partition(".")
        read = datetime.fromisoformat(f"{day}T{whole}.{parts[:6]:0<6}{(zone or 'Z').upper()}")
    except ValueError as error:
        raise ValueError(f"there is no such time ({error})") from None
    if read.year not in _YEARS:
        raise ValueError(f"its year must be between {_YEARS[0]} and {_YEARS[-1]}")
    return read.astimezone(UTC)


def read_query(query: bytes, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The value of every one of ``parameters`` that stand in a query, by name.

    Raises :class:`BadParameter` for a wrong value, an unknown name and a name that is given twice: a
    mistyped filter would otherwise be a report over everybody.
    """
    known = {p.name: p for p in parameters if not p.in_path}
    values = {p.name: p.default for p in known.values()}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise BadParameter(
            "query", f"it must be percent-encoded UTF-8 with up to {MAX_PARAMETERS} parameters"
        ) from None
    seen = set()
    for name, value in pairs:
        if (parameter := known.get(name)) is None:
            shown = name[:40] if name.isprintable() else "…"
            raise BadParameter(shown, "there is no such parameter here; there are " + ", ".join(known))
        if name in seen:
            raise BadParameter(name, "it is given twice")
        seen.add(name)
        values[name] = _read(parameter, value)
    return values


def read_path(values: Mapping[str, str | None], parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The values of the path's parameters, by name. Raises :class:`BadParameter`."""
    return {p.name: _read(p, values[p.name] or "") for p in parameters if p.in_path}


def _read(parameter: Parameter, value: str) -> Any:
    try:
        return parameter.read(value)
    except ValueError as error:
        raise BadParameter(parameter.name, str(error)) from None
