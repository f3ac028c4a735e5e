"""Requests as Ollama decodes them: its structs (``api/types.go``), its options, its names.

Everything here raises :class:`.go_json.GoError` with the words of the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .go_json import (
    GoError,
    Place,
    any_map,
    anything,
    boolean,
    integer,
    itself,
    loads,
    ordered_map,
    quote,
    slice_of,
    string,
    struct,
)

#: ``ThinkValue``: levels that any model accepts as a value; what they do is the model's business.
THINK_LEVELS = ("high", "medium", "low", "max")
_THINK = '"high", "medium", "low", "max", true, or false'


def _think(value: Any, at: Place) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise GoError(f"think must be a boolean or string ({_THINK})")
    if value not in THINK_LEVELS:
        raise GoError(f"invalid think value: {quote(value)} (must be {_THINK})")
    return value


_DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+)")
_NUMBER_AND_UNIT = re.compile(
    r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*(?:\d+(?:\.\d*)?|\.\d+)([^\d.]*)"
)


_NOTHING = re.compile(r"[-+]?[0.]+(?:ns|us|µs|ms|s|m|h)?(?:[0.]+(?:ns|us|µs|ms|s|m|h))*")


def at_once(keep_alive: Any) -> bool:
    """Whether ``keep_alive`` is no time at all: a request without messages then unloads the model."""
    return _NOTHING.fullmatch(str(keep_alive)) is not None


def _duration(value: Any, at: Place) -> float | str:
    """``keep_alive``: seconds, or a text like ``5m`` (kept as it is)."""
    if isinstance(value, bool):
        raise GoError("Unsupported type: 'bool'")
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        kind = "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
        raise GoError(f"Unsupported type: '{kind}'")
    if not _DURATION.fullmatch(value):
        number = _NUMBER_AND_UNIT.match(value)
        unit = number[1] if number else ""
        wrong = "invalid" if not number else f"unknown unit {quote(unit)} in" if unit else "missing unit in"
        raise GoError(f"time: {wrong} duration {quote(value)}")
    return value


_BASE64_DIGITS = re.compile(r"[A-Za-z0-9+/]*")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _image(value: Any, at: Place) -> str | None:
    """Base64. (Go also takes a list of numbers for bytes; no client sends that, so it is refused here.)"""
    if not isinstance(value, str):
        return at.reject(value, "api.ImageData")
    clean = value.replace("\r", "").replace("\n", "")
    if _BASE64.fullmatch(clean):
        return clean
    good = _BASE64_DIGITS.match(clean)
    end = good.end() if good else 0
    position = end if end < len(clean) else end - end % 4
    at.saved.append(f"illegal base64 data at input byte {position}")
    return None


_STRINGS = slice_of(string, "[]string")


def _property_type(value: Any, at: Place) -> Any:
    return value if isinstance(value, str) else _STRINGS(value, at)


def _tool_property(value: Any, at: Place) -> Any:
    return _PROPERTY(value, at)


_PROPERTIES = ordered_map(_tool_property)
_PROPERTY = struct(
    "ToolProperty",
    {
        "anyOf": slice_of(_tool_property, "[]api.ToolProperty"),
        "type": itself(_property_type),
        "items": anything,
        "description": string,
        "enum": slice_of(anything, "[]interface {}"),
        "properties": _PROPERTIES,
        "required": _STRINGS,
    },
)
_PARAMETERS = struct(
    "ToolFunctionParameters",
    {"type": string, "$defs": anything, "items": anything, "required": _STRINGS, "properties": _PROPERTIES},
)
_TOOL = struct(
    "Tool",
    {
        "type": string,
        "items": anything,
        "function": struct(
            "ToolFunction", {"name": string, "description": string, "parameters": _PARAMETERS}
        ),
    },
)
_CALL = struct(
    "ToolCall",
    {
        "id": string,
        "function": struct(
            "ToolCallFunction",
            {"index": integer, "name": string, "arguments": ordered_map(anything)},
        ),
    },
)
_MESSAGE = itself(
    struct(
        "Alias",  # Message decodes itself through a type of this name
        {
            "role": string,
            "content": string,
            "thinking": string,
            "images": slice_of(_image, "[]api.ImageData"),
            "tool_calls": slice_of(_CALL, "[]api.ToolCall"),
            "tool_name": string,
            "tool_call_id": string,
        },
    )
)
_CHAT_FIELDS = {
    "model": string,
    "messages": slice_of(_MESSAGE, "[]api.Message"),
    "stream": boolean,
    "format": anything,
    "keep_alive": _duration,
    "tools": slice_of(_TOOL, "api.Tools"),
    "options": any_map,
    "think": _think,
    "truncate": boolean,
    "shift": boolean,
    "_debug_render_only": boolean,
    "logprobs": boolean,
    "top_logprobs": integer,
}
_CHAT = struct("ChatRequest", _CHAT_FIELDS)
_GENERATE_FIELDS = {
    "model": string,
    "prompt": string,
    "suffix": string,
    "system": string,
    "template": string,
    "context": slice_of(integer, "[]int"),
    "stream": boolean,
    "raw": boolean,
    "format": anything,
    "keep_alive": _duration,
    "images": slice_of(_image, "[]api.ImageData"),
    "options": any_map,
    "think": _think,
    "truncate": boolean,
    "shift": boolean,
    "_debug_render_only": boolean,
    "logprobs": boolean,
    "top_logprobs": integer,
}
_GENERATE = struct("GenerateRequest", _GENERATE_FIELDS)
_EMBED = struct(
    "EmbedRequest",
    {
        "model": string,
        "input": anything,
        "keep_alive": _duration,
        "truncate": boolean,
        "dimensions": integer,
        "options": any_map,
    },
)
_SHOW = struct(
    "ShowRequest",
    {
        "model": string,
        "system": string,
        "template": string,
        "verbose": boolean,
        "options": any_map,
        "name": string,
    },
)
_DECODERS = {"/api/chat": _CHAT, "/api/generate": _GENERATE, "/api/embed": _EMBED, "/api/show": _SHOW}


def decode(path: str, raw: bytes) -> dict[str, Any]:
    """The request of ``path``: known fields under their own names, null ones left out."""
    value = loads(raw)
    if value is None:
        return {}
    saved: list[str] = []
    decoded: dict[str, Any] = _DECODERS[path](value, Place(saved))
    if saved:
        raise GoError(saved[0])
    return decoded


_KNOWN = {"/api/chat": _CHAT_FIELDS.keys(), "/api/generate": _GENERATE_FIELDS.keys()}


def ignored_fields(raw: bytes, path: str = "/api/chat") -> list[str]:
    """Top-level fields of a request that the real one never looks at (``tool_choice``, say)."""
    value = loads(raw)
    return sorted(value.keys() - _KNOWN[path]) if isinstance(value, dict) else []


#: ``api.Options``: what each option must be.
_OPTIONS = {
    "integer": [
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    ],
    "boolean": ["use_mmap"],
    "float32": [
        "top_p",
        "min_p",
        "typical_p",
        "temperature",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    ],
    "array": ["stop"],
}
_OPTION_KINDS = {name: kind for kind, names in _OPTIONS.items() for name in names}
_OPTION_TYPES: dict[str, Any] = {
    "integer": int | float,
    "float32": int | float,
    "boolean": bool,
    "array": list,
}


class Options(NamedTuple):
    """The options that matter here; None: unset. ``unknown`` ones are logged and ignored by the real one."""

    num_ctx: int | None
    num_predict: int | None
    unknown: list[str]


def read_options(options: Mapping[str, Any]) -> Options:
    """``Options.FromMap``; raises :class:`GoError` for one of a wrong type."""
    unknown = []
    for name, value in options.items():
        kind = _OPTION_KINDS.get(name)
        if kind is None:
            unknown.append(name)
        elif value is not None:
            fits = isinstance(value, _OPTION_TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")
            if not fits:
                raise GoError(f"option {quote(name)} must be of type {kind}")
            if kind == "array" and not all(isinstance(item, str) for item in value):
                raise GoError(f"option {quote(name)} must be of an array of strings")
    return Options(_int64(options.get("num_ctx")), _int64(options.get("num_predict")), unknown)


def _int64(value: Any) -> int | None:
    """Go's conversion of a float; what does not fit ends at the bounds."""
    return None if value is None else int(max(min(value, 2**63 - 1), -(2**63)))
