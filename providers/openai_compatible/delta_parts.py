"""What a delta says, in the shapes in which servers of this API write it."""

from __future__ import annotations

from typing import Any

from ..translate._event import Malformed

#: Fields of a delta in which servers show the model's thinking; some fill two of them with the same.
_REASONING = ("reasoning_content", "reasoning")


def thinking_in(delta: dict[str, Any]) -> tuple[str, str]:
    """``(field, what it says)`` of the model's thinking in ``delta``."""
    for name in _REASONING:
        if isinstance(value := delta.get(name), str) and value:
            return name, value
    details = delta.get("reasoning_details")  # https://openrouter.ai/docs/use-cases/reasoning-tokens
    if not isinstance(details, list):
        return "", ""
    parts = [
        part.get("summary") if part.get("type") == "reasoning.summary" else part.get("text")
        for part in details
        if isinstance(part, dict)
    ]
    return "", "".join(part for part in parts if isinstance(part, str))


def content_in(content: object) -> tuple[str, str]:
    """``(text, thinking)`` of a delta's content. Mistral's reasoning models write a list of parts
    (https://docs.mistral.ai/capabilities/reasoning/)."""
    if isinstance(content, str) or not content:
        return (content if isinstance(content, str) else ""), ""
    if not isinstance(content, list):
        raise Malformed("a chunk with wrong content")
    said, thought = "", ""
    for part in content:
        holder = object_in(part)
        if holder.get("type") == "thinking":
            inner = holder.get("thinking")
            thought += inner if isinstance(inner, str) else content_in(inner)[0]
        elif isinstance(text := holder.get("text"), str):
            said += text
    return said, thought


def object_in(value: object) -> dict[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
