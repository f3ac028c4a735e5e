"""How one upstream model wants to be asked, learnt from what it refuses.

Servers of this API differ in what they take, and none of them says so anywhere but in a refusal. A request
goes up as it came. Where the refusal is about the manner of asking, it is asked once more in another, and
what helped is remembered for the model. A refusal that is about the question itself is the caller's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..errors import BadRequest, ContextTooLong, ProviderError
from ..types import ChatCall
from .history import tidied, tidied_tools
from .shapes import has_custom

#: The two names of one parameter: OpenAI's reasoning models refuse the first, older servers do not know
#: the second (https://platform.openai.com/docs/api-reference/chat/create).
LIMITS = ("max_tokens", "max_completion_tokens")

#: Without these the answer would not be the one that was asked for: their refusal is the caller's.
_ESSENTIAL = frozenset(
    (
        "model",
        "messages",
        "stream",
        "stream_options",
        *LIMITS,
        "n",
        "stop",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "modalities",
        "audio",
        "web_search_options",
        "prompt",
        "suffix",
        "echo",
        "best_of",
    )
)
#: A model that takes no value but the default takes no other tomorrow.
_SAMPLING = frozenset(("temperature", "top_p", "presence_penalty", "frequency_penalty"))
#: Seconds for which a refusal is remembered.
REMEMBERED = 3600.0
#: How often one chat is asked: a caller may think of any number of parameters, each refused on its own.
MAX_ASKED = 8
#: Models of one upstream of which something is remembered, and parameters of one model.
_MAX_LEARNT = 1024
_MAX_WITHOUT = 32

_UNKNOWN = re.compile(
    r"(unknown|unrecognized|unexpected|extra) (request )?(parameter|param|field|argument|key|input|name)"
    r"|not (supported|permitted|allowed|recognized)|extra_forbidden|does not support|unsupported",
    re.IGNORECASE,
)
#: An image in what a tool has returned, say.
_KIND_OF_PART = re.compile(r"messages\W*\d+\W*content\W*\d+\W*type")
_HISTORY = re.compile(
    r"\bmessages?\b.{0,40}\btool|tool[_ ]calls?\b|tool messages|tool message|'tool'", re.IGNORECASE
)
#: What is said of a custom tool by those who have none: its kind, or what they miss in it.
_KIND = re.compile(r"\b(custom|function)\b", re.IGNORECASE)
_TOOLS = re.compile(r"\btools?\b|tool_|\bfunctions\b", re.IGNORECASE)
#: llama.cpp says so with HTTP 500 (``common_chat_tools_parse_oaicompat`` in its ``common/chat.cpp``).
_CANNOT_PARSE = "Failed to parse tools"
_WORD_JSON = re.compile(r"must contain the word .?json", re.IGNORECASE)


@dataclass(slots=True, frozen=True)
class Manner:
    """``limit``: the one of :data:`LIMITS` that the model takes; None: the caller's. ``roomy`` is false
    when a raised default was too much for the model; ``crowded``: for this conversation, which is not
    remembered. ``tidy``: tools and the history of their calls must be in perfect order.
    ``functions_only``: custom tools are carried as functions.
    ``say_json``: the word JSON must be said for ``json_object``. ``without``: parameters that it does
    not take; ``once``: those whose value it does not, which are not remembered."""

    stream_options: bool = True
    limit: str | None = None
    roomy: bool = True
    crowded: bool = False
    tidy: bool = False
    functions_only: bool = False
    say_json: bool = False
    without: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()


_USUAL = Manner()


class Manners:
    """What was learnt of each model; bounded, the oldest is forgotten first, and everything in time: the
    server may have been replaced by a newer one. ``now`` is a clock in seconds."""

    __slots__ = ("_learnt", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._learnt: dict[str, tuple[Manner, float]] = {}

    def __len__(self) -> int:
        return len(self._learnt)

    def get(self, model: str) -> Manner:
        learnt = self._learnt.get(model)
        if learnt is None:
            return _USUAL
        manner, until = learnt
        if self._now() < until:
            return manner
        del self._learnt[model]
        return _USUAL

    def learn(self, model: str, manner: Manner) -> None:
        if len(self._learnt) >= _MAX_LEARNT and model not in self._learnt:
            del self._learnt[next(iter(self._learnt))]
        # Names come from callers, who may think of any number of them.
        without = manner.without if len(manner.without) <= _MAX_WITHOUT else frozenset[str]()
        kept = replace(manner, without=without, once=frozenset(), crowded=False)
        if kept != _USUAL:
            self._learnt[model] = (kept, self._now() + REMEMBERED)


def refuses(error: BadRequest, parameter: str) -> bool:
    """Whether ``error`` says that the upstream does not know or take ``parameter`` at all."""
    if error.upstream_status not in (400, 422) or isinstance(error, ContextTooLong):
        return False
    if error.param is not None and error.param != parameter:
        return False
    if error.code in ("unsupported_parameter", "unknown_parameter") and error.param == parameter:
        return True
    quoted = rf"""['"`]{re.escape(parameter)}['"`]|supplied: {re.escape(parameter)}\b"""
    named = error.param == parameter or re.search(quoted, error.message) is not None
    return named and _UNKNOWN.search(error.message) is not None


def after_refusal(call: ChatCall, manner: Manner, error: ProviderError) -> Manner | None:
    """How to ask once more; None when ``error`` is not about the manner of asking."""
    if error.upstream_status == 500 and error.message.startswith(_CANNOT_PARSE):
        return _functions_only(call, manner, error, _TOOLS)
    if error.upstream_status not in (400, 422) or not isinstance(error, BadRequest):
        return None
    body = call.body
    said = f"{error.param} {error.message}"
    # When it was ours alone, any complaint about it is about us.
    about_us = error.param is None or error.param.startswith("stream_options")
    ours = about_us and body.get("stream_options") is None and "stream_options" in said
    streams = call.writer is not None or body.get("stream") is True
    if manner.stream_options and streams and (ours or refuses(error, "stream_options")):
        return replace(manner, stream_options=False)
    for name, other in (LIMITS, LIMITS[::-1]):
        sent = manner.limit == name or (manner.limit is None and name in body and other not in body)
        if sent and refuses(error, name):
            return replace(manner, limit=other)
    about_limit = error.param in (None, *LIMITS) and any(name in said for name in LIMITS)
    too_much = about_limit or isinstance(error, ContextTooLong)
    if call.max_tokens_defaulted and manner.roomy and not manner.crowded and too_much:
        if isinstance(error, ContextTooLong):
            return replace(manner, crowded=True)
        return replace(manner, roomy=False)
    if not manner.say_json and _WORD_JSON.search(error.message):
        return replace(manner, say_json=True)
    if (carried := _functions_only(call, manner, error, _KIND)) is not None:
        return carried
    if not manner.tidy and _about_history(error) and _is_untidy(body):
        return replace(manner, tidy=True)
    return _without_what_is_refused(body, manner, error) or _functions_only(call, manner, error, _TOOLS)


def with_step(sure: Manner, before: Manner, after: Manner) -> Manner:
    """``sure`` with the one thing that is otherwise in ``after`` than in ``before``."""
    step: dict[str, Any] = {
        field.name: getattr(after, field.name)
        for field in fields(after)
        if getattr(after, field.name) != getattr(before, field.name)
    }
    for name in step.keys() & {"without", "once"}:
        step[name] = getattr(sure, name) | (step[name] - getattr(before, name))
    return replace(sure, **step)


def _functions_only(
    call: ChatCall, manner: Manner, error: ProviderError, about: re.Pattern[str]
) -> Manner | None:
    """Functions instead of custom tools, in the answer too: that is of one choice then."""
    if manner.functions_only or call.body.get("n") not in (None, 1) or not has_custom(call.body):
        return None
    said = f"{error.param} {error.message}"
    return replace(manner, functions_only=True) if about.search(said) else None


def _is_untidy(body: Mapping[str, Any]) -> bool:
    messages, tools = body.get("messages"), body.get("tools")
    return tidied(messages) != messages or tidied_tools(tools) != tools


def _about_history(error: BadRequest) -> bool:
    if _HISTORY.search(error.message) or _KIND_OF_PART.match(error.param or ""):
        return True
    place = error.param is not None and error.param.startswith(("messages", "tools"))
    return (place or "messages" in error.message or "tools" in error.message) and (
        _UNKNOWN.search(error.message) is not None
        or error.code in ("unknown_parameter", "string_above_max_length")
    )


def _without_what_is_refused(body: Mapping[str, Any], manner: Manner, error: BadRequest) -> Manner | None:
    said = f"{error.param} {error.message}"
    for name in body.keys() - _ESSENTIAL - manner.without - manner.once:
        if name in said and refuses(error, name):  # a body may have any number of names
            if _about_value(name, error):
                return replace(manner, once=manner.once | {name})
            return replace(manner, without=manner.without | {name})
    return None


def _about_value(name: str, error: BadRequest) -> bool:
    """Whether another value may be taken: one caller's odd value must not cost the others theirs."""
    if error.code == "unsupported_value":
        return name not in _SAMPLING
    return "value" in error.message.lower()
