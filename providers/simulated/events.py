"""A plan as the Messages API's event stream.

Order and fields follow https://platform.claude.com/docs/en/build-with-claude/streaming: message_start,
one start / deltas / stop per block with a ping after the first start, message_delta with the
cumulative usage, message_stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from .replies import Plan
from .synthesis import pieces

Event = dict[str, Any]


def events(plan: Plan, *, pieces_per_delta: int = 3) -> Iterator[Event]:
    """The events of ``plan``; a delta carries ``pieces_per_delta`` pieces of about four characters."""
    usage = {key: value for key, value in plan.usage.items() if key != "output_tokens_details"}
    usage["output_tokens"] = min(plan.usage["output_tokens"], 1)
    blank: Event = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield {"type": "message_start", "message": {**plan.message(), **blank, "usage": usage}}
    for index, block in enumerate(plan.content):
        shell, deltas = _open(block, pieces_per_delta)
        yield {"type": "content_block_start", "index": index, "content_block": shell}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {
            "stop_reason": plan.stop_reason,
            "stop_sequence": plan.stop_sequence,
            "stop_details": plan.stop_details,
        },
        "usage": {
            key: plan.usage[key]
            for key in (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
                "output_tokens_details",
            )
            if key in plan.usage
        },
    }
    yield {"type": "message_stop"}


def _open(block: Mapping[str, Any], per_delta: int) -> tuple[Event, list[Event]]:
    """The empty block of ``content_block_start`` and the deltas that fill it."""
    match block["type"]:
        case "text":
            parts = _group(block["text"], per_delta)
            return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in parts]
        case "thinking":
            parts = _group(block["thinking"], per_delta)
            deltas: list[Event] = [{"type": "thinking_delta", "thinking": part} for part in parts]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case "tool_use":
            shell = {key: value for key, value in block.items() if key != "partial_json"}
            text = block.get("partial_json")
            if text is None:
                text = orjson.dumps(block["input"]).decode()
            # The API opens the arguments with an empty delta; `{}` alone is sent as nothing more.
            parts = ["", *(_group(text, per_delta) if text != "{}" else ())]
            return {**shell, "input": {}}, [
                {"type": "input_json_delta", "partial_json": part} for part in parts
            ]
    return dict(block), []  # whole blocks (redacted_thinking, server tools) come in their start event


def _group(text: str, size: int) -> list[str]:
    cut = pieces(text)
    return ["".join(cut[at : at + size]) for at in range(0, len(cut), size)]


def sse(event: Mapping[str, Any]) -> bytes:
    """One event as it stands on the wire."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
