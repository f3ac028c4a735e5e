"""A conversation as a client of each dialect sends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import orjson

from providers.translate import reasoning_blob
from providers.translate.calls import parse_arguments
from providers.translate.unsigned import UNSIGNED

from .conversations import Call, Conversation, Document, Image, Result, Text, Thinking, Tool, Turn

Json = dict[str, Any]

#: The name of the model that has signed what is signed.
SIGNER = "claude-opus-5-5"
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


def _marked(holder: Json, part: Any) -> Json:
    return holder if part.mark is None else {**holder, "cache_control": part.mark}


# Chat completions.


def as_chat(talk: Conversation) -> Json:
    """A request to ``/v1/chat/completions``."""
    body: Json = {"model": SIGNER, "messages": [_chat_message(turn) for turn in talk.turns], "stream": True}
    if talk.tools:
        body["tools"] = [_chat_tool(tool) for tool in talk.tools]
    return body


def _chat_tool(tool: Tool) -> Json:
    described: Json = {"name": tool.full_name, "description": "Does it."}
    if tool.kind == "function":
        described["parameters"] = _SCHEMA
    return _marked({"type": tool.kind, tool.kind: described}, tool)


def _chat_message(turn: Turn) -> Json:
    if turn.role == "tool":
        (result,) = turn.parts
        assert isinstance(result, Result)
        content = _chat_content([_chat_part(part) for part in result.parts])
        return {"role": "tool", "tool_call_id": result.call_id, "content": content}
    said = [_chat_part(part) for part in turn.parts if isinstance(part, Text | Image | Document)]
    message: Json = {"role": turn.role, "content": _chat_content(said)}
    if thoughts := [part.text for part in turn.parts if isinstance(part, Thinking)]:
        message["reasoning_content"] = "\n".join(thoughts)
    if calls := [_chat_call(part) for part in turn.parts if isinstance(part, Call)]:
        message |= {"tool_calls": calls}
        message["content"] = message["content"] or None
    return message


def _chat_content(parts: list[Json]) -> str | list[Json]:
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _chat_part(part: Any) -> Json:
    match part:
        case Text(text):
            return _marked({"type": "text", "text": text}, part)
        case Image():
            return {"type": "image_url", "image_url": {"url": _url(part)}}
    return {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{part.data}"},
    }


def _url(image: Image) -> str:
    return image.url or f"data:{image.media_type};base64,{image.data}"


def _chat_call(call: Call) -> Json:
    field = "input" if call.tool.kind == "custom" else "arguments"
    said = {"name": call.tool.full_name, field: call.arguments}
    return _marked({"id": call.id, "type": call.tool.kind, call.tool.kind: said}, call)


# Anthropic's messages.


def as_messages(talk: Conversation) -> Json:
    """A request to ``/v1/messages``."""
    leading = [turn for turn in talk.turns if turn.role in ("system", "developer")]
    rest = [turn for turn in talk.turns if turn not in leading]
    body: Json = {"model": SIGNER, "max_tokens": 4096, "messages": [], "stream": True}
    if system := [_block(part) for turn in leading for part in turn.parts]:
        body["system"] = system
    if talk.tools:
        body["tools"] = [
            {"name": tool.name, "description": "Does it.", "input_schema": _SCHEMA} for tool in talk.tools
        ]
    for assistant, turns in groupby(rest, key=lambda turn: turn.role == "assistant"):
        blocks = [_block(part) for turn in turns for part in turn.parts]
        role = "assistant" if assistant else "user"
        if not assistant:  # results come first
            blocks.sort(key=lambda block: block["type"] != "tool_result")
        body["messages"].append({"role": role, "content": blocks})
    return body


def _block(part: Any) -> Json:
    match part:
        case Text(text):
            return _marked({"type": "text", "text": text}, part)
        case Image(url=url) if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image(media_type, data):
            return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
        case Document(data):
            return {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": data},
            }
        case Thinking(text, redacted=True):
            return {"type": "redacted_thinking", "data": text}
        case Thinking(text, signature=signature):
            return {"type": "thinking", "thinking": text, "signature": signature or UNSIGNED}
        case Call(call_id, tool, arguments):
            return {"type": "tool_use", "id": call_id, "name": tool.name, "input": parse_arguments(arguments)}
    assert isinstance(part, Result)
    result = {
        "type": "tool_result",
        "tool_use_id": part.call_id,
        "content": [_block(one) for one in part.parts],
    }
    return {**result, "is_error": True} if part.failed else result


# Responses.


def as_responses(talk: Conversation) -> Json:
    """A request to ``/v1/responses``."""
    items = [item for turn in talk.turns for item in _items(turn, _kinds(talk))]
    body: Json = {"model": SIGNER, "input": items, "stream": True, "store": False}
    if talk.tools:
        body["tools"] = list(_responses_tools(talk.tools))
    return body


def _kinds(talk: Conversation) -> dict[str, str]:
    """Of each call's id, the kind of the tool that was called with it last."""
    calls = [part for turn in talk.turns for part in turn.parts if isinstance(part, Call)]
    return {call.id: call.tool.kind for call in calls}


