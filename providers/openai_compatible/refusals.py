"""What a refusal teaches of the manner in which a model wants to be asked.

A refusal that is about the question itself is the caller's, and so is one of something that the answer would
not be the same without. Refusals repeat words of the caller, who may choose them: a sign is only looked at
when the request has what it is about, and of the steps that lead to an answer only the last is remembered
where the upstream has not named the place (:func:`~.manner.with_step`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadRequest, ContextTooLong, ProviderError
from ..types import ChatCall
from .capacity import OWN_WORDS, asked_for, fitting, with_window
from .efforts import accepted
from .history import tidied, tidied_tools
from .manner import LIMITS, Manner
from .shapes import has_custom
from .templates import otherwise
from .tool_forms import KEYWORDS, is_strict, wire_names, wired

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

_UNKNOWN = re.compile(
    r"(unknown|unrecognized|unexpected|extra) (request )?(parameter|param|field|argument|key|input|name)"
    r"|not (supported|permitted|allowed|recognized)|extra_forbidden|does not support|unsupported",
    re.IGNORECASE,
)
#: FastAPI names all that it does not know at once.
_EXTRA = re.compile(r"(?:^|; )(\w{1,64}): Extra inputs are not permitted")
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
_FIGURES = re.compile(r"\d+")
_WORD_JSON = re.compile(r"must contain the word .?json", re.IGNORECASE)
_STREAM = re.compile(
    r"verified to stream|\bstream(ing)?\b['\"`]?( mode)? (is |are )?(not |un)(supported|allowed)"
    r"|(does not|doesn't|cannot|not) support ['\"`]?stream(ing)?\b|['\"`]stream['\"`] does not support"
    r"|cannot use tools with stream",
    re.IGNORECASE,
)
#: "string too long. Expected a string with maximum length 64", "string does not match pattern" (OpenAI),
#: "Function name was … but must be a-z, A-Z, 0-9, or contain underscores and dashes" (Mistral), "Invalid
#: function name. Must start with a letter" (Gemini), "`name` must be at most 64 characters" (Meta).
_NAME = re.compile(
    r"name\b.{0,200}(too long|pattern|\b64\b|must be a-z)|invalid function name", re.IGNORECASE | re.DOTALL
)
#: Gemini: ``Unknown name "$schema" at 'tools[0].function_declarations[0].parameters': Cannot find field.``
_KEYWORD = re.compile(r"""Unknown name \\?"(\$?\w{1,40})\\?" at '""")


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


def gist(error: ProviderError) -> str:
    """How ``error`` begins, to know it again: without figures, such as where in the request it was found."""
    return _FIGURES.sub("", error.message)[:OWN_WORDS]


def after_refusal(call: ChatCall, manner: Manner, error: ProviderError) -> Manner | None:
    """How to ask once more; None when ``error`` is not about the manner of asking."""
    if error.upstream_status == 500:
        if error.message.startswith(_CANNOT_PARSE):
            return _functions_only(call, manner, error, _TOOLS)
        return _without_stream(call, manner, error) or otherwise(call.body, manner, error)
    if error.upstream_status not in (400, 422) or not isinstance(error, BadRequest):
        return None
    return next((other for step in _STEPS if (other := step(call, manner, error)) is not None), None)


