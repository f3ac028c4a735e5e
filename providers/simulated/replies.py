"""What the simulation answers: a Messages request in, a planned reply out. Deterministic, no I/O.

Rules, first match wins: the last turn brings tool results → they are summed up; a tool is asked for
(``tool_choice`` any/tool, or the text names a tool or says "use the tool") → it is called with
arguments that fit its schema, several at once when the text asks for it ("two tools", "parallel");
``output_config.format`` → JSON that fits the schema; the system prompt asks for a JSON object → one,
in a code fence, as models are given to; otherwise → an echo of what was said.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from .prefix import PromptCache, blocks_of, sign
from .synthesis import instance, pieces

Json = Mapping[str, Any]

#: Characters of the caller's text that an answer repeats.
ECHO_CHARS = 300

_DIRECTIVE = re.compile(r"\[sim[^\]]*\]")
_NUMBERS = {"two": 2, "both": 2, "three": 3, "parallel": 2, "2": 2, "3": 3}
_SEVERAL = re.compile(r"\b(two|three|both|2|3)\b[^.?!]{0,40}\btools?\b|\b(parallel)\b", re.IGNORECASE)
_JSON_OBJECT = re.compile(r"\bone valid JSON object\b")
_USE_TOOL = re.compile(r"\b(use|call|run)\b[^.?!]{0,40}\btools?\b", re.IGNORECASE)


@dataclass(slots=True, frozen=True)
class Plan:
    """A reply before it is written down.

    ``content`` holds Anthropic content blocks. A tool call that ``max_tokens`` cut short carries the
    text that got through in ``partial_json`` (a key of the plan, never of the wire).
    """

    id: str
    model: str
    content: Sequence[dict[str, Any]]
    stop_reason: str
    usage: dict[str, Any]
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None

    def message(self) -> dict[str, Any]:
        """The non-streamed answer (anthropic SDK ``Message``)."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [
                {key: value for key, value in block.items() if key != "partial_json"}
                for block in self.content
            ],
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details,
            "usage": self.usage,
        }


@dataclass(slots=True)
class Planner:
    """Plans replies; keeps the prompt cache from one request to the next."""

    cache: PromptCache = field(default_factory=PromptCache)

    def plan(self, request: Json) -> Plan:
        """The reply to ``request``, a Messages request that the API would accept."""
        seed = fingerprint(request)
        content, stop_reason = _answer(request, seed)
        return self.finish(request, content, stop_reason, seed=seed)

    def finish(
        self,
        request: Json,
        content: Sequence[Json],
        stop_reason: str,
        *,
        seed: str | None = None,
        stop_details: dict[str, Any] | None = None,
    ) -> Plan:
        """``content`` under the request's stop sequences and ``max_tokens``, with its usage."""
        text_stopped, sequence = _stop(content, request.get("stop_sequences") or ())
        fitted, truncated = _fit(text_stopped, int(request.get("max_tokens", 0)))
        if truncated:
            stop_reason, sequence = "max_tokens", None
        elif sequence is not None:
            stop_reason = "stop_sequence"
        thinking = sum(_size(block) for block in fitted if block["type"] == "thinking")
        usage = self.cache.usage(request)
        usage["output_tokens"] = sum(_size(block) for block in fitted)
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
        usage["service_tier"] = "standard"
        usage["inference_geo"] = request.get("inference_geo") or "global"
        return Plan(
            id=f"msg_sim_{seed or fingerprint(request)}",
            model=str(request.get("model")),
            content=fitted,
            stop_reason=stop_reason,
            stop_sequence=sequence,
            stop_details=stop_details,
            usage=usage,
        )


def fingerprint(request: Json) -> str:
    """24 hexadecimal digits that name this very request, streamed or not."""
    asked = {key: value for key, value in request.items() if key != "stream"}
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]


def last_user_text(request: Json) -> str:
    """The text of the last user turn, its text blocks joined by newlines."""
    for message in reversed(request.get("messages") or ()):
        if message.get("role") == "user":
            return "\n".join(
                str(block.get("text", ""))
                for block in blocks_of(message.get("content"))
                if block.get("type") == "text"
            )
    return ""


def _answer(request: Json, seed: str) -> tuple[list[dict[str, Any]], str]:
    messages = request["messages"]
    text = " ".join(_DIRECTIVE.sub(" ", last_user_text(request)).split())
    results = [block for block in _last_user_blocks(messages) if block.get("type") == "tool_result"]
    content = _thinking(request, messages, text)
    if results:
        content.append({"type": "text", "text": _summary(messages, results)})
        return content, "end_turn"
    calls = _tool_calls(request, text, seed)
    if calls:
        if request.get("tool_choice", {}).get("type") not in ("any", "tool"):
            names = " and ".join(str(call["name"]) for call in calls)
            content.append({"type": "text", "text": f"I will use {names}."})
        return content + calls, "tool_use"
    schema = (request.get("output_config") or {}).get("format", {})
    if schema:
        value = instance(schema.get("schema"), text=text[:ECHO_CHARS] or "example")
        content.append({"type": "text", "text": orjson.dumps(value).decode()})
    elif any(_JSON_OBJECT.search(str(block.get("text"))) for block in blocks_of(request.get("system"))):
        said = orjson.dumps({"answer": _echo(messages, text)}).decode()
        content.append({"type": "text", "text": f"```json\n{said}\n```"})
    else:
        content.append({"type": "text", "text": _echo(messages, text)})
    return content, "end_turn"