def _responses_tools(tools: tuple[Tool, ...]) -> Iterator[Json]:
    for space, members in groupby(
        sorted(tools, key=lambda tool: tool.namespace), key=lambda tool: tool.namespace
    ):
        described = [_responses_tool(tool) for tool in members]
        if space:
            yield {"type": "namespace", "name": space, "description": "Some tools.", "tools": described}
        else:
            yield from described


def _responses_tool(tool: Tool) -> Json:
    described: Json = {"type": tool.kind, "name": tool.name, "description": "Does it."}
    return described if tool.kind == "custom" else {**described, "parameters": _SCHEMA, "strict": False}


def _items(turn: Turn, kinds: dict[str, str]) -> Iterator[Json]:
    if turn.role == "assistant":
        yield from map(_item, turn.parts)
    elif turn.role == "tool":
        (result,) = turn.parts
        assert isinstance(result, Result)
        kind = kinds.get(result.call_id, "function")
        output = [_input_part(part) for part in result.parts]
        yield {
            "type": "custom_tool_call_output" if kind == "custom" else "function_call_output",
            "call_id": result.call_id,
            "output": output[0]["text"] if len(output) == 1 else output,
        }
    else:
        yield {"type": "message", "role": turn.role, "content": [_input_part(part) for part in turn.parts]}


def _item(part: Any) -> Json:
    match part:
        case Text(text):
            content = [{"type": "output_text", "text": text, "annotations": []}]
            return {"type": "message", "role": "assistant", "status": "completed", "content": content}
        case Thinking():
            return _reasoning(part)
        case Call(call_id, tool, arguments) if tool.kind == "custom":
            return {"type": "custom_tool_call", "call_id": call_id, "name": tool.name, "input": arguments}
    assert isinstance(part, Call)
    call = {"type": "function_call", "call_id": part.id, "name": part.tool.name, "arguments": part.arguments}
    return {**call, "namespace": part.tool.namespace} if part.tool.namespace else call


def _reasoning(thinking: Thinking) -> Json:
    item: Json = {"type": "reasoning", "summary": []}
    if not thinking.redacted:
        item["summary"] = [{"type": "summary_text", "text": thinking.text}]
    if thinking.signature or thinking.redacted:
        item["encrypted_content"] = reasoning_blob.pack(SIGNER, orjson.dumps(_block(thinking))).decode()
    return item


def _input_part(part: Any) -> Json:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image():
            return {"type": "input_image", "image_url": _url(part), "detail": "auto"}
    assert isinstance(part, Document)
    return {
        "type": "input_file",
        "filename": "a.pdf",
        "file_data": f"data:application/pdf;base64,{part.data}",
    }


RENDERED: dict[str, Callable[[Conversation], Json]] = {
    "chat": as_chat,
    "messages": as_messages,
    "responses": as_responses,
}
