"""Tools as stricter servers take them: shorter names, a choice that is a word, plainer schemas.

OpenAI's names have at most 64 letters, digits, underscores and dashes
(https://platform.openai.com/docs/api-reference/chat/create, ``tools.function.name``); Anthropic allows 128,
as the tools of MCP servers need (``mcp__<server>__<tool>``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..translate.names import ToolNames
from ..translate.schema import MAX_DEPTH
from .manner import Manner

Body = dict[str, Any]

#: Keywords of JSON Schema that a server may not know, and a model can do without: they tell of the schema or
#: narrow what it allows. A refusal that names anything else is not about one.
KEYWORDS = frozenset(
    (
        "$defs",
        "$ref",
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "additionalProperties",
        "allOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "dependentSchemas",
        "dependentRequired",
        "deprecated",
        "else",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "readOnly",
        "then",
        "title",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
        "writeOnly",
    )
)
#: Keywords whose value is a schema, a list of schemas, schemas by name.
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def wired(body: Body, manner: Manner) -> Body:
    """``body`` (never changed) with tools as ``manner`` wants them."""
    if not manner.named_choice:
        body = _with_plain_choice(body)
    if not manner.strict or manner.keywords:
        body = _with_plainer_tools(body, manner)
    if manner.short_names and (names := wire_names(body)).original:
        body = _renamed(body, names.wire)
    return body


def wire_names(body: Mapping[str, Any]) -> ToolNames:
    """What the tools and the calls in the history of ``body`` are called upstream."""
    names = ToolNames()
    for holder, _ in _named(body):
        names.wire(holder["name"])
    return names


def is_strict(body: Mapping[str, Any]) -> bool:
    """Whether a tool says ``strict`` at all."""
    return any("strict" in function for function in _functions(body.get("tools")))


def _with_plain_choice(body: Body) -> Body:
    """A choice among few tools as a word, and no tools but those."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if not isinstance(choice, dict) or not isinstance(tools, list):
        return body
    allowed = choice.get("allowed_tools")
    word, among = "required", [choice]
    if isinstance(allowed, dict):
        word, among = str(allowed.get("mode", "auto")), _dicts(allowed.get("tools"))
    names = {_name_of(tool) for tool in among}
    kept = [tool for tool in tools if isinstance(tool, dict) and _name_of(tool) in names]
    return {**body, "tool_choice": word, "tools": kept} if kept else body


def _with_plainer_tools(body: Body, manner: Manner) -> Body:
    plainer = dict(body)
    if isinstance(tools := body.get("tools"), list):
        plainer["tools"] = [_plainer(tool, manner) for tool in tools]
    shape = body.get("response_format")
    if manner.keywords and isinstance(shape, dict) and isinstance(named := shape.get("json_schema"), dict):
        schema = _without(named.get("schema"), manner.keywords, MAX_DEPTH)
        plainer["response_format"] = {**shape, "json_schema": {**named, "schema": schema}}
    return plainer


def _plainer(tool: Any, manner: Manner) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    function = {name: value for name, value in function.items() if manner.strict or name != "strict"}
    if "parameters" in function:
        function["parameters"] = _without(function["parameters"], manner.keywords, MAX_DEPTH)
    return {**tool, "function": function}


def _without(schema: Any, keywords: frozenset[str], depth: int) -> Any:
    if not isinstance(schema, dict) or depth == 0:
        return schema
    out: Body = {}
    for name, value in schema.items():
        if name in keywords:
            if name == "const" and isinstance(value, str):
                out.setdefault("enum", [value])
            elif name == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
                out["anyOf"] = [_without(item, keywords, depth - 1) for item in value]
        elif name in _ONE:
            out[name] = _without(value, keywords, depth - 1)
        elif name in _MANY and isinstance(value, list):
            out[name] = [_without(item, keywords, depth - 1) for item in value]
        elif name in _NAMED and isinstance(value, dict):
            out[name] = {key: _without(item, keywords, depth - 1) for key, item in value.items()}
        else:
            out[name] = value
    return out


def _renamed(body: Body, wire: Callable[[str], str]) -> Body:
    """``body`` with other names. Only what leads to a name is written anew."""
    fresh: dict[int, Any] = {}
    renamed = dict(body)
    for holder, path in _named(body):
        at: Any = renamed
        for step in path:
            # Copied once, however many names it leads to.
            if id(at[step]) not in fresh:
                copied = dict(at[step]) if isinstance(at[step], dict) else list(at[step])
                at[step] = copied
                fresh[id(copied)] = copied
            at = at[step]
        at["name"] = wire(holder["name"])
    return renamed


def _named(body: Mapping[str, Any]) -> Iterator[tuple[Body, tuple[str | int, ...]]]:
    """Everything in ``body`` whose ``name`` is that of a tool, and the way to it. Tools come first."""
    for index, tool in _numbered(body.get("tools")):
        yield from _said(tool, ("tools", index))
    for index, function in _numbered(body.get("functions")):
        yield from _holder(function, ("functions", index))
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        yield from _said(choice, ("tool_choice",))
        if isinstance(allowed := choice.get("allowed_tools"), dict):
            for index, tool in _numbered(allowed.get("tools")):
                yield from _said(tool, ("tool_choice", "allowed_tools", "tools", index))
    yield from _holder(body.get("function_call"), ("function_call",))
    for at, message in _numbered(body.get("messages")):
        for index, call in _numbered(message.get("tool_calls")):
            yield from _said(call, ("messages", at, "tool_calls", index))
        yield from _holder(message.get("function_call"), ("messages", at, "function_call"))
        if message.get("role") in ("function", "tool"):
            yield from _holder(message, ("messages", at))


def _said(tool: Body, path: tuple[str | int, ...]) -> Iterator[tuple[Body, tuple[str | int, ...]]]:
    for kind in ("function", "custom"):
        yield from _holder(tool.get(kind), (*path, kind))


def _holder(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Body, tuple[str | int, ...]]]:
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value, path


def _functions(tools: Any) -> list[Body]:
    return [function for tool in _dicts(tools) if isinstance(function := tool.get("function"), dict)]


def _name_of(tool: Body) -> Any:
    said = tool.get("function") or tool.get("custom")
    return said.get("name") if isinstance(said, dict) else None


def _numbered(value: Any) -> Iterator[tuple[int, Body]]:
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, dict))


def _dicts(value: Any) -> list[Body]:
    return [item for _, item in _numbered(value)]
