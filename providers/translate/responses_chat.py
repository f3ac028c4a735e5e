"""A request in OpenAI's Responses dialect → a chat-completions request.

A pure function of its arguments: the same bytes for the same request, and a longer conversation keeps the
bytes of its beginning. Stateless: nothing is stored, so what refers to something stored is refused, with a
word on what to send instead. Shapes: ``response_create_params`` and ``response_input_item_param`` of the
openai SDK.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..types import NewWriter
from . import _check
from ._check import Block
from .params import dropped
from .response_writer import Echo, ResponseWriter
from .responses_items import REPLAY, Items, part_of
from .responses_tools import CallNames, Tools, read_choice, read_tools

#: Parameters that both dialects have.
_SAME = (
    "stream",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
)
#: Parameters that have an effect here; everything else that is given is left out and named.
_USED = frozenset(
    {
        *_SAME,
        "model",
        "input",
        "instructions",
        "max_output_tokens",
        "tools",
        "tool_choice",
        "reasoning",
        "text",
        "stream_options",
        "include",
        "store",
        "metadata",
        "truncation",
        "max_tool_calls",  # of tools that only OpenAI runs
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
    }
)
#: What a response repeats of its request when that says nothing.
_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_STATEFUL = {
    "previous_response_id": f"`previous_response_id` refers to a stored response. {REPLAY}",
    "conversation": f"`conversation` refers to a stored conversation. {REPLAY}",
    "prompt": "`prompt` refers to a stored template: send its text in `instructions` and `input`.",
}
#: What a chat calls the parameters → what they are called here.
THEIR_NAMES = {
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "max_tokens": "max_output_tokens",
    "messages": "input",
}


class ResponsesRequest(NamedTuple):
    """``body`` is the chat request, ``dropped`` names what was left out, ``writer`` makes the writer of its
    answer."""

    body: dict[str, Any]
    dropped: tuple[str, ...]
    writer: NewWriter


def to_chat(
    body: Mapping[str, Any], *, model: str, signed: bool, defaulted: Collection[str] = ()
) -> ResponsesRequest:
    """The chat that asks ``model`` (the upstream's id) what ``body`` asks.

    ``signed``: the provider has the feature ``signed_thinking``. ``defaulted`` names fields that the caller
    has not set, so that no response says it had. Raises ``BadRequest`` with ``param``
    naming the place for everything that is wrong with ``body``.
    """
    _check_stateless(body)
    given = body.get("input")
    items = [] if isinstance(given, str) else _check.array(given, "input")
    tools = read_tools(body, items)
    reader = Items(tools.names, model=model, signed=signed)
    if (instructions := body.get("instructions")) is not None:
        reader.messages.append({"role": "system", "content": _check.text(instructions, "instructions")})
    if isinstance(given, str):
        reader.messages.append({"role": "user", "content": given})
    for index, item in enumerate(items):
        reader.add(item, f"input.{index}")
    reader.finish()
    if not reader.messages:
        raise _check.invalid("input", "`input` is empty.")

    chat: dict[str, Any] = {"model": body.get("model"), "messages": reader.messages}
    chat.update((name, body[name]) for name in _SAME if body.get(name) is not None)
    if (limit := body.get("max_output_tokens")) is not None:
        chat["max_tokens"] = _check.positive(limit, "max_output_tokens")
    lost: dict[str, bool] = {}
    _add_tools(body, tools, chat, lost)
    extra = [*_add_reasoning(body, chat), *_add_text(body, chat)]
    include = [] if body.get("include") is None else _check.array(body["include"], "include")
    lost["include"] = any(name != "reasoning.encrypted_content" for name in include)
    lost["store"] = body.get("store") is True
    lost["truncation"] = body.get("truncation") == "auto"
    named = dropped(body, _USED, lost)
    extra += [f"tools.{kind}" for kind in tools.left_out]
    extra += [f"input.{kind}" for kind in reader.left_out]
    if extra:
        named += dropped(dict.fromkeys(extra, True), frozenset(), {})
    writer = partial(
        ResponseWriter, echo=_echo(body, defaulted), model=model, signed=signed, tools=tools.names.called
    )
    return ResponsesRequest(chat, named, writer)


def place_of(body: Mapping[str, Any], message: int, part: int | None = None) -> str:
    """Where in ``body`` the ``message`` of the chat that :func:`to_chat` has made of it comes from, for an
    error; of ``part``, an index of its content, the place when that is known."""
    if body.get("instructions") is not None:
        if message == 0:
            return "instructions"
        message -= 1
    given = body.get("input")
    if isinstance(given, list):
        reader = Items(CallNames(), model="", signed=False)
        for index, item in enumerate(given):
            reader.add(item, at := f"input.{index}")
            if len(reader) > message:
                return at if part is None else part_of(item, at, part)
    return "input"


def tool_of(body: Mapping[str, Any], tool: int) -> str | None:
    """Where in ``body`` the ``tool`` of the chat that :func:`to_chat` has made of it is described."""
    given = body.get("input")
    places = read_tools(body, given if isinstance(given, list) else []).places
    return places[tool] if tool < len(places) else None


def their_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Parameters that a chat has left out, as a Responses request calls them."""
    return tuple(THEIR_NAMES.get(name, name) for name in names)


def _check_stateless(body: Mapping[str, Any]) -> None:
    for name, message in _STATEFUL.items():
        if body.get(name) is not None:
            raise _check.invalid(name, message, "unsupported_value")
    background = body.get("background")
    if background is not None and _check.boolean(background, "background"):
        raise _check.invalid(
            "background",
            "Answers are not stored, so none can be fetched later: leave `background` out, and use "
            "`stream: true` for a long one.",
            "unsupported_value",
        )


def _add_tools(body: Mapping[str, Any], tools: Tools, chat: Block, lost: dict[str, bool]) -> None:
    if tools.listed:
        chat["tools"] = tools.listed
    if (value := body.get("tool_choice")) is not None:
        choice = read_choice(value, tools)
        lost["tool_choice"] = choice is None
        # Of no tools there is no choice; a chat that is asked to call one refuses it in its own words.
        if choice is not None and (tools.listed or choice not in ("auto", "none")):
            chat["tool_choice"] = choice


def _add_reasoning(body: Mapping[str, Any], chat: Block) -> list[str]:
    """Sets ``reasoning_effort``; what of ``reasoning`` is left out."""
    if (value := body.get("reasoning")) is None:
        return []
    reasoning = _check.obj(value, "reasoning")
    if (effort := reasoning.get("effort")) is not None:
        chat["reasoning_effort"] = _check.text(effort, "reasoning.effort")
    # A summary is what a model shows of its thinking in any case.
    used = ("effort", "summary", "generate_summary")
    return [f"reasoning.{name}" for name in reasoning if name not in used and reasoning[name] is not None]


def _add_text(body: Mapping[str, Any], chat: Block) -> list[str]:
    """Sets ``response_format`` and ``verbosity``; what of ``text`` is left out."""
    if (value := body.get("text")) is None:
        return []
    text = _check.obj(value, "text")
    if (shape := text.get("format")) is not None:
        chat["response_format"] = _format(_check.obj(shape, "text.format"))
    if (verbosity := text.get("verbosity")) is not None:
        chat["verbosity"] = _check.text(verbosity, "text.verbosity")
    return [f"text.{name}" for name in text if name not in ("format", "verbosity") and text[name] is not None]


def _format(shape: Block) -> Block:
    kind = _check.text(shape.get("type"), "text.format.type")
    if kind == "json_schema":
        if shape.get("schema") is None and shape.get("json_schema") is not None:
            return shape  # as in chat completions
        schema = _check.obj(shape.get("schema"), "text.format.schema")
        known = {k: shape[k] for k in ("name", "description", "strict") if shape.get(k) is not None}
        return {"type": kind, "json_schema": {"name": "answer", **known, "schema": schema}}
    if kind not in ("text", "json_object"):
        raise _check.invalid(
            "text.format.type", "`text.format.type` must be text, json_object or json_schema."
        )
    return {"type": kind}


def _echo(body: Mapping[str, Any], defaulted: Collection[str]) -> Echo:
    said = {
        name: value if (value := body.get(name)) is not None and name not in defaulted else default
        for name, default in _DEFAULTS.items()
    }
    model = body.get("model")
    return Echo(_check.as_json({**said, "store": False}), model if isinstance(model, str) else "")
