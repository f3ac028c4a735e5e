"""Tool calls as they stand in the messages of a chat, in each of the shapes that clients use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from . import _check
from ._check import Block
from .cache_control import marker


@dataclass(slots=True)
class Call:
    """A tool call of the last assistant turn. ``original``: the caller's id, "" if it gave none."""

    original: str
    name: str
    arguments: Block
    mark: Block | None = None
    wire: str = ""


def optional_text(value: object, at: str) -> str:
    return "" if value is None else _check.text(value, at)


def name_of(holder: Block, at: str) -> str:
    name = _check.text(holder.get("name"), f"{at}.name")
    if not name:
        raise _check.invalid(f"{at}.name", f"`{at}.name` is empty.")
    return name


def named_call(value: object, at: str, custom: frozenset[str]) -> Call:
    """A ``{name, arguments}`` object."""
    function = _check.obj(value, at)
    name = name_of(function, at)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return Call("", name, arguments)
    given = optional_text(arguments, f"{at}.arguments")
    return Call("", name, {"input": given} if name in custom else parse_arguments(given))


def shaped_call(part: Block, at: str) -> Call:
    """An Anthropic-shaped ``tool_use`` part."""
    given = part.get("input")
    arguments = {} if given is None else _check.obj(given, f"{at}.input")
    return Call(_check.text(part.get("id"), f"{at}.id"), name_of(part, at), arguments, marker(part, at))


def parse_arguments(arguments: str) -> dict[str, Any]:
    """The object in ``arguments``; ``{"_raw": arguments}`` when there is none (models do write such)."""
    if not arguments or arguments.isspace():
        return {}
    try:
        parsed = orjson.loads(arguments)
    except ValueError:
        return {"_raw": arguments}
    return parsed if isinstance(parsed, dict) else {"_raw": arguments}
