"""Values invented from a JSON schema, and the token estimate. Pure and deterministic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: References and branches nested deeper than this end in ``null``: a recursive schema must not recurse.
MAX_DEPTH = 12

_FORMATS = {
    "date-time": "2026-11-23T12:00:00Z",
    "date": "2026-11-23",
    "time": "12:00:00Z",
    "duration": "PT1M",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

_PIECE = re.compile(r"\s*\S{1,4}|\s+")


def pieces(text: str) -> list[str]:
    """``text`` cut into token-like pieces: up to four characters and the white space before them.
    Joined, they are ``text`` again."""
    return _PIECE.findall(text)


def instance(schema: Any, *, text: str = "example") -> Any:
    """A value that satisfies ``schema``: constants, first enum values, required properties only.

    ``text`` is used for unconstrained strings. Unknown keywords are ignored; a schema that is not
    an object (``true``, ``{}``) is satisfied by ``text``.
    """
    return _instance(schema, schema, text, 0)


def _instance(schema: Any, root: Any, text: str, depth: int) -> Any:
    if not isinstance(schema, Mapping):
        return text
    if depth > MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if isinstance(reference := schema.get("$ref"), str):
        return _instance(_resolve(reference, root), root, text, depth + 1)
    for branch in ("anyOf", "oneOf"):
        if schema.get(branch):
            return _instance(schema[branch][0], root, text, depth + 1)
    if schema.get("allOf"):
        return _instance(_merge(schema["allOf"]), root, text, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {
            name: _instance(properties.get(name, {}), root, text, depth + 1)
            for name in schema.get("required") or ()
        }
    if kind == "array":
        count = max(schema.get("minItems") or 0, 1)
        return [_instance(schema.get("items", {}), root, text, depth + 1) for _ in range(min(count, 20))]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _FORMATS.get(schema.get("format", ""), text)


def _number(schema: Mapping[str, Any]) -> int | float:
    if "exclusiveMinimum" in schema:
        return int(schema["exclusiveMinimum"]) + 1
    low: int | float = schema.get("minimum", 1)
    high: int | float = schema.get("maximum", low)
    return min(low, high)


def _resolve(reference: str, root: Any) -> Any:
    """A local ``#/…`` reference (RFC 6901); anything else means "no constraint"."""
    if reference == "#":
        return root
    node = root
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(node, Mapping):
            return {}
        node = node.get(part.replace("~1", "/").replace("~0", "~"), {})
    return node


def _merge(branches: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for branch in branches:
        for key, value in branch.items():
            if key == "properties":
                merged.setdefault("properties", {}).update(value)
            elif key == "required":
                merged["required"] = [*merged.get("required", []), *value]
            else:
                merged[key] = value
    return merged
