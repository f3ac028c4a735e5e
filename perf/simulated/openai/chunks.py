"""A planned reply as OpenAI writes it: chunks of a stream, or one completion (openai SDK
``ChatCompletionChunk``, ``ChatCompletion``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from providers.simulated.replies import Plan
from providers.simulated.synthesis import pieces

from ..bills import Bill
from .models import OpenAIModel

Json = Mapping[str, Any]

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: What the caller gives to a tool, by its type.
_GIVEN = {"function": "arguments", "custom": "input"}
#: 2026-11-23T12:00:00Z: nothing here looks at a clock, so the same request gets the same bytes.
_CREATED = 1_795_435_200
_DONE = b"data: [DONE]\n\n"
_COMMENT = b": OPENROUTER PROCESSING\n\n"
_PADDING = "KyMFtWqR8sZx1vJdLhGb"


def completion(plan: Plan, request: Json, usage: Json) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": joined(plan, "text"), "refusal": None}
    if reasoning := joined(plan, "thinking"):
        message["reasoning_content"] = reasoning
    if calls := [_call(block, request) for block in plan.content if block["type"] == "tool_use"]:
        message["tool_calls"] = calls
    message["annotations"] = []
    finish = FINISH.get(plan.stop_reason, plan.stop_reason)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {
        **head_of(plan, "chat.completion"),
        "choices": [{**choice, "index": index} for index in range(request.get("n") or 1)],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }


def frames(plan: Plan, request: Json, model: OpenAIModel, usage: Json, *, per_delta: int) -> list[bytes]:
    """The events of the stream, the last one ``[DONE]``; a delta carries ``per_delta`` pieces."""
    head = head_of(plan, "chat.completion.chunk") | {
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }
    chunks = [
        {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        for index in range(request.get("n") or 1)
        for delta, finish in _deltas(plan, request, per_delta)
    ]
    return framed(chunks, {**head, "choices": [], "usage": usage}, request, model)


def framed(objects: list[dict[str, Any]], last: Json, request: Json, model: OpenAIModel) -> list[bytes]:
    """``objects`` as events, as the server of ``model`` writes them, ``last`` the one with the usage."""
    options = request.get("stream_options") or {}
    with_usage = options.get("include_usage") is True and "no-usage" not in model.quirks
    # Servers of other makes do not pad.
    padded = options.get("include_obfuscation") is not False and not model.quirks
    written: list[bytes] = []
    for chunk in objects:
        if with_usage:
            chunk["usage"] = None
        if padded:
            chunk["obfuscation"] = _PADDING[: (len(written) * 7) % len(_PADDING)]
        written.append(_sse(chunk, model))
    if with_usage:
        written.append(_sse({**last, "obfuscation": ""} if padded else last, model))
    if "comments" in model.quirks:
        written = [_COMMENT + frame if index % 3 == 0 else frame for index, frame in enumerate(written)]
    if "no-done" not in model.quirks:
        written.append(_DONE[:-1] if "bare-done" in model.quirks else _DONE)
    if "crlf" in model.quirks:
        written = [frame.replace(b"\n", b"\r\n") for frame in written]
    return written


def head_of(plan: Plan, kind: str, prefix: str = "chatcmpl-") -> dict[str, Any]:
    """What every object of the answer begins with."""
    completion_id = prefix + plan.id.removeprefix("msg_")
    return {"id": completion_id, "object": kind, "created": _CREATED, "model": plan.model}


def _deltas(plan: Plan, request: Json, per_delta: int) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": "", "refusal": None}, None
    calls = 0
    for block in plan.content:
        match block["type"]:
            case "text":
                yield from (({"content": part}, None) for part in group(block["text"], per_delta))
            case "thinking":
                yield from (
                    ({"reasoning_content": part}, None) for part in group(block["thinking"], per_delta)
                )
            case "tool_use":
                call = _call(block, request)
                kind, given = call["type"], _GIVEN[call["type"]]
                opening = {**call, kind: {**call[kind], given: ""}}
                yield {"tool_calls": [{"index": calls, **opening}]}, None
                for part in group(call[kind][given], per_delta):
                    yield {"tool_calls": [{"index": calls, kind: {given: part}}]}, None
                calls += 1
    yield {}, FINISH.get(plan.stop_reason, plan.stop_reason)


def _call(block: Json, request: Json) -> dict[str, Any]:
    call_id = str(block["id"]).replace("toolu_sim_", "call_", 1)
    custom = (tool["custom"]["name"] for tool in request.get("tools") or () if tool["type"] == "custom")
    if block["name"] in custom:
        said = {"name": block["name"], "input": str(block["input"].get("input", ""))}
        return {"id": call_id, "type": "custom", "custom": said}
    arguments = block.get("partial_json")
    if arguments is None:
        arguments = orjson.dumps(block["input"]).decode()
    return {"id": call_id, "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def joined(plan: Plan, kind: str) -> str | None:
    """All that the blocks of that kind say; None without any."""
    said = [block[kind] for block in plan.content if block["type"] == kind]
    return "".join(said) if said else None


def group(text: str, size: int) -> list[str]:
    """``text`` in pieces of so many tokens."""
    cut = pieces(text)
    return ["".join(cut[at : at + size]) for at in range(0, len(cut), size)]


def _sse(chunk: Json, model: OpenAIModel) -> bytes:
    spaced = "spaced" in model.quirks
    data = json.dumps(chunk).encode() if spaced else orjson.dumps(chunk)
    return b"data: " + data + b"\n\n"


def usage_of(plan: Plan, over: Json, choices: int) -> dict[str, Any]:
    """``usage`` of the answer; ``over`` replaces figures, in OpenAI's names or the plan's."""
    counted = {**plan.usage, **over}
    cached = counted["cache_read_input_tokens"]
    written = counted["cache_creation_input_tokens"]
    prompt = counted["input_tokens"] + cached + written
    output = counted["output_tokens"] * choices
    reasoning = (counted.get("output_tokens_details") or {}).get("thinking_tokens", 0) * choices
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return usage | {name: value for name, value in over.items() if name not in plan.usage}


def bill_of_usage(plan: Plan, usage: Json) -> Bill:
    """What the answer of ``plan`` costs, by ``usage`` as it is told."""
    prompt, details = usage["prompt_tokens"], usage["prompt_tokens_details"]
    cached, written = details["cached_tokens"], details["cache_write_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    output = usage["completion_tokens"]
    return Bill(plan.model, prompt - cached - written, output, cached, written, 0, reasoning)
