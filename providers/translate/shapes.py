"""Chats by their shape, whatever path they were posted to.

Cursor posts requests of the Responses API, and tools and messages of Anthropic's, to
``/v1/chat/completions`` and expects chunks of a chat in return; which of them depends on the model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _check, messages_chat
from ._check import Block
from .cache_control import marker
from .responses_chat import to_chat
from .responses_items import Items
from .responses_tools import CallNames, nested_format

#: Parameters of the Responses API that a chat does not have; what they mean is in the chat by other names.
_RESPONSES = frozenset(
    {
        "input",
        "instructions",
        "max_output_tokens",
        "reasoning",
        "text",
        "include",
        "store",
        "truncation",
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "max_tool_calls",
        "tools",
        "tool_choice",
    }
)
#: Parameters beside ``messages`` by which another dialect is recognised.
_ANTHROPIC = ("stop_sequences", "thinking", "output_config", "output_format")
_FOREIGN = frozenset({"system", "instructions", "max_output_tokens", *_ANTHROPIC})
_NO_MATTER = [{"role": "user", "content": "."}]
#: Parts of messages that a chat does not have.
_PARTS = frozenset(
    {
        "input_text",
        "output_text",
        "input_image",
        "input_file",
        "image",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "reasoning",
    }
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def as_chat(body: Mapping[str, Any], *, signed: bool = False) -> Mapping[str, Any]:
    """The chat-completions request that ``body`` means: itself, the same object, if it is one already.

    ``signed``: the provider takes signed thinking, in messages of Anthropic's shape, so these stay as they
    are; otherwise their thinking becomes ``reasoning_content``. Raises ``BadRequest`` with ``param`` naming
    the place for what is wrong with a body of another shape; a chat is not looked at any closer.
    """
    messages = body.get("messages")
    if messages is None:
        return _from_input(body, signed) if body.get("input") is not None else body
    chat: dict[str, Any] = {}
    if type(messages) is list and any(_is_foreign(message, signed) for message in messages):
        chat["messages"] = _read_messages(messages, signed)
    tools = body.get("tools")
    if type(tools) is list and not all(map(_is_chat_tool, tools)):
        chat["tools"] = [_read_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    if type(choice := body.get("tool_choice")) is dict:
        chat |= _read_choice(choice)
    if not _FOREIGN.isdisjoint(body):
        chat |= _read_parameters(body, chat.get("messages", messages))
    if not chat:
        return body
    without = {name for name, value in chat.items() if value is None}
    return {name: value for name, value in {**body, **chat}.items() if name not in without}


def _from_input(body: Mapping[str, Any], signed: bool) -> dict[str, Any]:
    rest = {name: value for name, value in body.items() if name not in _RESPONSES}
    return {**rest, **to_chat(body, model="", signed=signed).body}


def _is_foreign(message: object, signed: bool) -> bool:
    """Whether ``message`` has another shape than a chat's, and has to be put into that."""
    if type(message) is not dict:
        return False
    if "role" not in message:
        return True
    content = message.get("content")
    return (
        type(content) is list
        and not signed
        and any(type(part) is dict and part.get("type") in _PARTS for part in content)
    )


def _read_messages(messages: list[Any], signed: bool) -> list[Any]:
    reader = Items(CallNames(), model="", signed=signed)
    for index, message in enumerate(messages):
        if isinstance(message, dict) and not _is_foreign(message, signed):
            reader.keep(message)
        else:
            reader.add(message, f"messages.{index}")
    reader.finish()
    return reader.messages


def _is_chat_tool(tool: object) -> bool:
    # What is no object at all is for the provider to refuse.
    return type(tool) is not dict or "function" in tool or "custom" in tool


def _read_tool(tool: Any, at: str) -> Any:
    """A tool that is flat, or of Anthropic's shape, as a chat has it; others as they are."""
    if _is_chat_tool(tool):
        return tool
    kind = tool.get("type", "function")
    if "input_schema" in tool and kind in ("function", "custom"):
        kind = "function"
    elif kind not in ("function", "custom"):
        return tool
    described = {
        "parameters" if name == "input_schema" else name: value
        for name, value in tool.items()
        if name not in ("type", "cache_control") and value is not None
    }
    if kind == "custom" and isinstance(shape := described.get("format"), dict):
        described["format"] = nested_format(shape)
    made: Block = {"type": kind, kind: described}
    if (mark := marker(tool, at)) is not None:
        made["cache_control"] = mark
    return made


def _read_choice(choice: Block) -> Block:
    """``tool_choice`` of another dialect."""
    kind = choice.get("type")
    if (named := _nested(choice)) is not choice:
        return {"tool_choice": named}
    if kind == "allowed_tools" and "allowed_tools" not in choice:
        allowed: Block = {name: value for name, value in choice.items() if name != "type"}
        if isinstance(given := allowed.get("tools"), list):
            allowed["tools"] = [_nested(tool) if isinstance(tool, dict) else tool for tool in given]
        return {"tool_choice": {"type": kind, kind: allowed}}
    if kind == "tool":
        made: Block = {"tool_choice": {"type": "function", "function": {"name": choice.get("name")}}}
    elif isinstance(kind, str) and kind in _CHOICES:
        made = {"tool_choice": _CHOICES[kind]}
    else:
        return {}
    if choice.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False
    return made


def _nested(choice: Block) -> Block:
    """The name of a tool as a chat nests it."""
    kind = choice.get("type")
    if kind in ("function", "custom") and kind not in choice and "name" in choice:
        return {"type": kind, kind: {"name": choice["name"]}}
    return choice


def _read_parameters(body: Mapping[str, Any], messages: Any) -> Block:
    """Parameters of another dialect; None for those that give way to others."""
    chat: Block = {}
    first = [
        {"role": "system", "content": body[name]}
        for name in ("system", "instructions")
        if body.get(name) is not None
    ]
    if first:
        chat["messages"] = [*first, *_check.array(messages, "messages")]
        chat |= {"system": None, "instructions": None}
    if "max_output_tokens" in body:
        chat["max_output_tokens"] = None
        if body.get("max_tokens") is None:
            chat["max_tokens"] = body["max_output_tokens"]
    given = {name: body[name] for name in _ANTHROPIC if body.get(name) is not None}
    if not _is_anthropic(given.get("thinking")):
        given.pop("thinking", None)
    if given:
        understood = messages_chat.to_chat({**given, "messages": _NO_MATTER}).body
        del understood["messages"]
        chat |= dict.fromkeys(given)
        chat |= {name: value for name, value in understood.items() if body.get(name) is None}
    return chat


def _is_anthropic(thinking: object) -> bool:
    """Whether the parameter ``thinking`` is Anthropic's. Others have one of that name too, without a
    budget, and it is for them."""
    if not isinstance(thinking, dict):
        return False
    return "budget_tokens" in thinking or thinking.get("type") in ("adaptive", "between_tools")
