"""Which tools a request brings along, in any dialect, and whether a key may use them.

A tool that the caller runs itself (a function, a custom tool) goes by its name. A tool that the provider runs
goes by its ``type``, with and without the date that versions end in (``web_search_20250305``); so does one
that the provider has defined. MCP servers go by ``mcp`` and by ``mcp:<address>``: the label that a caller
gives one is the caller's own word, so it can be blocked, but a permission does not rest on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from .patterns import matcher

_OWN = frozenset({"function", "custom"})
_VERSION = re.compile(r"_(?:\d{8}|latest)$")
#: Parameters of chat completions that bring a tool of the provider's.
_PARAMETERS = {"web_search_options": "web_search"}
#: Items of a Responses ``input`` that bring tools.
_ITEMS = frozenset({"tool_search_output", "additional_tools"})


class Tool(NamedTuple):
    """``shown`` is what the caller is told. Permissions are for ``names``, bans also for ``labels``."""

    shown: str
    names: tuple[str, ...]
    labels: tuple[str, ...] = ()


class WrongShape(ValueError):
    """What stands at ``place`` is no list of tools."""

    def __init__(self, place: str) -> None:
        super().__init__(f"`{place}` must be a list of objects.")
        self.place = place


def tools_of(body: dict[str, Any]) -> Iterator[Tool]:
    """Every tool of ``body``. Raises :class:`WrongShape`: what cannot be read cannot be allowed."""
    for tool in _objects(body.get("tools"), "tools"):
        yield from _read(tool, "tools")
    for function in _objects(body.get("functions"), "functions"):  # chat completions of before
        yield _named(function)
    for server in _objects(body.get("mcp_servers"), "mcp_servers"):
        yield _mcp(server)
    for plugin in _objects(body.get("plugins"), "plugins"):  # OpenRouter's
        yield _hosted(_text(plugin.get("id")), plugin)
    for parameter, name in _PARAMETERS.items():
        if body.get(parameter) is not None:
            yield _hosted(name, {})
    items = body.get("input")
    if isinstance(items, list):
        for item in items:
            if isinstance(item, dict) and item.get("type") in _ITEMS:
                for tool in _objects(item.get("tools"), "input.tools"):
                    yield from _read(tool, "input.tools")


def refusing(allowed: Collection[str], blocked: Collection[str]) -> Callable[[Tool], bool] | None:
    """Whether a tool may not be used; None: every tool may. ``allowed`` empty: all but ``blocked``."""
    if not allowed and not blocked:
        return None
    good, bad = matcher(allowed), matcher(blocked)

    def refuses(tool: Tool) -> bool:
        if any(map(bad, tool.names)) or any(map(bad, tool.labels)):
            return True
        return bool(allowed) and not any(map(good, tool.names))

    return refuses


def _read(tool: dict[str, Any], place: str) -> Iterator[Tool]:
    kind = tool.get("type", "function")
    if kind is None or kind in _OWN:
        yield from _described(tool)
    elif kind == "namespace":
        for inner in _objects(tool.get("tools"), f"{place}.tools"):
            yield from _read(inner, place)
    elif kind == "mcp":
        yield _mcp(tool)
    elif kind == "mcp_toolset":
        pass  # it comes to nothing without its server, which is in `mcp_servers`
    elif isinstance(kind, str):
        yield _hosted(kind, tool)
    else:
        raise WrongShape(f"{place}.type")


def _described(tool: dict[str, Any]) -> Iterator[Tool]:
    """A tool describes itself, or does so one level further down. Of one with several names, who knows which
    one is read: all have to be allowed."""
    holders = [tool, tool.get("function"), tool.get("custom")]
    named = [holder for holder in holders if isinstance(holder, dict) and "name" in holder]
    for holder in named or [tool]:
        yield _named(holder)


def _named(described: dict[str, Any]) -> Tool:
    name = _text(described.get("name"))
    return Tool(name, (name,))


def _hosted(kind: str, tool: dict[str, Any]) -> Tool:
    name = _text(tool.get("name"))
    return Tool(kind, (kind, _VERSION.sub("", kind)), (name,) if name else ())


def _mcp(server: dict[str, Any]) -> Tool:
    label = _text(server.get("server_label") or server.get("mcp_server_name") or server.get("name"))
    address = _text(server.get("server_url") or server.get("url") or server.get("connector_id"))
    names = ("mcp", f"mcp:{address}") if address else ("mcp",)
    return Tool(f"mcp:{label or address}", names, (f"mcp:{label}",))


def _objects(value: Any, place: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise WrongShape(place)
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
