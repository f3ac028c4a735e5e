"""Tools and tool choice of a Responses request → those of a chat request.

A chat knows functions and custom tools, each by one name. Tools in a namespace get a name that says both;
tools that a client runs itself (:mod:`.responses_local`) become functions; tools that OpenAI runs are left
out and named. The answer's calls are given back as what the caller knows (:class:`.response_items.CallName`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from . import _check
from ._check import Block
from .cache_control import marker
from .calls import name_of
from .response_items import CallName
from .responses_local import LOCAL_CALLS, LOCAL_TOOLS

#: What every upstream takes as the name of a function.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BAD = re.compile(r"[^a-zA-Z0-9_-]")
_KINDS = {"function": "function_call", "custom": "custom_tool_call"}


class CallNames:
    """The names that tools have in the chat. Injective, and a name depends only on the names before it, so
    that a longer conversation keeps all that it had. ``called`` maps back those that are not what they
    seem."""

    __slots__ = ("_known", "_taken", "called")

    def __init__(self) -> None:
        self._known: dict[CallName, str] = {}
        self._taken: set[str] = set()
        self.called: dict[str, CallName] = {}

    def of(self, called: CallName) -> str:
        """The name in the chat of the tool ``called``."""
        # A function and a custom tool of one name are one tool.
        local = called.kind in LOCAL_CALLS
        key = called if local else called._replace(kind="")
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = self._new(called, plain=not (local or called.namespace))
        return name

    def _new(self, called: CallName, *, plain: bool) -> str:
        said = "__".join(filter(None, (called.namespace, called.name)))
        name = said
        if said in self._taken or not (plain or _NAME.fullmatch(said)):
            digest = sha256("\0".join(called).encode("utf-8", "surrogatepass")).hexdigest()[:12]
            name = base = f"{_BAD.sub('_', said)[:48]}_{digest}"
            count = 1
            while name in self._taken:
                count += 1
                name = f"{base[:60]}_{count}"
        self._taken.add(name)
        if not plain or name != said:
            self.called[name] = called
        return name


@dataclass(slots=True)
class Tools:
    """The tools of a chat. ``left_out`` holds the types of those that only OpenAI can run."""

    names: CallNames = field(default_factory=CallNames)
    listed: list[Block] = field(default_factory=list)
    #: Where in the request each of them is described.
    places: list[str] = field(default_factory=list)
    left_out: dict[str, None] = field(default_factory=dict)
    #: The names in the chat of the tools in each namespace.
    spaces: dict[str, list[str]] = field(default_factory=dict)


def read_tools(body: Mapping[str, Any], items: list[Any]) -> Tools:
    """The tools that ``body`` declares: in ``tools``, and in such ``items`` of its input as bring some.
    Raises ``BadRequest``."""
    tools = Tools()
    value = body.get("tools")
    given = [] if value is None else _check.array(value, "tools")
    declared = [(_check.obj(tool, f"tools.{i}"), f"tools.{i}") for i, tool in enumerate(given)]
    # A tool that stands for itself has the first right to its name.
    for tool, at in declared:
        if tool.get("type") in _KINDS:
            tools.names.of(CallName(_KINDS[tool["type"]], _name(tool, at)))
    known: dict[str, Block] = {}
    for tool, at in declared:
        for name, chat, place in _read(tool, at, tools):
            if known.setdefault(name, chat) is chat:
                tools.listed.append(chat)
                tools.places.append(place)
            elif known[name] != chat:
                raise _check.invalid(at, f"Two different tools are called {name[:64]!r}.")
    for index, item in enumerate(items):
        # Found by a search, or added on the way: behind the others, so that those keep their prefix.
        if isinstance(item, dict) and item.get("type") in ("tool_search_output", "additional_tools"):
            at = f"input.{index}.tools"
            for number, tool in enumerate(_check.array(item.get("tools"), at)):
                place = f"{at}.{number}"
                for name, chat, described_at in _read(_check.obj(tool, place), place, tools):
                    if known.setdefault(name, chat) is chat:
                        tools.listed.append(chat)
                        tools.places.append(described_at)
    return tools


def _read(tool: Block, at: str, tools: Tools, namespace: str = "") -> Iterator[tuple[str, Block, str]]:
    """The name in the chat of each tool that ``tool`` stands for, the tool, and where it is described."""
    kind = _check.text(tool.get("type", "function"), f"{at}.type")
    if kind == "namespace" and not namespace:
        space = _name(tool, at)
        for index, inner in enumerate(_check.array(tool.get("tools"), f"{at}.tools")):
            place = f"{at}.tools.{index}"
            yield from _read(_check.obj(inner, place), place, tools, space)
    elif kind in _KINDS:
        name = tools.names.of(CallName(_KINDS[kind], _name(tool, at), namespace))
        if namespace:
            tools.spaces.setdefault(namespace, []).append(name)
        yield name, _declared(kind, tool, at, name), _holder(tool, at)[1]
    elif kind in LOCAL_TOOLS and not _elsewhere(tool):
        called = LOCAL_TOOLS[kind]
        name = tools.names.of(CallName(called, kind))
        local = LOCAL_CALLS[called]
        described = {"name": name, "description": local.description, "parameters": local.parameters}
        yield name, {"type": "function", "function": described}, at
    else:
        tools.left_out[kind] = None


def _elsewhere(tool: Block) -> bool:
    """Whether a shell runs in a container of OpenAI's instead of at the client."""
    environment = tool.get("environment")
    return isinstance(environment, dict) and environment.get("type") != "local"


