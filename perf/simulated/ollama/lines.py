"""A planned reply as the lines of ``POST /api/chat``, written as Ollama writes them.

https://docs.ollama.com/api/chat, ``api/types.go`` and ``server/routes.go`` (v0.33.0): one JSON object a
line, thinking before text, each tool call whole. The last line says ``done`` with the counts. Times are
invented from the counts: nothing here looks at a clock, so the same request gets the same bytes.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.simulated.replies import Plan
from providers.simulated.synthesis import pieces

from .go_json import dumps, quote
from .models import OllamaModel

Json = Mapping[str, Any]

_BEGIN = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
#: Invented speeds, nanoseconds: a model that is there, a token of the prompt, a token of the answer.
_LOAD_NS, _PROMPT_NS, _TOKEN_NS = 41_000_000, 1_100_000, 20_000_321
_DONE_REASONS = {"end_turn": "stop", "tool_use": "stop", "stop_sequence": "stop", "max_tokens": "length"}
_LETTERS = string.ascii_lowercase + string.digits
_NATIVE_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(slots=True, frozen=True)
class Reply:
    """What is said: parts in order (each one line of a stream) and the last line's own fields."""

    model: str
    parts: tuple[dict[str, Any], ...]
    last: dict[str, Any]
    #: A failure of the runner, in place of the last line.
    error: str | None = None

    def lines(self) -> list[bytes]:
        """The stream; the last line is the one with ``done``."""
        written = [self._line(number, {"message": _message(part)}) for number, part in enumerate(self.parts)]
        if self.error is not None:
            return [*written, dumps({"error": self.error}) + b"\n"]
        last = {"message": _message(self.last["message"])} | {
            key: value for key, value in self.last.items() if key != "message"
        }
        return [*written, self._line(len(written), last)]

    def whole(self) -> bytes:
        """The answer of ``"stream": false``."""
        merged: dict[str, Any] = {"content": ""}
        for part in (*self.parts, self.last["message"]):
            for key, value in part.items():
                merged[key] = merged[key] + value if key in merged else value
        fields = {key: value for key, value in self.last.items() if key != "message"}
        return self._line(len(self.parts), {"message": _message(merged)} | fields)[:-1]

    def _line(self, number: int, fields: Json) -> bytes:
        return self._written(number, {"message": fields["message"], "done": False} | dict(fields))

    def _written(self, number: int, fields: Json) -> bytes:
        return dumps({"model": self.model, "created_at": _time(number)} | dict(fields)) + b"\n"


def reply(plan: Plan, model: OllamaModel, asked_name: str, metrics: Json) -> Reply:
    """``plan`` as ``model`` says it; ``metrics`` are fields of the last line, None to leave one out."""
    parts = list(_parts(plan, model))
    last: dict[str, Any] = {"content": ""}
    if model.native and parts and "tool_calls" in parts[-1]:
        last |= parts.pop()  # llama-server's calls are complete when it finishes
    cut = next((block for block in plan.content if "partial_json" in block), None)
    error = None
    if cut is not None and model.native:
        name = quote(str(cut["name"]))
        error = f"llama-server returned invalid tool call arguments for {name}: unexpected end of JSON input"
    counts = {
        "total_duration": _LOAD_NS
        + _PROMPT_NS * (metrics.get("prompt_eval_count") or 0)
        + _TOKEN_NS * plan.usage["output_tokens"],
        "load_duration": _LOAD_NS,
        "prompt_eval_count": 0,
        "prompt_eval_duration": _PROMPT_NS * (metrics.get("prompt_eval_count") or 0),
        "eval_count": plan.usage["output_tokens"],
        "eval_duration": _TOKEN_NS * plan.usage["output_tokens"],
    } | dict(metrics)
    fields = {
        "message": last,
        "done": True,
        "done_reason": _DONE_REASONS.get(plan.stop_reason, plan.stop_reason),
    }
    shown = {key: value for key, value in counts.items() if value}  # `omitempty`
    return Reply(asked_name, tuple(parts), fields | shown, error)


def bare(asked_name: str, done_reason: str) -> bytes:
    """The answer to no messages: the model was loaded or unloaded."""
    return Reply(
        asked_name, (), {"message": {"content": ""}, "done": True, "done_reason": done_reason}
    ).whole()


def _message(part: Json) -> dict[str, Any]:
    return {"role": "assistant", "content": part.get("content", "")} | {
        key: value for key, value in part.items() if key != "content"
    }


def _parts(plan: Plan, model: OllamaModel) -> Iterator[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for block in plan.content:
        match block["type"]:
            case "text":
                yield from ({"content": piece} for piece in pieces(block["text"]))
            case "thinking":
                yield from ({"thinking": piece} for piece in pieces(block["thinking"]))
            case "tool_use" if "partial_json" not in block:
                calls.append(_call(block, len(calls), model))
            case "tool_use" if not model.native:
                # The parser found no call in it: what it held back comes out as text.
                start = f'{{"name": {quote(str(block["name"]))}, "arguments": {block["partial_json"]}'
                yield {"content": start}
    if model.native and calls:
        yield {"tool_calls": calls}
    else:
        yield from ({"tool_calls": [call]} for call in calls)


def _call(block: Json, index: int, model: OllamaModel) -> dict[str, Any]:
    seed = hashlib.sha256(f"{block.get('id')}:{index}".encode()).digest()
    if model.native:
        call_id = "".join(_NATIVE_LETTERS[byte % 62] for byte in seed)  # 32 characters, as llama-server's
    else:
        call_id = "call_" + "".join(_LETTERS[byte % 36] for byte in seed[:8])
    return {
        "id": call_id,
        "function": {"index": index, "name": block["name"], "arguments": block["input"]},
    }


def _time(number: int) -> str:
    """RFC 3339 with nanoseconds, trailing zeros left out (Go's ``RFC3339Nano``)."""
    nanoseconds = 123_456_789 + number * _TOKEN_NS
    moment = _BEGIN + timedelta(seconds=nanoseconds // 1_000_000_000)
    fraction = f"{nanoseconds % 1_000_000_000:09d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"
