"""A request in Anthropic's dialect → a chat-completions request, for providers that do not speak it.

A pure function of its argument: the same chat for the same request, and a longer conversation begins with
the messages of the shorter one. Fields: https://platform.claude.com/docs/en/api/messages. Clients of this
API send fields of tomorrow and of betas: what a chat has no place for is left out and named, never refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import _check, content, params
from ._check import Block
from .cache_control import marker
from .messages_parts import compact
from .messages_tools import is_strict, read_choice, read_tools
from .messages_turns import ChatTurns
from .threads import check_unthreaded

#: How the block begins with which Claude Code tells Anthropic what to bill. It changes with every request, so
#: that no other upstream would ever find the prompt in its cache.
BILLING_HEADER = "x-anthropic-billing-header:"

#: Parameters that have an effect; everything else that is given is left out and named.
_USED = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
    }
)
_OUTPUT_CONFIG = frozenset({"effort", "format"})
_THINKING = frozenset({"adaptive", "enabled", "disabled", "between_tools"})
#: The largest effort that nearly every server knows: a budget of tokens asks for no more.
_BUDGETED = ("low", "medium", "high")


#: What a chat calls parameters → what they are called here.
THEIR_NAMES = {
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "parameters": "input_schema",
    "stop": "stop_sequences",
}


class ChatRequest(NamedTuple):
    """``body`` is a chat-completions request; ``dropped`` names what was left out of the original."""

    body: dict[str, Any]
    dropped: tuple[str, ...]


def to_chat(body: Mapping[str, Any]) -> ChatRequest:
    """The chat that asks what ``body``, a parsed request to ``/v1/messages`` or ``count_tokens``, asks.

    Raises ``BadRequest`` with ``param`` naming the place for everything that is wrong with ``body``.
    """
    check_unthreaded(body)
    turns = ChatTurns()
    messages = _check.array(body.get("messages"), "messages")
    if not messages:
        raise _check.invalid("messages", "`messages` is empty.")
    for _ in _read_turns(messages, turns):
        pass
    turns.finish()
    tools = read_tools(body, turns.known, turns.defined)
    choice, chosen = read_choice(body, tools)
    config = _object(body, "output_config")
    asked_effort = config.get("effort") if turns.effort is None else turns.effort
    effort, thinks = _read_effort(body, asked_effort)

    out: dict[str, Any] = {}
    if (model := body.get("model")) is not None:
        out["model"] = _check.text(model, "model")
    if tools.wire:
        out["tools"] = tools.wire
    out["messages"] = [*_read_system(body.get("system")), *turns.messages]
    out |= choice
    if (limit := body.get("max_tokens")) is not None:
        # 0 asks to read the prompt and to write nothing, so that it is in the cache later. No chat can be
        # asked for that; one token comes to the same for the cache.
        out["max_tokens"] = 1 if limit == 0 and type(limit) is int else _check.positive(limit, "max_tokens")
    if _flag(body, "stream"):
        out |= {"stream": True, "stream_options": {"include_usage": True}}
    out |= _read_sampling(body)
    if effort is not None:
        out["reasoning_effort"] = effort
    if (shape := _read_format(body, config)) is not None:
        out["response_format"] = shape
    lost = {"messages": turns.lost, "tool_choice": not chosen, "thinking": not thinks}
    unused = [*tools.dropped, *(f"output_config.{name}" for name in config if name not in _OUTPUT_CONFIG)]
    if asked_effort is not None and asked_effort not in params.EFFORTS:
        unused.append("output_config.effort")
    return ChatRequest(out, params.dropped({**body, **dict.fromkeys(unused, True)}, _USED, lost))


def place_of(body: Mapping[str, Any], message: int, part: int | None = None) -> str:
    """Where in ``body`` the ``message`` of the chat that :func:`to_chat` has made of it comes from, for an
    error. (Not its ``part``: one turn becomes several messages.)"""
    if _read_system(body.get("system")):
        if message == 0:
            return "system"
        message -= 1
    turns = ChatTurns()
    for place in _read_turns(body["messages"], turns):
        if len(turns) > message:
            return place
    return "messages"


def tool_of(body: Mapping[str, Any], tool: int) -> str | None:
    """Where in ``body`` the ``tool`` of the chat that :func:`to_chat` has made of it stands."""
    turns = ChatTurns()
    for _ in _read_turns(body["messages"], turns):
        pass
    places = read_tools(body, turns.known, turns.defined).places
    return places[tool] if tool < len(places) else None


def _read_turns(messages: list[Any], turns: ChatTurns) -> Iterator[str]:
    """Adds ``messages`` to ``turns``; the place of each, once it is there."""
    answered, asked = _last(messages, "assistant"), _last(messages, "user")
    for index, message in enumerate(messages):
        turns.add(message, at := f"messages.{index}", past=index < answered, over=index < asked)
        yield at


def _last(messages: list[Any], role: str) -> int:
    """The index of the last message of ``role``; -1 without one."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(message := messages[index], dict) and message.get("role") == role:
            return index
    return -1


