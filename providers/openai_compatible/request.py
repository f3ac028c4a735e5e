"""A chat request for one upstream model: the caller's own, asked in the manner that the model wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadRequest
from ..translate._check import as_json
from ..translate.chat_anthropic import ReplyShape
from ..translate.params import ALLOWANCE, JSON_OBJECT_INSTRUCTION, MIN_WITH_TOOLS
from ..types import ChatCall
from .efforts import LEVELS, nearest
from .history import tidied, tidied_tools
from .manner import LIMITS, USUAL, Manner
from .roles import arranged
from .shapes import as_functions, custom_names, plain_turns, unwrapped_shape
from .tool_forms import is_strict, wire_names, wired

#: The effort at which OpenAI's reasoning models run when a request names none
#: (https://platform.openai.com/docs/guides/reasoning).
_UNSAID_EFFORT = "medium"
_PLAIN_REPLY = ReplyShape()
_TIDIED = {"messages": tidied, "tools": tidied_tools}


def streams_to(call: ChatCall, manner: Manner) -> bool:
    """Whether the upstream streams an answer to ``call``."""
    if manner.streams == "without_tools":
        return not call.body.get("tools")
    return manner.streams == "always"


def streams(body: Mapping[str, Any]) -> bool:
    """Whether the caller wants a stream."""
    return body.get("stream") is True


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Whether the caller asked for the usage chunk at the end of its stream. Raises ``BadRequest``."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadRequest("`stream_options` must be an object.", param="stream_options", code="invalid_type")
    return options.get("include_usage") is True


def build(call: ChatCall, manner: Manner, *, stream: bool, reasons: bool = False) -> bytes:
    """The request as JSON. ``stream``: a stream is asked for, whatever the caller wants; ``reasons``: the
    model is known to think before it answers.

    Raises ``BadRequest`` for values that JSON cannot carry.
    """
    body = {**call.body, "model": call.model}
    if stream:
        body["stream"] = True
        # Asked for always, so that usage is known always.
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    elif streams(body):
        del body["stream"]
        body.pop("stream_options", None)
    if call.max_tokens_defaulted and manner.roomy and not manner.crowded:
        _make_room(body, reasons=reasons or manner.limit == "max_completion_tokens")
    if "messages" in body:
        body["messages"] = plain_turns(body["messages"])
    return as_json(body if manner is USUAL else _otherwise(call, body, manner))


def _otherwise(call: ChatCall, body: dict[str, Any], manner: Manner) -> dict[str, Any]:
    """``body``, which may be changed, in a manner that was learnt. Raises ``BadRequest``."""
    if manner.limit is not None:
        _rename_limit(body, manner.limit)
    for name in lowered(manner, body):
        body[name] = _most(manner)
    if manner.functions_only:
        body = as_functions(body)
    if manner.tidy:
        body |= {name: tidy(body[name]) for name, tidy in _TIDIED.items() if name in body}
    if "messages" in body:
        body["messages"] = arranged(body["messages"], manner)
    body = wired(body, manner)
    if manner.say_json:
        _say_json(body)
    if manner.efforts is not None and body.get("reasoning_effort") is not None:
        body["reasoning_effort"] = nearest(body["reasoning_effort"], manner.efforts)
        if body["reasoning_effort"] is None:
            del body["reasoning_effort"]
    for name in left_out(body, manner):
        if name == "reasoning_effort":
            _check_effort(body[name])  # nobody else will
        del body[name]
    return body


def reply_shape(call: ChatCall, manner: Manner) -> ReplyShape | None:
    """How to translate the answer; None when it is passed on as it comes. Raises ``BadRequest``."""
    carried = custom_names(call.body) if manner.functions_only else frozenset[str]()
    names = wire_names(call.body) if manner.short_names else None
    if names is not None and names.original:
        shape = unwrapped_shape(call.body, frozenset(map(names.wire, carried)))
        return replace(shape, tool_names=names.original)
    if carried:
        return unwrapped_shape(call.body, carried)
    return _PLAIN_REPLY if call.writer is not None else None


def left_out(body: Mapping[str, Any], manner: Manner) -> tuple[str, ...]:
    """The parameters of ``body`` that are not sent, in its order."""
    if manner.stream_options and not manner.without and not manner.once:
        return ()
    return tuple(
        name
        for name in body
        if name in manner.without
        or name in manner.once
        or (name == "stream_options" and not manner.stream_options)
    )


def lost(call: ChatCall, manner: Manner) -> tuple[str, ...]:
    """The parameters of a call that are not honoured as they stand, for its reply."""
    if manner is USUAL:
        return ()
    body = call.body
    found = left_out(body, manner)
    if not call.max_tokens_defaulted:
        found += lowered(manner, body)
    if not manner.strict and is_strict(body):
        found += ("tools.strict",)
    return found


def lowered(manner: Manner, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The limits in ``body`` that are more than the model writes: agents ask for 32,000 and more, whatever
    the model, and less is no loss to them."""
    most = _most(manner)
    if most is None:
        return ()
    return tuple(name for name in LIMITS if type(limit := body.get(name)) is int and limit > most)


def _most(manner: Manner) -> int | None:
    return min((bound for bound in (manner.most, manner.room) if bound is not None), default=None)


def _check_effort(value: object) -> None:
    if value is not None and value not in LEVELS:
        raise BadRequest(
            f"`reasoning_effort` must be one of {', '.join(LEVELS)}.",
            param="reasoning_effort",
            code="invalid_value",
        )


def _make_room(body: dict[str, Any], *, reasons: bool) -> None:
    """Raise the gateway's default limit, which is meant for visible text, as the Claude adapter does
    (``docs/decisions/004-default-max-tokens.md``): tool calls are long, and thinking counts too."""
    limit = body.get("max_tokens")
    if type(limit) is not int:
        return
    if body.get("tools"):
        limit = max(limit, MIN_WITH_TOOLS)
    effort = body.get("reasoning_effort")
    if effort is None and reasons:
        effort = _UNSAID_EFFORT
    if isinstance(effort, str):
        limit += ALLOWANCE.get("low" if effort == "minimal" else effort, 0)
    body["max_tokens"] = limit


def _rename_limit(body: dict[str, Any], name: str) -> None:
    other = LIMITS[name == LIMITS[0]]
    if other in body:
        limit = body.pop(other)
        body.setdefault(name, limit)


def _say_json(body: dict[str, Any]) -> None:
    """Behind everything else, so that the prefix of the conversation stays what it was."""
    shape, messages = body.get("response_format"), body.get("messages")
    if isinstance(shape, dict) and shape.get("type") == "json_object" and isinstance(messages, list):
        body["messages"] = [*messages, {"role": "system", "content": JSON_OBJECT_INSTRUCTION}]
