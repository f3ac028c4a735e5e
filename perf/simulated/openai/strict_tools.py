"""Custom tools as servers judge them that have none: in ``tools``, in ``tool_choice``, in the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from .models import OpenAIModel
from .refusal import OpenAIRefusal

Json = Mapping[str, Any]


def check_tools(request: Json, model: OpenAIModel) -> None:
    """Raise the refusal of custom tools by the server of ``model``."""
    place = next(_custom(request), None)
    if place is None:
        return
    if "functions-only-500" in model.quirks:
        shown = orjson.dumps(request.get("tools")).decode()
        said = f"Failed to parse tools: Unsupported tool type: custom; tools = {shown}"
        raise OpenAIRefusal(said, status=500, kind="server_error")
    if "functions-only" in model.quirks:
        said = f"[{{'type': 'missing', 'loc': {place!r}, 'msg': 'Field required', 'input': {{}}}}]"
        raise OpenAIRefusal(said, kind="BadRequestError")


def _custom(request: Json) -> Iterator[tuple[str | int, ...]]:
    """Where ``request`` has something of the type ``custom``."""
    for index, tool in enumerate(_listed(request.get("tools"))):
        if isinstance(tool, dict) and tool.get("type") == "custom":
            yield "body", "tools", index, "function"
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and "custom" in (choice.get("type"), *_allowed(choice)):
        yield "body", "tool_choice", "function"
    for at, message in enumerate(_listed(request.get("messages"))):
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for index, call in enumerate(_listed(calls)):
            if isinstance(call, dict) and call.get("type") == "custom":
                yield "body", "messages", at, "tool_calls", index, "function"


def _allowed(choice: Json) -> Iterator[Any]:
    allowed = choice.get("allowed_tools")
    tools = allowed.get("tools") if isinstance(allowed, dict) else None
    return (tool.get("type") for tool in _listed(tools) if isinstance(tool, dict))


def _listed(value: Any) -> list[Any]:
    """``value`` if it is a list: what it is otherwise is judged elsewhere."""
    return value if isinstance(value, list) else []