def _holder(tool: Block, at: str) -> tuple[Block, str]:
    """Where a tool is described: in itself, or in the shape of chat completions one level further down."""
    kind = tool.get("type", "function")
    nested = tool.get(kind)
    return (tool, at) if nested is None else (_check.obj(nested, f"{at}.{kind}"), f"{at}.{kind}")


def _name(tool: Block, at: str) -> str:
    return name_of(*_holder(tool, at))


def _declared(kind: str, tool: Block, at: str, name: str) -> Block:
    holder, place = _holder(tool, at)
    described: Block = {"name": name}
    if (description := holder.get("description")) is not None:
        described["description"] = _check.text(description, f"{place}.description")
    if kind == "custom":
        if (shape := holder.get("format")) is not None:
            described["format"] = nested_format(_check.obj(shape, f"{place}.format"))
    else:
        parameters = holder.get("parameters", holder.get("input_schema"))
        if parameters is not None:
            described["parameters"] = _check.obj(parameters, f"{place}.parameters")
        if (strict := holder.get("strict")) is not None:
            described["strict"] = _check.boolean(strict, f"{place}.strict")
    chat: Block = {"type": kind, kind: described}
    if (mark := marker(tool, at)) is not None:
        chat["cache_control"] = mark
    return chat


def nested_format(shape: Block) -> Block:
    """The format of a custom tool as chat completions have it: they nest a grammar."""
    if shape.get("type") != "grammar" or "grammar" in shape:
        return shape
    return {"type": "grammar", "grammar": {k: shape[k] for k in ("syntax", "definition") if k in shape}}


def read_choice(value: object, tools: Tools) -> str | Block | None:
    """``tool_choice`` for the chat; None when what it asks for is not there. Raises ``BadRequest``."""
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise _check.invalid(
                "tool_choice", "`tool_choice` must be 'none', 'auto', 'required' or an object."
            )
        return None if value == "required" and tools.left_out and not tools.listed else value
    choice = _check.obj(value, "tool_choice")
    kind = _check.text(choice.get("type"), "tool_choice.type")
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    named = _named(choice, kind, "tool_choice", tools)
    return _chosen(kind, named[0]) if named else None


def _allowed(choice: Block, tools: Tools) -> Block | str:
    at = "tool_choice"
    if (nested := choice.get("allowed_tools")) is not None:
        choice, at = _check.obj(nested, f"{at}.allowed_tools"), f"{at}.allowed_tools"
    mode = choice.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise _check.invalid(f"{at}.mode", f"`{at}.mode` must be 'auto' or 'required'.")
    allowed = []
    for index, item in enumerate(_check.array(choice.get("tools"), f"{at}.tools")):
        place = f"{at}.tools.{index}"
        tool = _check.obj(item, place)
        kind = _check.text(tool.get("type"), f"{place}.type")
        allowed += [_chosen(kind, name) for name in _named(tool, kind, place, tools)]
    if not allowed:
        return "none"  # all that is allowed is what only OpenAI can run
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}


def _named(choice: Block, kind: str, at: str, tools: Tools) -> list[str]:
    """The names in the chat of the tools that are meant."""
    if kind in _KINDS:
        holder, place = _holder(choice, at)
        space = _check.text(holder.get("namespace") or "", f"{place}.namespace")
        return [tools.names.of(CallName(_KINDS[kind], _name(choice, at), space))]
    if kind == "namespace":
        return tools.spaces.get(_name(choice, at), [])
    if kind in LOCAL_TOOLS and kind not in tools.left_out:
        return [tools.names.of(CallName(LOCAL_TOOLS[kind], kind))]
    return []


def _chosen(kind: str, name: str) -> Block:
    kind = "custom" if kind == "custom" else "function"
    return {"type": kind, kind: {"name": name}}
