"""JSON schemas of structured outputs and strict tools: the subset that the API compiles.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs, and the anthropic SDK's
``transform_schema``, which rewrites what is refused here.
"""

from __future__ import annotations

from typing import Any

from .refusal import invalid

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_COMMON = frozenset({"title", "description", "default", "enum", "const", "$defs", "definitions", "$schema"})
_SHAPES: dict[str, type] = {
    "$defs": dict,
    "definitions": dict,
    "properties": dict,
    "anyOf": list,
    "allOf": list,
    "enum": list,
    "required": list,
}
_KEYWORDS = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems"}),
    "string": frozenset({"format", "pattern"}),
}


def check_format_schema(schema: Any, at: str) -> None:
    """Raise the API's refusal of ``schema``, which stands at the path ``at``."""
    if not isinstance(schema, dict):
        raise invalid(f"{at}: Input should be a valid dictionary")
    for name, kind_of in _SHAPES.items():
        if not isinstance(schema.get(name, kind_of()), kind_of):
            raise invalid(f"{at}.{name}: Input should be a valid {kind_of.__name__}")
    for name in ("$defs", "definitions"):
        for key, inner in schema.get(name, {}).items():
            check_format_schema(inner, f"{at}.{name}.{key}")
    if "$ref" in schema:
        if not str(schema["$ref"]).startswith("#/"):
            raise invalid(f"{at}: Only local references are supported, found '{schema['$ref']}'")
        return
    if "oneOf" in schema:
        raise invalid(f"{at}: Schema type 'oneOf' is not supported")
    for name in ("anyOf", "allOf"):
        for index, inner in enumerate(schema.get(name, ())):
            check_format_schema(inner, f"{at}.{name}.{index}")
    kinds = schema.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds] if kinds is not None else []
    for kind in listed:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise invalid(f"{at}.type: Input should be one of {', '.join(sorted(_TYPES))}")
    if not listed and not schema.keys() & {"anyOf", "allOf", "enum", "const"}:
        raise invalid(f"{at}: Schema must have a 'type', 'anyOf', 'allOf', 'enum' or 'const'")
    allowed = _COMMON | {"type", "anyOf", "allOf"}
    for kind in listed:
        allowed |= _KEYWORDS.get(kind, frozenset())
    for keyword in schema:
        if keyword not in allowed:
            raise invalid(
                f"{at}: For '{listed[0] if listed else 'any'}' type, property '{keyword}' is not supported"
            )
    if "object" in listed:
        _check_object(schema, at)
    if "array" in listed:
        _check_array(schema, at)
    if str(schema.get("format", "date")) not in _FORMATS:
        raise invalid(f"{at}: For 'string' type, format '{schema['format']}' is not supported")


def _check_object(schema: dict[str, Any], at: str) -> None:
    if schema.get("additionalProperties") is not False:
        raise invalid(f"{at}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if not isinstance(name, str) or name not in properties:
            raise invalid(f"{at}.required: '{name}' is not defined in properties")
    for name, inner in properties.items():
        check_format_schema(inner, f"{at}.properties.{name}")


def _check_array(schema: dict[str, Any], at: str) -> None:
    if schema.get("minItems", 0) not in (0, 1):
        raise invalid(f"{at}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    if "items" in schema:
        check_format_schema(schema["items"], f"{at}.items")
