"""JSON Schemas of what the admin API takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
COUNT: Shape = {"type": "integer", "minimum": 0}
FLAG: Shape = {"type": "boolean"}
TIME: Shape = {"type": "string", "format": "date-time"}
#: Dollars as an exact decimal text.
USD: Shape = {"type": "string", "pattern": r"^-?\d+\.\d{2,9}$"}
_LABELS: Shape = {"type": "object", "additionalProperties": TEXT}


def ref(name: str) -> Shape:
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(shape: Mapping[str, Any]) -> Shape:
    """``shape`` or null."""
    return {"anyOf": [dict(shape), {"type": "null"}]}


def listed(shape: Mapping[str, Any]) -> Shape:
    return {"type": "array", "items": dict(shape)}


def fields(properties: Mapping[str, Shape], optional: tuple[str, ...] = ()) -> Shape:
    """An object with exactly these ``properties``; all but ``optional`` are always there."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def page(items: Shape, name: str, more: Mapping[str, Shape] | None = None) -> Shape:
    """A page of a list: ``next`` is the ``after`` of the following page; null at the end."""
    return fields({name: listed(items), "next": maybe(TEXT), **(more or {})})


#: Empty it would be everything to some readers and nothing to others.
_NAMES: Shape = maybe({**listed(TEXT), "minItems": 1})
_RULES: Shape = fields(
    {
        "models": _NAMES,
        "default_model": maybe(TEXT),
        "max_tokens": maybe({"type": "integer", "minimum": 1}),
        "system_prefix": maybe(TEXT),
        "allowed_tools": _NAMES,
        "blocked_tools": _NAMES,
        "cache": {"enum": ["default", "off", "shared", None]},
    },
    optional=(
        "models",
        "default_model",
        "max_tokens",
        "system_prefix",
        "allowed_tools",
        "blocked_tools",
        "cache",
    ),
)
_TERMS: dict[str, Shape] = {
    "name": TEXT,
    "rpm": maybe({"type": "integer", "minimum": 1}),
    "tpm": maybe({"type": "integer", "minimum": 1}),
    "concurrent": maybe({"type": "integer", "minimum": 1}),
    "daily_budget_usd": maybe(USD),
    "monthly_budget_usd": maybe(USD),
    "rules": ref("Rules"),
    "labels": _LABELS,
}
#: As they are given: a number of dollars is as good as a text, and null takes a limit away.
_GIVEN: dict[str, Shape] = {
    **{name: maybe(shape) for name, shape in _TERMS.items() if "budget" not in name},
    "daily_budget_usd": {"type": ["string", "number", "null"]},
    "monthly_budget_usd": {"type": ["string", "number", "null"]},
}
_PROJECT: dict[str, Shape] = {
    "id": TEXT,
    **_TERMS,
    "created_at": TIME,
    "updated_at": TIME,
    "archived_at": maybe(TIME),
}
_KEY: dict[str, Shape] = {
    "id": TEXT,
    "project": TEXT,
    **_TERMS,
    "expires_at": maybe(TIME),
    "created_at": TIME,
    "updated_at": TIME,
    "revoked_at": maybe(TIME),
    "rotated_from": maybe(TEXT),
    "status": {"enum": ["active", "expired", "revoked"]},
}

COMPONENTS: dict[str, Shape] = {
    "Error": fields(
        {
            "error": fields(
                {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)},
            )
        }
    ),
    "Rules": _RULES,
    "Project": fields(_PROJECT),
    "NewProject": fields({"id": TEXT, **_GIVEN}, optional=tuple(_GIVEN)),
    "ProjectPatch": fields(_GIVEN, optional=tuple(_GIVEN)),
    "Key": fields(_KEY),
    "NewKey": fields({**_GIVEN, "expires_at": maybe(TIME)}, optional=(*_GIVEN, "expires_at")),
    "IssuedKey": fields({**_KEY, "key": {"type": "string", "description": "Shown this once."}}),
}
