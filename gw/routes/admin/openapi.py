"""The OpenAPI 3.1 description, made of the route table and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ... import __version__
from .parameters import Parameter
from .schemas import COMPONENTS, ref
from .table import Route
from .v1 import V1, Operation

_ERRORS = {
    400: "A parameter or a field is wrong; `error.param` names it.",
    401: "No key, or one that is not known.",
    402: "A budget is used up.",
    403: "/admin is closed: ADMIN_API_KEY is not set.",
    404: "There is no such thing.",
    409: "What is asked for contradicts what is there, or a setting.",
    413: "The body is too large.",
    429: "Too many requests; `retry-after` says when there is room again.",
    503: "What is behind the gateway is away or slow; `retry-after` says when to ask again.",
}
_SECURITY = {
    "adminKey": "The key of ADMIN_API_KEY.",
    "gatewayKey": "A client's key: GATEWAY_API_KEY, or a key of a project.",
}
_PATH_PARAMETER = re.compile(r"\{(?:path:)?(\w+)\}")


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole description: ``routes`` of /admin, and the gateway's API for clients."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _admin(route)
    for operation in V1:
        path = _PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _client(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "claude-gateway",
            "version": __version__,
            "description": "Amounts of money are US dollars as exact decimal texts; null is unknown, "
            "which is not 0. Times are RFC 3339, in UTC.",
        },
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": text}
                for name, text in _SECURITY.items()
            },
        },
    }


def _admin(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {route.content_type: {"schema": route.answer, "example": route.example}}
    if route.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    found: dict[str, Any] = {
        "operationId": operation_id(route.method, route.path),
        "summary": route.summary,
        "tags": ["admin"],
        "security": [{"adminKey": []}],
        "parameters": [_parameter(parameter) for parameter in route.parameters],
        "responses": {str(route.status): {"description": "Done.", "content": content}}
        | _errors((400, 401, 403, *route.errors)),
    }
    if route.request is not None:
        body = {"schema": route.request, "example": route.request_example}
        found["requestBody"] = {"required": True, "content": {"application/json": body}}
    return found


def _client(operation: Operation, path: str) -> dict[str, Any]:
    names = _PATH_PARAMETER.findall(path)
    example = {"schema": {"type": "object"}, "example": operation.example}
    answers: dict[str, Any] = {operation.status: {"description": operation.answers}}
    if operation.status.startswith("2"):
        answers[operation.status]["content"] = {"application/json": {"schema": {"type": "object"}}}
    found: dict[str, Any] = {
        "operationId": operation_id(operation.method, path),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{"gatewayKey": []}] if operation.key else [],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "responses": answers | (_errors(operation.errors) if operation.key else {}),
    }
    if operation.example is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": example}}
    return found


def _errors(statuses: Iterable[int]) -> dict[str, Any]:
    content = {"application/json": {"schema": ref("Error")}}
    return {str(status): {"description": _ERRORS[status], "content": content} for status in statuses}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: Mapping[str, Any] = parameter.schema
    if parameter.default is not None and not parameter.in_path:
        default = parameter.default
        schema = {**schema, "default": ",".join(default) if isinstance(default, tuple) else default}
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.in_path,
        "description": parameter.help,
        "schema": schema,
    }


def operation_id(method: str, path: str) -> str:
    """A name for generated clients: ``get_admin_projects_project``."""
    return "_".join([method.lower(), *re.findall(r"\w+", path)])
