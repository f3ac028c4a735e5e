"""Refusals of servers that take less than OpenAI, in their own words: see :data:`.models.Quirk`.

The words are those of the servers named there, as their users report them; templates of open models speak
through the server that runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .models import OpenAIModel
from .refusal import OpenAIRefusal

Json = Mapping[str, Any]

_WINDOW = 40_960
_RANGE = 8_192
#: Gemini's (https://ai.google.dev/api/caching#Schema).
_KEYWORDS = frozenset(
    (
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
        "items",
        "minimum",
        "maximum",
    )
)


def check_quirks(request: Json, model: OpenAIModel, tokens: int) -> None:
    """Raise the refusal of ``request``, which is ``tokens`` long, by the server of ``model``."""
    for quirk, check in _CHECKS.items():
        if quirk in model.quirks:
            check(request, tokens)


def _range(request: Json, _: int) -> None:
    if _limit(request) > _RANGE:
        raise OpenAIRefusal(
            f"Invalid max_tokens value, the valid range of max_tokens is [1, {_RANGE}]",
            code="invalid_request_error",
        )


def _window(request: Json, tokens: int) -> None:
    limit = _limit(request)
    if tokens + limit > _WINDOW:
        raise OpenAIRefusal(
            f"'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context "
            f"length is {_WINDOW} tokens and your request has {tokens} input tokens "
            f"({limit} > {_WINDOW} - {tokens}).",
            kind="BadRequestError",
        )


def _strings(request: Json, _: int) -> None:
    for index, message in enumerate(request["messages"]):
        if isinstance(message.get("content"), list):
            raise OpenAIRefusal(
                "Failed to deserialize the JSON body into the target type: "
                f"messages[{index}]: invalid type: sequence, expected a string at line 1 column 13946",
                code="invalid_request_error",
            )


def _no_developer(request: Json, _: int) -> None:
    if "developer" in (roles := _roles(request)):
        raise OpenAIRefusal(
            "Failed to deserialize the JSON body into the target type: "
            f"messages[{roles.index('developer')}].role: unknown variant `developer`, expected one of "
            "`system`, `user`, `assistant`, `tool` at line 1 column 85",
            status=422,
        )


def _system_first(request: Json, _: int) -> None:
    roles = _roles(request)
    if "system" in roles[1:] or "developer" in roles:
        said = (
            "Unexpected message role." if "developer" in roles else "System message must be at the beginning."
        )
        raise OpenAIRefusal(said, kind="BadRequestError")


def _alternating(request: Json, _: int) -> None:
    roles = _roles(request)
    calling = [bool(message.get("tool_calls")) for message in request["messages"]]
    start = 1 if roles[:1] == ["system"] else 0
    counted = [
        role
        for role, calls in zip(roles[start:], calling[start:], strict=True)
        if role != "tool" and not (role == "assistant" and calls)
    ]
    if any((role == "user") != (place % 2 == 0) for place, role in enumerate(counted)):
        raise OpenAIRefusal(
            "\n------------\nWhile executing CallExpression at line 47, column 32 in source:\n...== 0) %}↵"
            "            {{- raise_exception('After the optional system message, con...\n"
            "                                           ^\nError: Jinja Exception: After the optional system "
            "message, conversation roles must alternate user and assistant roles except for tool calls and "
            "results.",
            status=500,
            kind="server_error",
        )


def _no_system(request: Json, _: int) -> None:
    if "system" in _roles(request):
        raise OpenAIRefusal("System role not supported", kind="BadRequestError")


def _no_stream(request: Json, _: int) -> None:
    if request.get("stream") is True:
        raise OpenAIRefusal(
            "Your organization must be verified to stream this model. Please go to: "
            "https://platform.openai.com/settings/organization/general and click on Verify Organization. If "
            "you just verified, it can take up to 15 minutes for access to propagate.",
            param="stream",
            code="unsupported_value",
        )


def _word_choice(request: Json, _: int) -> None:
    if isinstance(request.get("tool_choice"), dict):
        said = "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
        raise OpenAIRefusal(said)


def _no_strict(request: Json, _: int) -> None:
    for index, tool in enumerate(request.get("tools") or ()):
        if "strict" in (tool.get("function") or {}):
            place = f"tools[{index}].function.strict"
            raise OpenAIRefusal(f"Unknown parameter: '{place}'.", param=place, code="unknown_parameter")


def _plain_schemas(request: Json, _: int) -> None:
    wrong = [
        f'Invalid JSON payload received. Unknown name "{name}" at \'tools[0].function_declarations[{index}].'
        "parameters': Cannot find field."
        for index, tool in enumerate(request.get("tools") or ())
        for name in _unknown((tool.get("function") or {}).get("parameters") or {})
    ]
    if wrong:
        raise OpenAIRefusal("\n".join(wrong), kind="INVALID_ARGUMENT")


def _unknown(schema: Json) -> Iterator[str]:
    yield from (name for name in schema if name not in _KEYWORDS)
    for inner in (*(schema.get("properties") or {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if isinstance(inner, dict):
            yield from _unknown(inner)


def _limit(request: Json) -> int:
    return request.get("max_completion_tokens") or request.get("max_tokens") or 0


def _roles(request: Json) -> list[str]:
    return [message["role"] for message in request["messages"]]


_CHECKS: dict[str, Callable[[Json, int], None]] = {
    "range": _range,
    "window": _window,
    "strings": _strings,
    "no-developer": _no_developer,
    "system-first": _system_first,
    "alternating": _alternating,
    "no-system": _no_system,
    "no-stream": _no_stream,
    "word-choice": _word_choice,
    "no-strict": _no_strict,
    "plain-schemas": _plain_schemas,
}
