"""Messages of other dialects among the items of a Responses request: a chat's (``tool_calls``, the role
``tool``) and Anthropic's (``tool_use``, ``tool_result``, ``thinking``). Cursor sends each of them,
depending on the name of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import _check
from ._check import Block
from .content import parts
from .responses_content import marked, read_part

#: Parts of Anthropic's that are items here, and what the Vercel AI SDK and LangChain call thinking.
_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking", "reasoning"})


def is_mixed(message: Block) -> bool:
    """Whether ``message`` holds something that is an item of its own in the Responses dialect."""
    if message.get("tool_calls") or message.get("role") == "tool" or "reasoning_content" in message:
        return True
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind in _BLOCKS
        for part in content
    )


def as_items(message: Block, at: str) -> Iterator[tuple[Block, str]]:
    """The items that ``message`` comes to, each with its path. Raises ``BadRequest``."""
    role = _check.text(message.get("role"), f"{at}.role")
    content = message.get("content")
    if role == "tool":
        call_id = _check.text(message.get("tool_call_id"), f"{at}.tool_call_id")
        yield marked(_output(call_id, content, failed=message.get("is_error")), message, at), at
        return
    if thought := message.get("reasoning_content"):
        yield {"type": "thinking", "thinking": thought}, at
    said: list[Block] = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    later: list[tuple[Block, str]] = []  # what a user says comes behind the results of tools
    called: set[str] = set()
    for part, kind, place in parts(content, f"{at}.content") if isinstance(content, list) else ():
        if kind == "tool_result":
            call_id = _check.text(part.get("tool_use_id"), f"{place}.tool_use_id")
            output = _output(call_id, part.get("content"), failed=part.get("is_error"))
            yield marked(output, part, place), place
        elif kind == "tool_use":
            given = part.get("input")
            arguments = _check.as_json({} if given is None else _check.obj(given, f"{place}.input")).decode()
            call_id = _check.text(part.get("id"), f"{place}.id")
            call = {"type": "function_call", "call_id": call_id, "name": part.get("name")}
            later.append((marked({**call, "arguments": arguments}, part, place), place))
            called.add(call_id)
        elif kind == "reasoning":
            thought = part.get("text", part.get("reasoning"))
            later.append(({"type": "thinking", "thinking": thought}, place))
        elif kind in _BLOCKS:
            later.append((part, place))
        elif role == "user":
            said.append(read_part(part, kind, place))
        else:
            later.append(({"role": role, "content": [read_part(part, kind, place)]}, place))
    if said:
        yield {"role": role, "content": said}, at
    yield from later
    for index, call in enumerate(_check.array(message.get("tool_calls") or [], f"{at}.tool_calls")):
        place = f"{at}.tool_calls.{index}"
        item = _call(_check.obj(call, place), place)
        call_id = item["call_id"]
        if not (isinstance(call_id, str) and call_id in called):  # some keep a call in both shapes
            yield item, place


def _output(call_id: str, content: Any, *, failed: object) -> Block:
    item: Block = {"type": "function_call_output", "call_id": call_id}
    item["output"] = "" if content is None else content
    if failed is True:
        item["is_error"] = True
    return item


def _call(call: Block, at: str) -> Block:
    custom = call.get("type") == "custom"
    kind = "custom" if custom else "function"
    holder = _check.obj(call.get(kind), f"{at}.{kind}")
    item: Block = {"call_id": call.get("id"), "name": holder.get("name")}
    if custom:
        return marked({**item, "type": "custom_tool_call", "input": holder.get("input")}, call, at)
    return marked({**item, "type": "function_call", "arguments": holder.get("arguments")}, call, at)
