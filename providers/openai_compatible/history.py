"""A history of messages in perfect order, for servers that take no other.

Conversations move between providers, and clients keep what they were given: fields that only one server
knows (``reasoning_content``, ``cache_control``), ids of tool calls of any length, calls that were never
answered. OpenAI allows ids of 40 characters, Mistral nine letters and digits; both want each call answered
by the messages that follow it.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

from ..translate.messages import START_TURN
from ..translate.messages_turns import LATER_NOTE

Message = dict[str, Any]

#: Fields of a message (openai SDK ``chat_completion_*_message_param``).
_FIELDS = {
    "system": ("role", "content", "name"),
    "developer": ("role", "content", "name"),
    "user": ("role", "content", "name"),
    "assistant": ("role", "content", "name", "audio", "function_call", "refusal", "tool_calls"),
    "tool": ("role", "content", "tool_call_id"),
    "function": ("role", "content", "name"),
}
_TOOL_FIELDS = {
    "function": ("name", "description", "parameters", "strict"),
    "custom": ("name", "description", "format"),
}
_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: As the Claude adapter says it.
NO_RESULT = "No result was recorded for this tool call."


def tidied(messages: object) -> object:
    """``messages`` (never changed) with the fields of the API only, short ids, every call answered right
    behind it, with text alone, and no answer to a call that was not made. The same messages always come to
    the same: once the assistant goes on, no prefix changes any more. Where nothing of the beginning is left,
    a user's word stands for it, as some is needed. What is no list of messages is returned as it is."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return messages
    tidy: list[Message] = []
    asked = _Asked([])
    for index, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            asked.answer(message)
            continue
        kept = _known(message)
        if role != "assistant" and asked.calls:
            asked.behind.append(kept)  # results may still follow
            continue
        tidy += asked.told()
        if index and not tidy and role == "assistant":
            tidy.append(_start())
        calls = kept.pop("tool_calls", None)
        asked = _Asked([])
        if isinstance(calls, list) and calls:
            kept["tool_calls"] = [_call(call) for call in calls]
            asked = _Asked([call["id"] for call in kept["tool_calls"] if isinstance(call, dict)])
        tidy.append(kept)
    tidy += asked.told()
    return [_start()] if messages and not tidy else tidy


class _Asked:
    """The calls of an assistant message, their results as they come, and what was said meanwhile."""

    __slots__ = ("_results", "_shown", "behind", "calls")

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.behind: list[Message] = []
        self._results: dict[str, Message] = {}
        self._shown: list[Any] = []

    def answer(self, message: Message) -> None:
        call_id = short_id(message.get("tool_call_id"))
        if call_id not in self.calls or call_id in self._results:
            return
        result = {**_known(message), "tool_call_id": call_id}
        content = result.get("content")
        if isinstance(content, list) and (others := [part for part in content if not _is_text(part)]):
            result["content"] = [*filter(_is_text, content), {"type": "text", "text": LATER_NOTE}]
            returned = f"Returned by the tool call {call_id}:"
            self._shown += [{"type": "text", "text": returned}, *others]
        self._results[call_id] = result

    def told(self) -> list[Message]:
        """The results in the order of the calls, what tools have shown, and the rest."""
        told = [
            self._results.get(call, {"role": "tool", "tool_call_id": call, "content": NO_RESULT})
            for call in self.calls
        ]
        shown = [{"role": "user", "content": self._shown}] if self._shown else []
        return [*told, *shown, *self.behind]


def _start() -> Message:
    return {"role": "user", "content": START_TURN}


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def tidied_tools(tools: object) -> object:
    """``tools`` (never changed) with the fields of the API only: no ``cache_control``, say."""
    if not isinstance(tools, list):
        return tools
    return [_tool(tool) for tool in tools]


def short_id(value: object) -> str:
    """An id of nine letters and digits that stands for ``value``."""
    text = value if isinstance(value, str) else repr(value)
    if _NINE.fullmatch(text):
        return text
    number = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    letters = []
    for _ in range(9):
        number, digit = divmod(number, 62)
        letters.append(_LETTERS[digit])
    return "".join(letters)


def _known(message: Message) -> Message:
    """``message`` with the fields of its role, and the parts of its content with theirs."""
    fields = _FIELDS.get(str(message.get("role")), tuple(message))
    kept = {name: message[name] for name in fields if name in message}
    if isinstance(content := kept.get("content"), list):
        kept["content"] = [
            {name: part[name] for name in ("type", part["type"]) if name in part}
            if isinstance(part, dict) and isinstance(part.get("type"), str)
            else part
            for part in content
        ]
    return kept


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    kind = call.get("type", "function")
    kept = {name: call[name] for name in ("type", kind) if isinstance(name, str) and name in call}
    return {"id": short_id(call.get("id")), **kept}


def _tool(tool: Any) -> Any:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str) or kind not in _TOOL_FIELDS or not isinstance(said := tool.get(kind), dict):
        return tool
    return {"type": kind, kind: {name: said[name] for name in _TOOL_FIELDS[kind] if name in said}}
