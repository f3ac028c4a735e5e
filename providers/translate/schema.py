"""JSON schemas, brought into the subset that Claude's structured outputs accept.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs: objects are closed, ``oneOf``
is ``anyOf``, ``minItems`` is 0 or 1, and a keyword outside the subset is refused. What is refused moves
into ``description``, where the model still reads it.
"""

from __future__ import annotations

from typing import Any

import orjson

from . import _check
from ._check import Block

#: Far above any real schema, far below what exhausts the stack.
MAX_DEPTH = 64

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_KEPT = ("title", "description")
_COMBINED = ("anyOf", "oneOf", "allOf")
#: Keywords that say what a schema without them would leave open.
_STRUCTURE = frozenset({"type", "$ref", "enum", "const", "properties", "items", *_COMBINED})
#: No constraint and nothing for the model to read.
_SILENT = frozenset({"$schema", "$id", "$comment"})


def normalised(schema: object, at: str) -> dict[str, Any]:
    """``schema`` as structured outputs accept it. Raises ``BadRequest`` when it cannot be expressed."""
    return _node(_check.obj(schema, at), at, MAX_DEPTH)


def _node(schema: object, at: str, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise _check.invalid(at, f"The schema is nested more than {MAX_DEPTH} levels deep.")
    if schema is True:
        schema = {}
    rest = dict(_check.obj(schema, at))
    out: dict[str, Any] = {}
    for name in ("$defs", "definitions"):
        if name in rest:
            defs = _check.obj(rest.pop(name), f"{at}.{name}")
            out[name] = {key: _node(value, f"{at}.{name}", depth - 1) for key, value in defs.items()}
    if (ref := rest.pop("$ref", None)) is not None:
        out["$ref"] = _check.text(ref, f"{at}.$ref")
        return out  # siblings of $ref are refused
    for name in _KEPT:
        if (value := rest.pop(name, None)) is not None:
            out[name] = _check.text(value, f"{at}.{name}")
    for name in _SILENT:
        rest.pop(name, None)
    _shape(rest, out, at, depth)
    if isinstance(rest.get("additionalProperties"), bool):
        del rest["additionalProperties"]  # open or closed, it is closed now
    if rest:
        _describe(out, rest, at)
    return out


def _shape(rest: Block, out: Block, at: str, depth: int) -> None:
    """Move what is accepted from ``rest`` to ``out``, so that ``rest`` keeps what is not."""
    literals = _literals(rest)
    if literals:
        out.update(literals)
        rest.pop("type", None)
        return
    kind = _kind(rest, at)
    if not isinstance(kind, list) and (combined := _combination(rest, kind)):
        name, branches = combined
        out["allOf" if name == "allOf" else "anyOf"] = [
            _node(branch, f"{at}.{name}.{index}", depth - 1) for index, branch in enumerate(branches)
        ]
    elif isinstance(kind, list):
        # Each of the types with the keywords that belong to it; the rest is described once.
        out["anyOf"] = [_typed(rest, {}, one, at, depth) for one in kind]
        _forget(rest)
    elif kind is not None:
        _typed(rest, out, kind, at, depth)
        _forget(rest)
    else:
        # "Anything": there is no such schema, so offer every JSON type that is complete in itself.
        out["anyOf"] = [{"type": one} for one in ("string", "number", "boolean", "null")]


def _literals(rest: Block) -> Block:
    found: Block = {}
    enum = rest.get("enum")
    if isinstance(enum, list) and enum and not any(isinstance(v, dict | list) for v in enum):
        found["enum"] = rest.pop("enum")
    if "const" in rest and not isinstance(rest["const"], dict | list):
        found["const"] = rest.pop("const")
    return found


def _kind(rest: Block, at: str) -> str | list[str] | None:
    kind = rest.pop("type", None)
    if kind is None:
        return "object" if "properties" in rest else "array" if "items" in rest else None
    kinds = kind if isinstance(kind, list) else [kind]
    for one in kinds:
        if _check.text(one, f"{at}.type") not in _TYPES:
            raise _check.invalid(f"{at}.type", f"{one[:40]!r} is not a JSON type.")
    if not kinds:
        return None
    return kinds[0] if len(kinds) == 1 else list(dict.fromkeys(kinds))


def _combination(rest: Block, kind: object) -> tuple[str, list[Any]] | None:
    """The combinator that decides the shape. One that merely constrains (branches of ``required``
    beside ``properties``, say) is not: it stays behind and is described."""
    if kind == "object" and "properties" in rest:
        return None
    for name in _COMBINED:
        branches = rest.get(name)
        if isinstance(branches, list) and branches and all(_is_shape(branch) for branch in branches):
            return name, rest.pop(name)
    return None


def _is_shape(branch: object) -> bool:
    return isinstance(branch, dict) and not _STRUCTURE.isdisjoint(branch)


def _typed(rest: Block, out: Block, kind: str, at: str, depth: int) -> Block:
    """Add the accepted keywords of one type. Reads ``rest`` and leaves it as it is."""
    out["type"] = kind
    if kind == "object":
        properties = rest.get("properties")
        properties = {} if properties is None else _check.obj(properties, f"{at}.properties")
        out["properties"] = {
            key: _node(value, f"{at}.properties", depth - 1) for key, value in properties.items()
        }
        required = rest.get("required")
        if required is not None:
            names = [_check.text(name, f"{at}.required") for name in _check.array(required, f"{at}.required")]
            out["required"] = [name for name in dict.fromkeys(names) if name in properties]
        out["additionalProperties"] = False
    elif kind == "array":
        if isinstance(rest.get("items"), dict | bool):
            out["items"] = _node(rest["items"], f"{at}.items", depth - 1)
        if _few(rest):
            out["minItems"] = rest["minItems"]
    elif kind == "string" and _known_format(rest):
        out["format"] = rest["format"]
    return out


def _few(rest: Block) -> bool:
    value = rest.get("minItems")
    return isinstance(value, int) and not isinstance(value, bool) and value in (0, 1)


def _known_format(rest: Block) -> bool:
    value = rest.get("format")
    return isinstance(value, str) and value in _FORMATS


def _forget(rest: Block) -> None:
    """Drop from ``rest`` what :func:`_typed` has taken, so that the remainder can be described."""
    rest.pop("properties", None)
    rest.pop("required", None)
    if isinstance(rest.get("items"), dict | bool):
        del rest["items"]
    if _few(rest):
        del rest["minItems"]
    if _known_format(rest):
        del rest["format"]


def _describe(out: Block, rest: Block, at: str) -> None:
    try:
        words = orjson.dumps(rest).decode()
    except TypeError:  # too deep, or a lone surrogate: the request cannot be sent with it either
        raise _check.invalid(at, "The schema cannot be written as JSON.") from None
    described = out.get("description")
    out["description"] = f"{described}\n\n{words}" if described else words


def object_schema(schema: Block, at: str) -> dict[str, Any]:
    """A tool's schema with the top level that the API demands: an object without combinators.

    Top-level ``anyOf`` / ``oneOf`` / ``allOf`` are refused; their branches' properties are offered
    together, and the combination itself is described. Raises ``BadRequest``.
    """
    kind = schema.get("type")
    if kind not in (None, "object") and not (isinstance(kind, list) and "object" in kind):
        raise _check.invalid(f"{at}.type", f"`{at}.type` must be 'object'.")
    given = schema.get("properties")
    properties = {} if given is None else _check.obj(given, f"{at}.properties")
    out = {**schema, "type": "object", "properties": properties}
    combined = {name: out.pop(name) for name in _COMBINED if name in out}
    if combined:
        merged = out["properties"] = dict(properties)
        for branches in combined.values():
            for branch in branches if isinstance(branches, list) else ():
                found = branch.get("properties") if isinstance(branch, dict) else None
                for name, value in found.items() if isinstance(found, dict) else ():
                    merged.setdefault(name, value)
        if not isinstance(out.get("description"), str):
            out.pop("description", None)
        _describe(out, combined, at)
    return out
