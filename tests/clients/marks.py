"""Where a request has its prompt-cache marks, told in the same words for each dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def marks(body: Json) -> set[str]:
    """The places that ``cache_control`` marks in a chat or a Messages request.

    A place is the kind of what is marked, and what tells it from others: the name of a tool, the id of a
    call or of a result, the text. A mark on a whole message stands on its last part.
    """
    found = {f"tool {_name(tool)}" for tool in body.get("tools") or () if "cache_control" in tool}
    found |= {f"text {text}" for text in _texts(body.get("system"))}
    for message in body.get("messages") or ():
        found |= set(_of_message(message))
    if "cache_control" in body:
        found.add("request")
    return found


def _name(tool: Json) -> str:
    return str((tool.get("function") or tool).get("name"))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        yield from (str(part.get("text")) for part in content if "cache_control" in part)


def _of_message(message: Json) -> Iterator[str]:
    whole = "cache_control" in message
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    if message.get("role") == "tool":
        if whole or any("cache_control" in part for part in parts):
            yield f"result {message.get('tool_call_id')}"
        return
    calls = message.get("tool_calls") or ()
    for number, part in enumerate(parts):
        if "cache_control" in part or (whole and not calls and number == len(parts) - 1):
            yield _place(part)
    for number, call in enumerate(calls):
        if "cache_control" in call or (whole and number == len(calls) - 1):
            yield f"call {call.get('id')}"


def _place(part: Json) -> str:
    match part.get("type"):
        case "tool_use":
            return f"call {part.get('id')}"
        case "tool_result":
            return f"result {part.get('tool_use_id')}"
        case "text":
            return f"text {part.get('text')}"
    return str(part.get("type"))
