"""JSON schemas are brought into the subset that structured outputs enforce."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from perf.simulated.strict_schema import check_format_schema
from providers.errors import BadRequest
from providers.translate.schema import MAX_DEPTH, normalised

from .strategies import JSON, OBJECT_SCHEMAS


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "gone"]},
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        ),
        ({"properties": {}}, {"type": "object", "properties": {}, "additionalProperties": False}),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": ["string"]}, {"type": "string"}),
        ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"const": 1, "title": "T"}, {"title": "T", "const": 1}),
        ({"type": "string", "format": "uri"}, {"type": "string", "format": "uri"}),
        ({"type": "string", "format": "color"}, {"type": "string", "description": '{"format":"color"}'}),
        (
            {"type": "integer", "minimum": 1, "description": "Count."},
            {"description": 'Count.\n\n{"minimum":1}', "type": "integer"},
        ),
        (
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "description": '{"maxItems":3}'},
        ),
        ({"type": "array", "minItems": 2}, {"type": "array", "description": '{"minItems":2}'}),
        (
            {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object"}}, "description": "gone"},
            {
                "$defs": {"n": {"type": "object", "properties": {}, "additionalProperties": False}},
                "$ref": "#/$defs/n",
            },
        ),
        (
            # Branches that only constrain are words; the properties are the shape.
            {
                "type": "object",
                "properties": {"a": {"type": "null"}},
                "anyOf": [{"required": ["a"]}],
                "$schema": "x",
            },
            {
                "type": "object",
                "properties": {"a": {"type": "null"}},
                "additionalProperties": False,
                "description": '{"anyOf":[{"required":["a"]}]}',
            },
        ),
    ],
)
def test_each_rule(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    before = orjson.dumps(schema)
    assert normalised(schema, "at") == expected
    assert orjson.dumps(schema) == before


@given(schema=OBJECT_SCHEMAS)
def test_what_comes_out_is_accepted_and_stays_the_same(schema: dict[str, Any]) -> None:
    once = normalised(schema, "at")
    check_format_schema(once, "at")
    assert normalised(once, "at") == once


@given(schema=JSON)
def test_nonsense_is_accepted_or_a_bad_request(schema: Any) -> None:
    for candidate in (
        schema,
        {"type": "object", "properties": {"p": schema}},
        {"anyOf": [schema], "items": schema},
    ):
        place = refused_place(candidate)
        assert place is None or place.startswith("at")


def refused_place(schema: Any) -> str | None:
    try:
        normalised(schema, "at")
    except BadRequest as refused:
        return str(refused.param)
    return None


def test_a_schema_may_be_deep_but_not_endless() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"type": "array", "items": nested(depth - 1)} if depth else {"type": "string"}

    normalised(nested(MAX_DEPTH - 1), "at")
    with pytest.raises(BadRequest):
        normalised(nested(MAX_DEPTH), "at")
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless
    with pytest.raises(BadRequest):
        normalised(endless, "at")
