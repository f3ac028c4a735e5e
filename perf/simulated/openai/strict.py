"""What a chat-completions request must be: the openai SDK's parameter types, and the API's own rules
(https://platform.openai.com/docs/api-reference/chat/create)."""

from __future__ import annotations

import re
from typing import Any

from .models import OpenAIModel
from .refusal import OpenAIRefusal, invalid, missing, unknown, wrong_type, wrong_value
from .strict_fields import Checker, flag, integer, mapping, number, one_of, stop, stream_options, text
from .strict_messages import check_messages

Json = dict[str, Any]

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def check_request(request: Any, model: OpenAIModel) -> None:
    """Raise the API's refusal of ``request``, which asks ``model``."""
    for name, value in request.items():
        checker = _FIELDS.get(name)
        if checker is None:
            raise unknown(name)
        if value is not None:
            checker(value, name, model)
    if request.get("messages") is None:
        raise missing("messages")
    _check_limits(request, model)
    _check_sampling(request, model)
    if request.get("reasoning_effort") is not None:
        _check_effort(request["reasoning_effort"], model)
    if request.get("stream_options") is not None and request.get("stream") is not True:
        raise OpenAIRefusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    _check_tool_choice(request)
    format_kind = (request.get("response_format") or {}).get("type")
    if format_kind == "json_object" and "json" not in str(request["messages"]).lower():
        raise OpenAIRefusal(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            param="messages",
        )


def _response_format(value: Any, param: str, model: OpenAIModel) -> None:
    mapping(value, param, model)
    one_of("json_object", "json_schema", "text")(value.get("type"), f"{param}.type", model)
    if value["type"] != "json_schema":
        return
    shape = value.get("json_schema")
    if not isinstance(shape, dict):
        raise missing(f"{param}.json_schema")
    if "name" not in shape:
        raise missing(f"{param}.json_schema.name")
    if not isinstance(shape["name"], str) or not _NAME.fullmatch(shape["name"]):
        raise invalid(f"{param}.json_schema.name", "string does not match pattern '^[a-zA-Z0-9_-]+$'.")
    if not isinstance(shape.get("schema", {}), dict):
        raise wrong_type(f"{param}.json_schema.schema", "an object", shape["schema"])


def _tools(value: Any, param: str, model: OpenAIModel) -> None:
    if not isinstance(value, list):
        raise wrong_type(param, "an array of objects", value)
    if not value:
        raise OpenAIRefusal(
            f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            param=param,
            code="empty_array",
        )
    for index, tool in enumerate(value):
        at = f"{param}[{index}]"
        mapping(tool, at, model)
        one_of("function", "custom")(tool.get("type"), f"{at}.type", model)
        kind = tool["type"]
        for name in tool:
            if name not in ("type", kind):
                raise unknown(f"{at}.{name}")
        if kind not in tool:
            raise missing(f"{at}.{kind}")
        mapping(tool[kind], f"{at}.{kind}", model)
        _check_tool(tool[kind], f"{at}.{kind}", model)


def _check_tool(tool: Json, at: str, model: OpenAIModel) -> None:
    allowed = ("name", "description", "parameters", "strict", "format")
    for name in tool:
        if name not in allowed:
            raise unknown(f"{at}.{name}")
    if "name" not in tool:
        raise missing(f"{at}.name")
    text(tool["name"], f"{at}.name", model)
    if not _NAME.fullmatch(tool["name"]):
        what = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        raise invalid(f"{at}.name", what)
    if len(tool["name"]) > 64:
        raise invalid(f"{at}.name", "string too long. Expected a string with maximum length 64.")
    if "parameters" in tool:
        mapping(tool["parameters"], f"{at}.parameters", model)
        if tool["parameters"] and tool["parameters"].get("type") != "object":
            raise OpenAIRefusal(
                f"Invalid schema for function '{tool['name']}': schema must be a JSON Schema of "
                "'type: \"object\"'.",
                param=f"{at}.parameters",
                code="invalid_function_parameters",
            )


