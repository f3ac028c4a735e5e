"""What only some servers of this API take, in the shapes that all of them do.

Custom tools (https://platform.openai.com/docs/guides/function-calling#custom-tools) take free text, as a rule
in a grammar; OpenAI has them, hardly anybody else. They are carried as functions of one string, and so are
their calls. Thinking that Claude has signed travels in an assistant's content as Anthropic shapes it, between
text and calls; nobody here reads it so.

Nothing is ever changed, only written anew; the same messages always come to the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..errors import BadRequest
from ..translate import _check
from ..translate.chat_anthropic import ReplyShape
from ..translate.ollama_tools import PlainNames
from ..translate.params import include_usage
from ..translate.tools import custom_tool

Body = dict[str, Any]

_SHAPED = frozenset(("thinking", "redacted_thinking", "tool_use"))
#: Between the texts of a turn when they become one.
_BETWEEN = "\n"


def custom_names(body: Mapping[str, Any]) -> frozenset[str]:
    """The names of the custom tools that ``body`` declares."""
    tools = body.get("tools")
    named = (_described(tool).get("name") for tool in _dicts(tools) if _is_custom(tool))
    return frozenset(name for name in named if isinstance(name, str))


def has_custom(body: Mapping[str, Any]) -> bool:
    """Whether ``body`` declares custom tools, or has calls of them in its history."""
    return bool(custom_names(body)) or any(
        call.get("type") == "custom"
        for message in _dicts(body.get("messages"))
        for call in _dicts(message.get("tool_calls"))
    )


def as_functions(body: Body) -> Body:
    """``body`` with functions instead of custom tools. Raises ``BadRequest``."""
    carried = dict(body)
    if isinstance(tools := body.get("tools"), list):
        carried["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    if isinstance(choice := body.get("tool_choice"), dict):
        carried["tool_choice"] = _choice(choice)
    if isinstance(messages := body.get("messages"), list):
        carried["messages"] = [_message(message) for message in messages]
    return carried


def unwrapped_shape(body: Mapping[str, Any], names: frozenset[str]) -> ReplyShape:
    """How to read the answer to what :func:`as_functions` has made of ``body``. Raises ``BadRequest``."""
    choices = body.get("n")
    if choices is not None and choices != 1:
        raise BadRequest(
            "This upstream has no custom tools. They are carried as functions, and then only one choice can "
            "be asked for (`n`: 1).",
            param="n",
            code="unsupported_value",
        )
    return ReplyShape(custom_tools=names, include_usage=include_usage(body))


def plain_turns(messages: object) -> object:
    """``messages`` without thinking and calls in Anthropic's shape: the text of the thinking is
    ``reasoning_content``, and the calls are ``tool_calls``. A tool that has returned nothing has returned an
    empty text: null is refused there, though clients send it."""
    if not isinstance(messages, list):
        return messages
    changed = None
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        role, content = message.get("role"), message.get("content")
        if role == "tool" and content is None:
            changed = changed or [*messages]
            changed[index] = {**message, "content": ""}
        elif (
            role == "assistant"
            and isinstance(content, list)
            and any(part.get("type") in _SHAPED for part in _dicts(content))
        ):
            changed = changed or [*messages]
            changed[index] = _plain_turn(message, content)
    return changed or messages


def _plain_turn(message: Body, content: list[Any]) -> Body:
    rest: list[Any] = []
    thoughts: list[str] = []
    calls = [*_dicts(message.get("tool_calls"))]
    for part in content:
        match part.get("type") if isinstance(part, dict) else None:
            case "thinking":
                if isinstance(thought := part.get("thinking"), str) and thought:
                    thoughts.append(thought)
            case "redacted_thinking":
                pass  # only Claude can read it
            case "tool_use":
                calls.append(_call_of(part))
            case _:
                rest.append(part)
    plain = {**message, "content": _joined(rest) if rest or not calls else None}
    if thoughts:
        plain.setdefault("reasoning_content", _BETWEEN.join(thoughts))
    if calls:
        plain["tool_calls"] = calls
    return plain


def _joined(parts: list[Any]) -> Any:
    """Texts as one, which every server takes; other parts as they are."""
    texts = [part["text"] for part in _dicts(parts) if part.keys() == {"type", "text"}]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        return parts
    return _BETWEEN.join(texts)


def _call_of(part: Body) -> Body:
    given = part.get("input")
    arguments = _check.as_json({} if given is None else given).decode()
    function = {"name": part.get("name"), "arguments": arguments}
    return {"id": part.get("id"), "type": "function", "function": function}


def _tool(tool: Any, at: str) -> Any:
    if not isinstance(tool, dict) or not _is_custom(tool):
        return tool
    _, wire = custom_tool(_described(tool), at, PlainNames())
    function = {"name": wire["name"]}
    if "description" in wire:
        function["description"] = wire["description"]
    function["parameters"] = wire["input_schema"]
    rest = {name: value for name, value in tool.items() if name == "cache_control"}
    return {"type": "function", "function": function, **rest}


def _choice(choice: Body) -> Body:
    """``tool_choice``, or one of the tools that it allows."""
    if choice.get("type") == "custom":
        named = choice.get("custom")
        return {"type": "function", "function": named if isinstance(named, dict) else {}}
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, dict) and isinstance(tools := allowed.get("tools"), list):
        made = [_choice(tool) if isinstance(tool, dict) else tool for tool in tools]
        return {**choice, "allowed_tools": {**allowed, "tools": made}}
    return choice


def _message(message: Any) -> Any:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list) or not any(call.get("type") == "custom" for call in _dicts(calls)):
        return message
    return {**message, "tool_calls": [_call(call) for call in calls]}


def _call(call: Any) -> Any:
    said = call.get("custom") if isinstance(call, dict) else None
    if not isinstance(said, dict) or call.get("type") != "custom" or not isinstance(said.get("input"), str):
        return call
    arguments = orjson.dumps({"input": said["input"]}).decode()
    rest = {name: value for name, value in call.items() if name not in ("type", "custom")}
    return {**rest, "type": "function", "function": {"name": said.get("name"), "arguments": arguments}}


def _is_custom(tool: Body) -> bool:
    return tool.get("type") == "custom" and "input_schema" not in tool  # Anthropic's are of that type too


def _described(tool: Body) -> Body:
    nested = tool.get("custom")
    return nested if isinstance(nested, dict) else tool


def _dicts(value: object) -> list[Body]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