def _echo(messages: Sequence[Json], text: str) -> str:
    seen = [
        f"{kind}s: {count}"
        for kind in ("image", "document")
        if (count := sum(block.get("type") == kind for block in _last_user_blocks(messages)))
    ]
    said = f"You said: “{_cut(text)}”." if text else "You said nothing in words."
    attached = f" You attached {', '.join(seen)}." if seen else ""
    turns = sum(message.get("role") == "user" for message in messages)
    return (
        f"{said}{attached} This answer comes from the simulated provider: no key, no network, "
        f"the same words every time (turn {turns})."
    )


def _summary(messages: Sequence[Json], results: Sequence[Json]) -> str:
    names = {
        block.get("id"): block.get("name")
        for message in messages
        for block in blocks_of(message.get("content"))
        if block.get("type") == "tool_use"
    }
    lines = []
    for result in results:
        text = " ".join(
            str(block.get("text") or f"[{block.get('type')}]") for block in blocks_of(result.get("content"))
        )
        verb = "failed with" if result.get("is_error") else "answered"
        lines.append(f"{names.get(result.get('tool_use_id'), 'The tool')} {verb}: “{_cut(text)}”.")
    return " ".join(["From the tools:", *lines, "(Simulated provider.)"])


def _thinking(request: Json, messages: Sequence[Json], text: str) -> list[dict[str, Any]]:
    """A thinking block when the request asks for thinking; a model left to itself answers at once."""
    config = request.get("thinking") or {}
    if config.get("type") not in ("adaptive", "enabled"):
        return []
    shown = config.get("display") != "omitted"
    thought = f"The user says “{_cut(text)}”. A simulated answer will do." if shown else ""
    return [{"type": "thinking", "thinking": thought, "signature": sign(request, messages, thought)}]


def _tool_calls(request: Json, text: str, seed: str) -> list[dict[str, Any]]:
    choice = request.get("tool_choice") or {}
    tools = [tool for tool in request.get("tools") or () if isinstance(tool.get("input_schema"), Mapping)]
    if not tools or choice.get("type") == "none":
        return []
    if choice.get("type") == "tool":
        asked = [tool for tool in tools if tool.get("name") == choice.get("name")]
    else:
        asked = [tool for tool in tools if re.search(rf"\b{re.escape(str(tool['name']))}\b", text)]
        if not asked and (choice.get("type") == "any" or _USE_TOOL.search(text) or _SEVERAL.search(text)):
            asked = tools[:1]
    wanted = 1
    if match := _SEVERAL.search(text):
        wanted = _NUMBERS[(match[1] or match[2]).lower()]
    if choice.get("disable_parallel_tool_use"):
        asked, wanted = asked[:1], 1
    if asked and len(asked) < wanted:
        others = [tool for tool in tools if tool not in asked]
        asked = [*asked, *others, *asked * wanted][:wanted]
    return [
        {
            "type": "tool_use",
            "id": f"toolu_sim_{seed[:16]}_{index}",
            "name": tool["name"],
            "input": instance(tool["input_schema"], text=_cut(text, 60) or "example"),
        }
        for index, tool in enumerate(asked)
    ]


def _last_user_blocks(messages: Sequence[Json]) -> list[Json]:
    """Blocks of the last run of user messages: the API reads consecutive ones as one turn."""
    blocks: list[Json] = []
    for message in reversed(messages):
        if message.get("role") != "user":
            break
        blocks[:0] = blocks_of(message.get("content"))
    return blocks


def _cut(text: str, limit: int = ECHO_CHARS) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _size(block: Json) -> int:
    """Tokens of one block of output."""
    match block["type"]:
        case "text":
            return len(pieces(block["text"]))
        case "thinking":
            return len(pieces(block["thinking"])) + 4
        case "tool_use":
            return 8 + len(pieces(_arguments(block)))
    return 1


def _arguments(block: Json) -> str:
    return str(block["partial_json"]) if "partial_json" in block else orjson.dumps(block["input"]).decode()


def _stop(content: Sequence[Json], sequences: Sequence[str]) -> tuple[list[Json], str | None]:
    """``content`` up to the first stop sequence in its text, which is not part of the answer."""
    kept: list[Json] = []
    for block in content:
        if block["type"] == "text" and sequences:
            found = [(at, seq) for seq in sequences if (at := block["text"].find(seq)) >= 0]
            if found:
                at, sequence = min(found)
                if at:
                    kept.append({**block, "text": block["text"][:at]})
                return kept, sequence
        kept.append(block)
    return kept, None


def _fit(content: Sequence[Json], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """As much of ``content`` as ``limit`` tokens hold, and whether something was cut off."""
    fitted: list[dict[str, Any]] = []
    for block in content:
        size = _size(block)
        if size <= limit:
            fitted.append(dict(block))
            limit -= size
            continue
        if limit > 0 and (part := _part(block, limit)):
            fitted.append(part)
        return fitted, True
    return fitted, False


def _part(block: Json, limit: int) -> dict[str, Any] | None:
    match block["type"]:
        case "text":
            return {**block, "text": "".join(pieces(block["text"])[:limit])}
        case "tool_use" if limit > 8:
            partial = "".join(pieces(_arguments(block))[: limit - 8])
            return {**block, "input": {}, "partial_json": partial}
    return None  # thinking has no signature before it is complete