def _read_system(given: object) -> list[Block]:
    """``system`` as the first message; none when it says nothing."""
    if given is None or isinstance(given, str):
        text = _without_billing(given or "")
        return [{"role": "system", "content": text}] if text else []
    found: list[Block] = []
    for part, kind, at in content.parts(given, "system"):
        if kind != "text":
            raise content.unsupported(kind, at)
        if text := _without_billing(_check.text(part.get("text"), f"{at}.text")):
            block: Block = {"type": "text", "text": text}
            if (mark := marker(part, at)) is not None:
                block["cache_control"] = mark
            found.append(block)
    if not found:
        return []
    if not any("cache_control" in block for block in found):
        found = [{"type": "text", "text": "\n\n".join(block["text"] for block in found)}]
    return [{"role": "system", "content": compact(found)}]


def _without_billing(text: str) -> str:
    return text.partition("\n")[2].lstrip("\n") if text.startswith(BILLING_HEADER) else text


def _object(body: Mapping[str, Any], name: str) -> Block:
    value = body.get(name)
    return {} if value is None else _check.obj(value, name)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    return value is not None and _check.boolean(value, name)


def _read_sampling(body: Mapping[str, Any]) -> Block:
    found: Block = {}
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if name == "top_k" else int | float):
            wanted = "an integer" if name == "top_k" else "a number"
            raise _check.invalid(name, f"`{name}` must be {wanted}.", "invalid_type")
        found[name] = value
    if (stops := body.get("stop_sequences")) is not None:
        at = "stop_sequences"
        given = [_check.text(stop, f"{at}.{index}") for index, stop in enumerate(_check.array(stops, at))]
        if kept := [stop for stop in given if stop]:
            found["stop"] = kept
    return found


def _read_effort(body: Mapping[str, Any], asked: object) -> tuple[str | None, bool]:
    """``thinking`` and the effort that is ``asked`` for as ``reasoning_effort``; whether ``thinking`` was
    understood."""
    thinking = _object(body, "thinking")
    effort = None if asked is None else _check.text(asked, "output_config.effort")
    if effort not in params.EFFORTS:
        effort = None  # a level of tomorrow
    if not thinking:
        return effort, True
    kind = _check.text(thinking.get("type"), "thinking.type")
    if kind == "disabled":
        return "none", True
    budget = thinking.get("budget_tokens")
    if kind == "enabled":
        budget = _check.positive(budget, "thinking.budget_tokens")
        # The least effort that is given so much room elsewhere.
        fitting = (level for level in _BUDGETED if params.ALLOWANCE[level] >= budget)
        return effort or next(fitting, _BUDGETED[-1]), True
    if kind == "between_tools":
        return effort or "low", True
    return effort, kind in _THINKING


def _read_format(body: Mapping[str, Any], config: Block) -> Block | None:
    """``output_config.format`` (``output_format`` in the beta before it) as ``response_format``."""
    at = "output_config.format"
    value = config.get("format")
    if value is None:
        at, value = "output_format", body.get("output_format")
    if value is None:
        return None
    shape = _check.obj(value, at)
    if _check.text(shape.get("type"), f"{at}.type") != "json_schema":
        raise _check.invalid(f"{at}.type", f"`{at}.type` must be json_schema.")
    schema = _check.obj(shape.get("schema"), f"{at}.schema")
    named: Block = {"name": "answer", "schema": schema}
    if is_strict(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}
