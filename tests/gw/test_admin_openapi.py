"""The description of the API holds what is mounted, and its examples are what its schemas say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
import pytest
from fastapi.openapi.models import OpenAPI

from gw.routes.admin import ROUTES
from gw.routes.admin.openapi import document
from gw.routes.admin.v1 import V1

#: As a client reads it.
DOCUMENT: dict[str, Any] = orjson.loads(orjson.dumps(document(ROUTES)))
_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where it stands, its schema, the example."""
    for method, path, operation in operations():
        bodies = [("request", operation.get("requestBody", {}).get("content", {}))]
        bodies += [(status, answer.get("content", {})) for status, answer in operation["responses"].items()]
        for place, content in bodies:
            for media in content.values():
                if "example" in media:
                    yield f"{method} {path} {place}", media["schema"], media["example"]


def problems(value: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """How ``value`` is not what ``schema`` says (JSON Schema 2020-12, as far as the description uses it)."""
    if "$ref" in schema:
        return problems(value, DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]], place)
    if "anyOf" in schema:
        tried = [problems(value, one, place) for one in schema["anyOf"]]
        return [] if [] in tried else [f"{place}: none of {tried}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: {value!r} is not one of {schema['enum']}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    wrong_bool = isinstance(value, bool) and "boolean" not in kinds
    if kinds and (wrong_bool or not any(isinstance(value, _KINDS[kind]) for kind in kinds)):
        return [f"{place}: {value!r} is not {kinds}"]
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{place}: {value!r} is not like {schema['pattern']}")
        if schema.get("format") == "date-time":
            datetime.fromisoformat(value)
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        found.append(f"{place}: {value} is too small")
    if isinstance(value, list) and "items" in schema:
        found += [p for i, one in enumerate(value) for p in problems(one, schema["items"], f"{place}[{i}]")]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", {})
        found += [f"{place}: no {name}" for name in schema.get("required", []) if name not in value]
        for name, one in value.items():
            if name not in known and more is False:
                found.append(f"{place}: {name} is unknown")
            else:
                found += problems(one, known.get(name, more), f"{place}.{name}")
    return found


def test_it_is_an_openapi_document() -> None:
    read = OpenAPI.model_validate(DOCUMENT)
    assert read.openapi.startswith("3.1")
    assert read.paths is not None
    assert len(read.paths) == len(DOCUMENT["paths"])


def test_every_route_is_described_and_nothing_else() -> None:
    clients = {(o.method, re.sub(r"\{path:", "{", o.path)) for o in V1}
    described = {(method.upper(), path) for method, path, _ in operations()}
    assert described == {(route.method, route.path) for route in ROUTES} | clients


def test_names_of_operations_are_different() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_0-9]+", name) for name in names)


def test_the_parameters_of_a_path_are_those_in_it() -> None:
    for method, path, operation in operations():
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), f"{method} {path}"


def test_every_reference_leads_somewhere() -> None:
    for name in re.findall(rb'"\$ref":"#/components/schemas/(\w+)"', orjson.dumps(DOCUMENT)):
        assert name.decode() in DOCUMENT["components"]["schemas"]


def test_every_route_of_admin_has_an_example_of_what_it_takes_and_gives() -> None:
    places = {place for place, _, _ in examples()}
    for route in ROUTES:
        assert f"{route.method.lower()} {route.path} {route.status}" in places
        if route.request is not None:
            assert f"{route.method.lower()} {route.path} request" in places


@pytest.mark.parametrize(
    ("place", "schema", "example"), list(examples()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_examples_are_what_their_schemas_say(place: str, schema: dict[str, Any], example: Any) -> None:
    assert problems(example, schema) == []


def test_the_validator_finds_what_is_wrong() -> None:
    schema = {"$ref": "#/components/schemas/Project"}
    (good,) = [e for place, _, e in examples() if place == "get /admin/projects/{project} 200"]
    assert problems(good, schema) == []
    for name, wrong in (("rpm", "60"), ("id", None), ("daily_budget_usd", 12.5), ("rules", {"modles": []})):
        assert problems({**good, name: wrong}, schema), name
    assert problems({k: v for k, v in good.items() if k != "labels"}, schema)
