"""Conditions: which request a scripted answer waits for.

A coding client asks for titles and summaries between the turns of a conversation, and nobody knows when.
An answer with a condition leaves such requests to the next script, or to the planned reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

Json = Mapping[str, Any]

_REMINDER = re.compile(r"\s*<system-reminder>.*</system-reminder>\s*", re.DOTALL)


@dataclass(slots=True, frozen=True, kw_only=True)
class When:
    """What must hold of a request, in any dialect; what is not set holds for every one.

    ``tool``: a tool of this name is offered. ``says``: the last user turn holds this text. ``system``: the
    system prompt does. ``result``: the last turn brings a tool's result (False: it does not).
    """

    tool: str | None = None
    says: str | None = None
    system: str | None = None
    result: bool | None = None

    def holds(self, request: Any) -> bool:
        """Whether ``request``, a parsed body, is one that the answer is for."""
        if not isinstance(request, Mapping):
            return False
        return (
            (self.tool is None or self.tool in _tools(request))
            and (self.says is None or self.says in _last_words(request))
            and (self.system is None or self.system in _system(request))
            and (self.result is None or self.result == _brings_result(request))
        )


def when_from_json(value: Any) -> When:
    """A condition from its JSON object. Raises ``ValueError`` naming what is wrong."""
    if not isinstance(value, Mapping):
        raise ValueError("when: expected a JSON object")  # noqa: TRY004 - one kind of error for callers
    kinds = {item.name: bool if item.name == "result" else str for item in fields(When)}
    for name, wanted in value.items():
        kind = kinds.get(name)
        if kind is None:
            raise ValueError(f"when: unknown field {name!r}")
        if type(wanted) is not kind:
            raise ValueError(f"when.{name}: expected {'true or false' if kind is bool else 'a text'}")
    return When(**value)


def _tools(request: Json) -> set[str]:
    """Names of the tools that the request offers, flat or below ``function``."""
    tools = [tool for tool in request.get("tools") or () if isinstance(tool, Mapping)]
    functions = [tool["function"] if isinstance(tool.get("function"), Mapping) else tool for tool in tools]
    return {str(function.get("name")) for function in functions}


def _turns(request: Json) -> list[Json]:
    return [turn for turn in request.get("messages") or () if isinstance(turn, Mapping)]


def _last_words(request: Json) -> str:
    """The text of the last user turn that holds any: a tool's result is nobody's words, and a reminder is the
    system's, where that may not speak behind the first message."""
    for turn in reversed(_turns(request)):
        if turn.get("role") == "user":
            text = "\n".join(text for text in _texts(turn.get("content")) if not _REMINDER.fullmatch(text))
            if text:
                return text
    return ""


def _system(request: Json) -> str:
    told = [
        text
        for turn in _turns(request)
        if turn.get("role") in ("system", "developer")
        for text in _texts(turn.get("content"))
    ]
    return "\n".join([*_texts(request.get("system")), *told])


def _brings_result(request: Json) -> bool:
    """Whether a tool's result stands behind the last assistant turn."""
    for turn in reversed(_turns(request)):
        if turn.get("role") == "assistant":
            return False
        if turn.get("role") == "tool":
            return True
        content = turn.get("content")
        if isinstance(content, list) and any(_is_result(block) for block in content):
            return True
    return False


def _is_result(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "tool_result"


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                yield part["text"]
