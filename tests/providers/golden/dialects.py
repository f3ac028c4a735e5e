"""How callers of each dialect ask for the golden answers, all of them the same."""

from __future__ import annotations

from typing import Any

from providers.translate import messages_chat, responses_chat
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall

Json = dict[str, Any]

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
_STRING = {"type": "string"}
_TOOLS: dict[str, Json] = {
    "get_weather": {"location": _STRING},
    "read_file": {"path": _STRING, "lines": {"type": "array", "items": {"type": "integer"}}},
    "get_time": {},
}


def question(caller: str, model: str, *, stream: bool) -> Json:
    """The request as a client of that dialect writes it."""
    match caller:
        case "messages":
            return {
                "model": model,
                "max_tokens": 1000,
                "messages": [{"role": "user", "content": "Go on."}],
                "tools": [{"name": name, "input_schema": _schema(name)} for name in _TOOLS],
                "stream": stream,
            }
        case "responses":
            tools = [
                {"type": "function", "name": name, "parameters": _schema(name), "strict": False}
                for name in _TOOLS
            ]
            return {
                "model": model,
                "input": "Go on.",
                "tools": tools,
                "max_output_tokens": 1000,
                "include": ["reasoning.encrypted_content"],
                "store": False,
                "stream": stream,
            }
    functions = [{"name": name, "parameters": _schema(name)} for name in _TOOLS]
    return {
        "model": model,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Go on."}],
        "tools": [{"type": "function", "function": function} for function in functions],
        **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
    }


def call_of(caller: str, model: str, *, stream: bool, signed: bool) -> ChatCall:
    """What a provider is asked when a client of that dialect asks. ``signed``: it signs its thinking."""
    asked = question(caller, model, stream=stream)
    if caller == "messages":
        return ChatCall(messages_chat.to_chat(asked).body, model, model, writer=MessageWriter)
    if caller == "responses":
        request = responses_chat.to_chat(asked, model=model, signed=signed)
        return ChatCall(request.body, model, model, writer=request.writer)
    return ChatCall(asked, model, model)


def _schema(name: str) -> Json:
    return {"type": "object", "properties": _TOOLS[name]}
