"""What the admin API and the command line are given, checked strictly: unknown fields, wrong types and
values out of range are :class:`~.types.Invalid`, which names the field and what it must be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from unicodedata import category

from .types import NANO, Invalid, Key, KeySpec, Project, ProjectSpec, Rules, iso, terms_json

#: Ids of projects, and names of labels. Chosen by people, shown in reports and metrics.
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ID_RULE = "must be 1 to 63 of a-z, 0-9, dot, underscore and hyphen, the first a letter or digit"
#: As model names in the settings, with ``*`` for any characters.
_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,199}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
#: Each one multiplies the work of combining a key's patterns with its project's.
_MAX_STARS = 3
#: Both vendors' tools: ``^[a-zA-Z0-9_-]{1,128}$`` (Anthropic), 64 characters (OpenAI); MCP's have dots.
_TOOL = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_SHOWN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_MAX_COUNT = 2**31 - 1  # the columns are 32 bit
_MAX_DOLLARS = 1_000_000_000
_MAX_LIST = 200
_MAX_LABELS = 32
_MAX_DEPTH = 8

Check = Callable[[str, Any], Any]


def read_json(raw: bytes | str) -> Any:
    """The value in ``raw``, its decimal numbers exact (``Decimal``, never floats).

    Raises :class:`Invalid` for anything that is not JSON, for duplicate names, NaN and deep nesting.
    """
    try:
        value = json.loads(raw, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_once)
        _bounded(value, _MAX_DEPTH)
    except Invalid:
        raise
    except (ValueError, RecursionError):  # a UnicodeDecodeError is one, too
        raise Invalid("", "is not valid JSON") from None
    return value


def project_from_json(value: Any) -> ProjectSpec:
    """A project to create: ``id``, and whatever of :func:`~.types.terms_json` is wanted.

    Raises :class:`Invalid`.
    """
    given = _fields(value, {"id": _id, **_TERMS})
    if given.get("id") is None:
        raise Invalid("id", "is required: it " + ID_RULE)
    given["name"] = given.get("name") or given["id"]
    return ProjectSpec(**given)


def key_from_json(value: Any) -> KeySpec:
    """A key to create: the same without ``id``, and ``expires_at``. Raises :class:`Invalid`."""
    given = _fields(value, {**_TERMS, "expires_at": _moment})
    given["name"] = given.get("name") or ""
    return KeySpec(**given)


def changed_project(project: Project, patch: Any) -> ProjectSpec:
    """``project`` with ``patch`` on it, a JSON merge patch (RFC 7396): null takes a limit or a rule away,
    and what is left out stays. Raises :class:`Invalid`."""
    _only(patch, _TERMS)
    return project_from_json({"id": project.id, **_merged(terms_json(project), patch)})


def changed_key(key: Key, patch: Any) -> KeySpec:
    """The same for a key. Raises :class:`Invalid`."""
    _only(patch, (*_TERMS, "expires_at"))
    return key_from_json(_merged({**terms_json(key), "expires_at": iso(key.expires_at)}, patch))


def rules_from_json(value: Any) -> Rules:
    """Rules as they are given, and as the column ``rules`` holds them. Raises :class:`Invalid`."""
    return _rules("rules", value)


def nano_from(field: str, value: Any) -> int | None:
    """Nano-dollars from a number or a text of dollars, exactly. Raises :class:`Invalid`."""
    if value is None:
        return None
    rule = f'must be dollars from 0 to {_MAX_DOLLARS}, as in 12.5 or "12.50", with 9 decimals at most'
    # A float has lost what was written; `read_json` makes none.
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise Invalid(field, rule)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", value):
        raise Invalid(field, rule)
    if isinstance(value, int) and not 0 <= value <= _MAX_DOLLARS:  # before it is a Decimal: it may be huge
        raise Invalid(field, rule)
    try:
        amount = Decimal(value)
        if not 0 <= amount <= _MAX_DOLLARS or amount != amount.quantize(Decimal("1e-9")):
            raise Invalid(field, rule)
    except InvalidOperation:  # more digits than the context holds
        raise Invalid(field, rule) from None
    return int(amount * NANO)


def check_id(field: str, value: Any) -> str:
    """A project's id. Raises :class:`Invalid`."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Invalid(field, ID_RULE)
    return value


def _id(field: str, value: Any) -> str | None:
    return None if value is None else check_id(field, value)