def _tool_choice(value: Any, param: str, model: OpenAIModel) -> None:
    if isinstance(value, dict):
        one_of("function", "custom", "allowed_tools")(value.get("type"), f"{param}.type", model)
        kind = value["type"]
        if not isinstance(value.get(kind), dict):
            raise missing(f"{param}.{kind}")
    elif value not in ("none", "auto", "required"):
        if not isinstance(value, str):
            raise wrong_type(param, "one of an object or a string", value)
        raise wrong_value(param, value, ("none", "auto", "required"))


def _check_tool_choice(request: Json) -> None:
    choice, tools = request.get("tool_choice"), request.get("tools")
    if choice is not None and not tools:
        raise OpenAIRefusal(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            param="tool_choice",
        )
    if request.get("parallel_tool_calls") is not None and not tools:
        raise OpenAIRefusal(
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are "
            "specified.",
            param="parallel_tool_calls",
        )
    if isinstance(choice, dict) and choice["type"] in ("function", "custom"):
        name = choice[choice["type"]].get("name")
        if name not in [(tool.get(tool["type"]) or {}).get("name") for tool in tools or ()]:
            raise OpenAIRefusal(
                f"Tool choice '{choice['type']}' not found in 'tools' parameter.", param="tool_choice"
            )


def _check_limits(request: Json, model: OpenAIModel) -> None:
    given = [name for name in ("max_tokens", "max_completion_tokens") if request.get(name) is not None]
    if len(given) == 2:
        raise OpenAIRefusal(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
        )
    refused = "max_tokens" if model.reasons else None
    other = "max_completion_tokens"
    if "legacy-max-tokens" in model.quirks:
        refused, other = other, "max_tokens"
    for name in given:
        if name == refused:
            raise OpenAIRefusal(
                f"Unsupported parameter: '{name}' is not supported with this model. Use '{other}' instead.",
                param=name,
                code="unsupported_parameter",
            )
        if request[name] > model.max_output:
            raise OpenAIRefusal(
                f"{name} is too large: {request[name]}. This model supports at most {model.max_output} "
                f"completion tokens, whereas you provided {request[name]}.",
                param=name,
                code="invalid_value",
            )


def _check_sampling(request: Json, model: OpenAIModel) -> None:
    """Reasoning models take nothing but the defaults."""
    defaults = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
    for name, default in defaults.items():
        value = request.get(name)
        if model.reasons and value is not None and value != default:
            raise OpenAIRefusal(
                f"Unsupported value: '{name}' does not support {value} with this model. Only the default "
                f"({default}) value is supported.",
                param=name,
                code="unsupported_value",
            )


def _check_effort(value: str, model: OpenAIModel) -> None:
    if not model.reasons:
        raise OpenAIRefusal(
            "Unrecognized request argument supplied: reasoning_effort", param="reasoning_effort"
        )
    if value not in model.efforts:
        listed = ", ".join(f"'{effort}'" for effort in model.efforts)
        raise OpenAIRefusal(
            f"Unsupported value: 'reasoning_effort' does not support '{value}' with this model. Supported "
            f"values are: {listed}.",
            param="reasoning_effort",
            code="unsupported_value",
        )


_LIMIT = integer(1)
_FIELDS: dict[str, Checker] = {
    "messages": check_messages,
    "model": text,
    "audio": mapping,
    "frequency_penalty": number(-2, 2),
    "function_call": lambda *_: None,
    "functions": lambda *_: None,
    "logit_bias": mapping,
    "logprobs": flag,
    "max_completion_tokens": _LIMIT,
    "max_tokens": _LIMIT,
    "metadata": mapping,
    "modalities": lambda *_: None,
    "moderation": mapping,
    "n": integer(1, 128),
    "parallel_tool_calls": flag,
    "prediction": mapping,
    "presence_penalty": number(-2, 2),
    "prompt_cache_key": text,
    "prompt_cache_options": mapping,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "reasoning_effort": one_of(*_EFFORTS),
    "response_format": _response_format,
    "safety_identifier": text,
    "seed": integer(-(2**63), 2**63 - 1),
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "stop": stop,
    "store": flag,
    "stream": flag,
    "stream_options": stream_options,
    "temperature": number(0, 2),
    "tool_choice": _tool_choice,
    "tools": _tools,
    "top_logprobs": integer(0, 20),
    "top_p": number(0, 1),
    "user": text,
    "verbosity": one_of("low", "medium", "high"),
    "web_search_options": mapping,
}