def _stream_options(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    # When it was ours alone, any complaint about it is about us.
    about_us = error.param is None or error.param.startswith("stream_options")
    ours = about_us and call.body.get("stream_options") is None and "stream_options" in _said(error)
    if manner.stream_options and _streams(call) and (ours or refuses(error, "stream_options")):
        return replace(manner, stream_options=False)
    return None


def _without_stream(call: ChatCall, manner: Manner, error: ProviderError) -> Manner | None:
    """A whole answer instead of a stream: it is written as one."""
    if not _streams(call) or manner.streams == "never" or error.param not in (None, "stream"):
        return None
    if _STREAM.search(error.message) is None:
        return None
    tools = manner.streams == "always" and call.body.get("tools") and _TOOLS.search(error.message)
    return replace(manner, streams="without_tools" if tools else "never")


def _name_of_limit(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    for name, other in (LIMITS, LIMITS[::-1]):
        given = name in call.body and other not in call.body
        if (manner.limit == name or (manner.limit is None and given)) and refuses(error, name):
            return replace(manner, limit=other)
    return None


def _limit(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    about_limit = error.param in (None, *LIMITS) and any(name in _said(error) for name in LIMITS)
    too_much = about_limit or isinstance(error, ContextTooLong)
    if call.max_tokens_defaulted and manner.roomy and not manner.crowded and too_much:
        if isinstance(error, ContextTooLong):
            return replace(with_window(manner, error), crowded=True)
        return replace(manner, roomy=False)
    sent = asked_for(call.body, manner)
    return None if sent is None else fitting(sent, manner, error)


def _json(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    if not manner.say_json and _WORD_JSON.search(error.message):
        return replace(manner, say_json=True)
    return None


def _custom(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    return _functions_only(call, manner, error, _KIND)


def _names(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    if manner.short_names or not _NAME.search(_said(error)) or call.body.get("n") not in (None, 1):
        return None  # names are put back in an answer of one choice
    return replace(manner, short_names=True) if wire_names(call.body).original else None


def _messages(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    return otherwise(call.body, manner, error)


def _effort(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    sent = call.body.get("reasoning_effort")
    taken = accepted(sent, manner, error)
    return None if taken is None or taken == manner.efforts else replace(manner, efforts=taken)


def _choice(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    if not manner.named_choice or "tool_choice" not in _said(error):
        return None
    other = replace(manner, named_choice=False)
    body = dict(call.body)
    return other if wired(body, other) != wired(body, manner) else None


def _schemas(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    if manner.strict and is_strict(call.body) and "strict" in _said(error) and _UNKNOWN.search(error.message):
        return replace(manner, strict=False)
    found = manner.keywords | (KEYWORDS & set(_KEYWORD.findall(error.message)))
    return replace(manner, keywords=found) if found != manner.keywords else None


def _tidy(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    if not manner.tidy and _about_history(error) and _is_untidy(call.body):
        return replace(manner, tidy=True)
    return None


def _parameters(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    said = _said(error)
    known = manner.without | manner.once
    for name in call.body.keys() - _ESSENTIAL - known:
        if name in said and refuses(error, name):  # a body may have any number of names
            if _about_value(name, error):
                return replace(manner, once=manner.once | {name})
            named = call.body.keys() & set(_EXTRA.findall(error.message))
            return replace(manner, without=manner.without | {name} | (named - _ESSENTIAL))
    return None


def _any_tools(call: ChatCall, manner: Manner, error: BadRequest) -> Manner | None:
    return _functions_only(call, manner, error, _TOOLS)


#: What is looked for, one after the other: the first that is found is tried.
_STEPS: tuple[Callable[[ChatCall, Manner, BadRequest], Manner | None], ...] = (
    _stream_options,
    _without_stream,
    _name_of_limit,
    _limit,
    _json,
    _custom,
    _names,
    _messages,
    _effort,
    _choice,
    _schemas,
    _tidy,
    _parameters,
    _any_tools,
)


def _said(error: ProviderError) -> str:
    return f"{error.param} {error.message}"


def _streams(call: ChatCall) -> bool:
    return call.writer is not None or call.body.get("stream") is True


def _functions_only(
    call: ChatCall, manner: Manner, error: ProviderError, about: re.Pattern[str]
) -> Manner | None:
    """Functions instead of custom tools, in the answer too: that is of one choice then."""
    if manner.functions_only or call.body.get("n") not in (None, 1) or not has_custom(call.body):
        return None
    return replace(manner, functions_only=True) if about.search(_said(error)) else None


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


def _about_value(name: str, error: BadRequest) -> bool:
    """Whether another value may be taken: one caller's odd value must not cost the others theirs."""
    if error.code == "unsupported_value":
        return name not in _SAMPLING
    return "value" in error.message.lower()