def _count(low: int, high: int = _MAX_COUNT) -> Check:
    def check(field: str, value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Invalid(field, f"must be a whole number from {low} to {high}, or null")
        return value

    return check


def _text(longest: int, *, lines: bool = False) -> Check:
    """``lines``: line ends and tabs may be in it."""

    def check(field: str, value: Any) -> str | None:
        if value is None:
            return None
        rule = f"must be a text of 1 to {longest} characters" + ("" if lines else " in one line")
        if not isinstance(value, str) or not value.strip() or len(value) > longest:
            raise Invalid(field, rule)
        # Lone surrogates and NUL can be in no row of PostgreSQL; escape sequences belong in no terminal.
        if any(category(c) in ("Cc", "Cs") and not (lines and c in "\n\r\t") for c in value):
            raise Invalid(field, rule + ", without control characters")
        return value

    return check


def _name(field: str, value: Any) -> str | None:
    check: Callable[[str, Any], str | None] = _text(200)
    return None if value == "" else check(field, value)  # as it is shown where there is none


def _names(pattern: re.Pattern[str], rule: str) -> Check:
    def check(field: str, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        if value == []:
            # Everything, or nothing? A template whose variable was unset should open no gate in silence.
            raise Invalid(field, "must name at least one: leave it out, or say null, for no such rule")
        if not isinstance(value, list) or len(value) > _MAX_LIST:
            raise Invalid(field, f"must be a list of at most {_MAX_LIST} texts")
        for place, item in enumerate(value):
            if not isinstance(item, str) or not pattern.fullmatch(item) or item.count("*") > _MAX_STARS:
                raise Invalid(f"{field}[{place}]", rule)
        return tuple(dict.fromkeys(value))

    return check


def _model(field: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not _MODEL.fullmatch(value)):
        raise Invalid(field, "must be the name of a model")
    return value


def _cache(field: str, value: Any) -> str:
    if value not in (None, "default", "off", "shared"):
        raise Invalid(field, "must be one of default, off, shared")
    return value or "default"


def _labels(field: str, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MAX_LABELS:
        raise Invalid(field, f"must be an object of at most {_MAX_LABELS} texts")
    short = _text(200)
    for name, text in value.items():
        if not isinstance(name, str) or not ID.fullmatch(name):
            raise Invalid(field, f"has a name that is not right: each {ID_RULE}")
        if text is None:
            raise Invalid(f"{field}.{name}", "must be a text")
        short(f"{field}.{name}", text)
    return dict(value)


def _moment(field: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) < 40 else None
        if moment is not None and moment.tzinfo is not None and 2000 <= moment.year < 9000:
            return moment.astimezone(UTC)
    except ValueError:
        pass
    raise Invalid(field, "must be a time with its zone, as in 2027-01-31T00:00:00Z, or null")


_RULES: dict[str, Check] = {
    "models": _names(_PATTERN, f"must be the name of a model, with {_MAX_STARS} * in it at most"),
    "default_model": _model,
    "max_tokens": _count(1),
    "system_prefix": _text(20_000, lines=True),
    "allowed_tools": _names(_TOOL, "must be the name of a tool"),
    "blocked_tools": _names(_TOOL, "must be the name of a tool"),
    "cache": _cache,
}


def _rules(field: str, value: Any) -> Rules:
    return Rules() if value is None else Rules(**_fields(value, _RULES, field))


_TERMS: dict[str, Check] = {
    "name": _name,
    "rpm": _count(1),
    "tpm": _count(1),
    "concurrent": _count(1),
    "daily_budget_usd": nano_from,
    "monthly_budget_usd": nano_from,
    "rules": _rules,
    "labels": _labels,
}


def _fields(value: Any, checks: Mapping[str, Check], prefix: str = "") -> dict[str, Any]:
    _only(value, checks, prefix)
    path = f"{prefix}." if prefix else ""
    return {_renamed(name): checks[name](path + name, given) for name, given in value.items()}


def _renamed(name: str) -> str:
    """The name in :class:`~.types.Terms`, whose money is in nano-dollars."""
    return name.removesuffix("_usd") + "_nano" if name.endswith("_usd") else name


def _only(value: Any, known: Mapping[str, Any] | tuple[str, ...], prefix: str = "") -> None:
    if not isinstance(value, dict):
        raise Invalid(prefix, "must be a JSON object")
    path = f"{prefix}." if prefix else ""
    for name in value:
        if name not in known:
            shown = (
                name if ID.fullmatch(name) else "…"
            )  # it may be anything, also a key put in the wrong place
            raise Invalid(path + shown, f"is not known here: there are {', '.join(known)}")


def _merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396, section 2."""
    result = dict(old)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Invalid("", "names a field twice")
    return value


def _bounded(value: Any, depth: int) -> None:
    if depth < 0:
        raise Invalid("", "is nested too deeply")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _bounded(item, depth - 1)
