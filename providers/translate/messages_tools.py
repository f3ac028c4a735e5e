"""Tools and tool choice of a Messages request → those of a chat request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import _check
from ._check import Block
from .cache_control import marker
from .calls import name_of
from .schema import MAX_DEPTH

_ANY_OBJECT: Block = {"type": "object", "properties": {}}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class ChatTools(NamedTuple):
    """``wire`` are the tools of the chat, ``places`` where in the request they stand. ``dropped`` names those
    that cannot be: tools that run at Anthropic, whose schema only Claude knows, or that nobody has found yet.
    """

    wire: list[Block]
    names: frozenset[str]
    dropped: tuple[str, ...]
    places: tuple[str, ...]


def read_tools(
    body: Mapping[str, Any], known: Mapping[str, None], defined: Sequence[tuple[Block, str]] = ()
) -> ChatTools:
    """The tools in ``tools``, and those ``defined`` by messages, with their places. Raises ``BadRequest``.

    Of those with ``defer_loading`` only the ones that are ``known`` from the messages are told to the model.
    They and the ``defined`` ones stand behind the others, in the order of ``known``: those that were there
    before keep their place.
    """
    given = body.get("tools")
    wire: list[tuple[Block, str]] = []
    deferred: dict[str, tuple[Block, str]] = {}
    dropped: list[str] = []
    listed = [] if given is None else _check.array(given, "tools")
    places = [(_check.obj(item, f"tools.{index}"), f"tools.{index}") for index, item in enumerate(listed)]
    for count, (item, at) in enumerate((*places, *defined)):
        if not _is_plain(item, at):
            dropped.append(f"tools.{_label(item)}")
            continue
        tool = _tool(item, at)
        if item.get("defer_loading") is True or count >= len(places):
            deferred.setdefault(tool["function"]["name"], (tool, at))
        else:
            wire.append((tool, at))
    plain = {tool["function"]["name"] for tool, _ in wire}
    loaded = [deferred[name] for name in known if name in deferred and name not in plain]
    wire += loaded
    if not deferred.keys() <= known.keys():
        dropped.append("tools.defer_loading")
    told = [tool for tool, _ in wire]
    names = frozenset(tool["function"]["name"] for tool in told)
    return ChatTools(told, names, tuple(dropped), tuple(at for _, at in wire))


def read_choice(body: Mapping[str, Any], tools: ChatTools) -> tuple[Block, bool]:
    """``tool_choice`` as parameters of a chat; whether it was honoured. Raises ``BadRequest``."""
    value = body.get("tool_choice")
    if value is None:
        return {}, True
    choice = _check.obj(value, "tool_choice")
    kind = _check.text(choice.get("type"), "tool_choice.type")
    single = choice.get("disable_parallel_tool_use")
    single = single is not None and _check.boolean(single, "tool_choice.disable_parallel_tool_use")
    if kind == "tool":
        name = name_of(choice, "tool_choice")
        if name not in tools.names:
            if tools.dropped:
                return {}, False
            raise _check.invalid(
                "tool_choice.name", f"`tool_choice` names {name[:64]!r}, which `tools` lacks."
            )
        found: Block = {"tool_choice": {"type": "function", "function": {"name": name}}}
    elif kind not in _CHOICES:
        raise _check.invalid("tool_choice.type", "`tool_choice.type` must be auto, any, tool or none.")
    elif not tools.wire:
        # A chat without tools has nothing to choose from.
        if kind == "any" and not tools.dropped:
            raise _check.invalid("tool_choice", "`tool_choice` asks for a tool, but `tools` has none.")
        return {}, kind != "any"
    else:
        found = {"tool_choice": _CHOICES[kind]}
    if single and kind != "none":
        found["parallel_tool_calls"] = False
    return found, True


def is_strict(schema: object, depth: int = MAX_DEPTH) -> bool:
    """Whether ``schema`` is one that OpenAI can enforce: every object names all of its properties as required
    and allows no others (https://platform.openai.com/docs/guides/structured-outputs). Anthropic asks for
    less, and a ``strict`` schema that is not so would be refused."""
    if depth == 0:
        return False
    if isinstance(schema, list):
        return all(is_strict(item, depth - 1) for item in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        required = schema.get("required", [])
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if not isinstance(required, list) or not all(name in required for name in properties):
            return False
        if not all(is_strict(value, depth - 1) for value in properties.values()):
            return False
    return all(is_strict(value, depth - 1) for key, value in schema.items() if key != "properties")


def _is_plain(item: Block, at: str) -> bool:
    """Whether the tool is a function with a schema of its own, which the model may call itself."""
    kind = item.get("type")
    if kind is not None and _check.text(kind, f"{at}.type") != "custom":
        return False
    callers = item.get("allowed_callers")
    return callers is None or "direct" in _check.array(callers, f"{at}.allowed_callers")


def _tool(item: Block, at: str) -> Block:
    function: Block = {"name": name_of(item, at)}
    if (description := item.get("description")) is not None:
        function["description"] = _check.text(description, f"{at}.description")
    schema = item.get("input_schema")
    schema = _ANY_OBJECT if schema is None else _check.obj(schema, f"{at}.input_schema")
    function["parameters"] = schema
    strict = item.get("strict")
    if strict is not None and _check.boolean(strict, f"{at}.strict") and is_strict(schema):
        function["strict"] = True
    tool: Block = {"type": "function", "function": function}
    if (mark := marker(item, at)) is not None:
        tool["cache_control"] = mark
    return tool


def _label(item: Block) -> str:
    for name in ("name", "mcp_server_name", "type"):
        if isinstance(label := item.get(name), str):
            return label
    return "tool"
