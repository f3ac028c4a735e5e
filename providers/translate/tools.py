"""Tools and tool choice of a chat request → those of a Messages request.

Three shapes of a tool are taken: OpenAI's nested one, the flat one of the Responses API, and
Anthropic's (Cursor sends each of them to chat completions, depending on the model's name).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import _check
from ._check import Block
from .cache_control import marker
from .calls import name_of
from .names import ToolNames
from .schema import normalised, object_schema

#: The schema of a custom tool, whose input is free text; unwrapped again in the reply.
CUSTOM_SCHEMA: Block = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's input, verbatim."}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class Tools:
    """The tools of one request, in the caller's order and under the caller's names."""

    by_name: dict[str, Block] = field(default_factory=dict)
    custom: frozenset[str] = frozenset()
    #: The request used ``functions``: the reply answers with ``function_call``.
    legacy: bool = False


def read_tools(body: Any, names: ToolNames, *, strict: bool) -> Tools:
    """The tools in ``tools`` or, when there is none, in ``functions``. Raises ``BadRequest``.

    ``strict``: the model enforces schemas, so that ``strict: true`` may be passed on.
    """
    tools = Tools()
    if body.get("tools") is None and body.get("functions") is None:
        return tools
    custom: set[str] = set()
    for index, item in enumerate(_listed(body, "tools")):
        at = f"tools.{index}"
        _add(tools, *_tool(_check.obj(item, at), at, names, strict, custom), at)
    if not tools.by_name:
        for index, item in enumerate(_listed(body, "functions")):
            at = f"functions.{index}"
            tools.legacy = True
            _add(tools, *_function(_check.obj(item, at), at, names, strict), at)
    tools.custom = frozenset(custom)
    return tools


def _listed(body: Any, key: str) -> list[Any]:
    value = body.get(key)
    return [] if value is None else _check.array(value, key)


def _add(tools: Tools, name: str, tool: Block, at: str) -> None:
    known = tools.by_name.setdefault(name, tool)
    if known is not tool and known != tool:
        raise _check.invalid(at, f"Two different tools are called {name[:64]!r}.")


def _tool(item: Block, at: str, names: ToolNames, strict: bool, custom: set[str]) -> tuple[str, Block]:
    kind = item.get("type")
    if item.get("input_schema") is not None and kind in (None, "custom"):
        name, tool = _function({**item, "parameters": item["input_schema"]}, at, names, strict)
    elif kind == "custom":
        nested = item.get("custom")
        place = at if nested is None else f"{at}.custom"
        name, tool = custom_tool(item if nested is None else _check.obj(nested, place), place, names)
        custom.add(name)
    elif kind in (None, "function"):
        nested = item.get("function")
        place = at if nested is None else f"{at}.function"
        name, tool = _function(item if nested is None else _check.obj(nested, place), place, names, strict)
    else:
        shown = _check.text(kind, f"{at}.type")[:60]
        raise _check.invalid(f"{at}.type", f"{shown!r} tools are not supported here.", "unsupported_value")
    if (mark := marker(item, at)) is not None:
        tool["cache_control"] = mark
    return name, tool


def _function(item: Block, at: str, names: ToolNames, strict: bool) -> tuple[str, Block]:
    name, tool = _named(item, at, names)
    given = item.get("parameters")
    place = f"{at}.parameters"
    schema = object_schema({} if given is None else _check.obj(given, place), place)
    wants_strict = item.get("strict")
    if wants_strict is not None and _check.boolean(wants_strict, f"{at}.strict") and strict:
        tool["input_schema"] = normalised(schema, place)
        tool["strict"] = True
    else:
        tool["input_schema"] = schema
    return name, tool


def custom_tool(item: Block, at: str, names: ToolNames) -> tuple[str, Block]:
    """What ``custom`` describes, the path ``at``, as a tool of one string; and its name. Raises
    ``BadRequest``."""
    name, tool = _named(item, at, names)
    if note := _grammar(item.get("format"), f"{at}.format"):
        tool["description"] = f"{tool['description']}\n\n{note}" if "description" in tool else note
    tool["input_schema"] = CUSTOM_SCHEMA
    return name, tool


def _grammar(shape: object, at: str) -> str | None:
    """A grammar in words: the model is told of it, since the upstream cannot enforce it."""
    if shape is None:
        return None
    holder = _check.obj(shape, at)
    nested = holder.get("grammar")
    holder = nested if isinstance(nested, dict) else holder
    syntax, definition = holder.get("syntax"), holder.get("definition")
    if not isinstance(definition, str) or not definition:
        return None
    kind = syntax if isinstance(syntax, str) else "following"
    return f"The input must match this {kind} grammar:\n{definition}"


def _named(item: Block, at: str, names: ToolNames) -> tuple[str, Block]:
    name = name_of(item, at)
    tool: Block = {"name": names.wire(name)}
    description = item.get("description")
    if description is not None and _check.text(description, f"{at}.description"):
        tool["description"] = description
    return name, tool


def history_tools(called: dict[str, None], names: ToolNames) -> list[Block]:
    """Stand-ins for a request whose history calls tools but which declares none (a client that asks
    for a summary of its session, say): the API wants tools wherever it sees calls."""
    return [{"name": names.wire(name), "input_schema": {"type": "object"}} for name in called]


@dataclass(slots=True)
class Choice:
    """What ``tool_choice`` comes to. ``only``: the tools that remain, None for all of them.
    ``instruction`` stands in for a choice that the model refuses to be forced to; ``named`` is the
    tool, if it is for one."""

    wire: Block | None = None
    only: frozenset[str] | None = None
    instruction: str | None = None
    named: str | None = None


def read_choice(body: Any, tools: Tools, names: ToolNames, *, may_force: bool) -> Choice:
    """The tool choice in ``tool_choice``, ``function_call`` and ``parallel_tool_calls``."""
    mode, wanted, only = _parse(body)
    single = tools.legacy
    if (parallel := body.get("parallel_tool_calls")) is not None:
        single = not _check.boolean(parallel, "parallel_tool_calls") or single
    known = tools.by_name.keys()
    if not known:
        if mode in ("any", "tool"):
            raise _check.invalid("tool_choice", "`tool_choice` asks for a tool, but `tools` has none.")
        return Choice()
    for name in only or ():
        if name not in known:
            raise _check.invalid("tool_choice", f"`tool_choice` names {name[:64]!r}, which `tools` lacks.")
    if mode == "none" or (mode is None and not single):
        return Choice({"type": "none"} if mode else None)
    choice = Choice({"type": mode or "auto"}, only if wanted == "subset" else None)
    assert choice.wire is not None
    if mode in ("any", "tool"):
        if may_force:
            if mode == "tool" and only:
                choice.wire["name"] = names.wire(next(iter(only)))
        else:
            choice.named = next(iter(only)) if mode == "tool" and only else None
            choice.wire = {"type": "auto"}
            choice.instruction = _instruction(sorted(names.wire(name) for name in only or ()))
    if single:
        choice.wire["disable_parallel_tool_use"] = True
    return choice


def _instruction(wire_names: list[str]) -> str:
    if len(wire_names) == 1:
        return f"You must answer by calling the tool `{wire_names[0]}`. Do not answer in text alone."
    return "You must answer by calling at least one of your tools. Do not answer in text alone."


_MODES = {"none": "none", "auto": "auto", "required": "any", "any": "any"}


def _parse(body: Any) -> tuple[str | None, str, frozenset[str] | None]:
    """``(Anthropic's type or None, "named" | "subset" | "", names)``."""
    key = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    value = body.get(key)
    if value is None:
        return None, "", None
    if isinstance(value, str):
        if value not in _MODES:
            raise _check.invalid(key, f"`{key}` must be 'none', 'auto', 'required' or an object.")
        return _MODES[value], "", None
    value = _check.obj(value, key)
    kind = value.get("type")
    if kind == "allowed_tools":
        return _allowed(value, key)
    if isinstance(kind, str) and kind in _MODES:  # Anthropic-shaped
        return _MODES[kind], "", None
    nested = value.get("function") if value.get("function") is not None else value.get("custom")
    place = key if nested is None else f"{key}.{'function' if 'function' in value else 'custom'}"
    holder = value if nested is None else _check.obj(nested, place)
    return "tool", "named", frozenset({_check.text(holder.get("name"), f"{place}.name")})


def _allowed(value: Block, key: str) -> tuple[str, str, frozenset[str]]:
    nested = value.get("allowed_tools")
    holder = value if nested is None else _check.obj(nested, f"{key}.allowed_tools")
    mode = holder.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise _check.invalid(f"{key}.allowed_tools.mode", "`mode` must be 'auto' or 'required'.")
    allowed: list[str] = []
    for index, item in enumerate(_check.array(holder.get("tools"), f"{key}.allowed_tools.tools")):
        at = f"{key}.allowed_tools.tools.{index}"
        tool = _check.obj(item, at)
        inner = next((tool[k] for k in ("function", "custom") if isinstance(tool.get(k), dict)), tool)
        allowed.append(_check.text(inner.get("name"), f"{at}.name"))
    if not allowed:
        raise _check.invalid(f"{key}.allowed_tools.tools", "No tool is allowed; use 'none' instead.")
    return ("any" if mode == "required" else "auto"), "subset", frozenset(allowed)
