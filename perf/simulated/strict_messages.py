"""Messages and their blocks, as the API judges them (https://platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

from providers.simulated.models import SimulatedModel
from providers.simulated.prefix import blocks_of

from .refusal import invalid

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_USER = frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload"})
#: Server-side blocks (``…_tool_result`` and friends) are taken from assistant turns as they come.
_ASSISTANT = frozenset(
    {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "compaction", "fallback"}
)
_IN_RESULT = ("text", "image", "document", "search_result", "tool_reference", "browser_state")
Block = dict[str, Any]


def check_system(system: Any) -> None:
    """Raise the API's refusal of the ``system`` field."""
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid list")
    for index, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise invalid(f"system.{index}.type: Input should be 'text'")
        _check_text(block, f"system.{index}", "system")


def check_conversation(
    request: dict[str, Any], model: SimulatedModel, *, current: bool, per_turn: bool = False
) -> None:
    """Raise the API's refusal of ``messages``. ``current``: the rules of version 2026-10-21 apply.
    ``per_turn``: a system turn may bring an ``output_config`` of its own."""
    messages = request.get("messages")
    if messages is None:
        raise invalid("messages: Field required")
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_message(message, index, model, current=current, per_turn=per_turn)
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    _check_pairing(messages)
    if messages[-1]["role"] == "assistant":
        if not model.prefill:
            raise invalid(
                "This model does not support assistant message prefill. "
                "The conversation must end with a user message."
            )
        if _ends_in_white_space(messages[-1]):
            raise invalid("messages: final assistant content cannot end with trailing whitespace")


def check_cache_control(request: dict[str, Any]) -> None:
    """At most four marks, each ``ephemeral`` for 5m or 1h, longer ones first; none on thinking."""
    count = 0
    for at, holder in _marked(request):
        mark = holder["cache_control"]
        if mark is None:
            continue
        count += 1
        if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
            raise invalid(f"{at}cache_control.type: Input should be 'ephemeral'")
        if mark.get("ttl", "5m") not in ("5m", "1h"):
            raise invalid(f"{at}cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
        if holder.get("type") in ("thinking", "redacted_thinking"):
            raise invalid(f"{at}cache_control: Extra inputs are not permitted")
    if count > 4:
        raise invalid(f"A maximum of 4 blocks with cache_control may be provided. Found {count}.")


def _marked(request: dict[str, Any]) -> Iterator[tuple[str, Block]]:
    if "cache_control" in request:
        yield "", request
    for at, blocks in (
        ("tools", request.get("tools") or []),
        ("system", blocks_of(request.get("system"))),
        *((f"messages.{i}.content", blocks_of(m["content"])) for i, m in enumerate(request["messages"])),
    ):
        for index, block in enumerate(blocks):
            if "cache_control" in block:
                yield f"{at}.{index}.", block
            if block.get("type") == "tool_result":
                for inner, part in enumerate(blocks_of(block.get("content"))):
                    if "cache_control" in part:
                        yield f"{at}.{index}.content.{inner}.", part


def _check_message(message: Any, index: int, model: SimulatedModel, *, current: bool, per_turn: bool) -> None:
    at = f"messages.{index}"
    if not isinstance(message, dict):
        raise invalid(f"{at}: Input should be a valid dictionary")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise invalid(f"{at}.role: Input should be 'user' or 'assistant'")
    if role == "system" and not model.system_turns:
        raise invalid(f"{at}: role 'system' is not supported on this model")
    for name in message:
        if name not in ("role", "content") and not (
            per_turn and role == "system" and name == "output_config"
        ):
            raise invalid(f"{at}.{name}: Extra inputs are not permitted")
    content = message.get("content")
    if content is None:
        raise invalid(f"{at}.content: Field required")
    if isinstance(content, str):
        if not content:
            raise invalid(f"{at}: {role} messages must have non-empty content")
        if not content.strip():
            raise invalid("messages: text content blocks must contain non-whitespace text")
        return
    if not isinstance(content, list):
        raise invalid(f"{at}.content: Input should be a valid string or list")
    if not content:
        raise invalid(f"{at}: {role} messages must have non-empty content")
    for place, block in enumerate(content):
        _check_block(block, f"{at}.content.{place}", role, current=current)


def _check_block(block: Any, at: str, role: str, *, current: bool) -> None:
    if not isinstance(block, dict):
        raise invalid(f"{at}: Input should be a valid dictionary")
    kind = block.get("type")
    if not isinstance(kind, str):
        raise invalid(f"{at}.type: Field required")
    if role == "assistant":
        if kind == "document" and current:
            raise invalid(f"{at}: `document` blocks are not allowed in assistant messages")
        allowed = kind in _ASSISTANT | {"document"} or kind.endswith("_tool_result")
    else:
        allowed = kind in (_USER if role == "user" else {"text"})
    if not allowed:
        raise invalid(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if kind == "text" and role == "user" and current and block.get("citations"):
        raise invalid(f"{at}.text.citations: citations are not allowed in user messages")
    if checker := _CHECKERS.get(kind):
        checker(block, at, "messages")


def _check_text(block: Block, at: str, scope: str) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        raise invalid(f"{at}.text.text: Field required")
    if not text:
        raise invalid(f"{scope}: text content blocks must be non-empty")
    if not text.strip():
        raise invalid(f"{scope}: text content blocks must contain non-whitespace text")
    for name in block:
        if name not in ("type", "text", "cache_control", "citations"):
            raise invalid(f"{at}.text.{name}: Extra inputs are not permitted")


def _check_image(block: Block, at: str, _: str) -> None:
    source = _source(block, at, "image", ("base64", "url", "file"))
    if source["type"] == "base64":
        if source.get("media_type") not in _IMAGES:
            raise invalid(f"{at}.image.source.base64.media_type: Input should be {_listed(_IMAGES)}")
        _check_base64(source.get("data"), f"{at}.image.source.base64")
    elif source["type"] == "url":
        _check_url(source.get("url"), f"{at}.image.source.url")


def _check_document(block: Block, at: str, _: str) -> None:
    source = _source(block, at, "document", ("base64", "text", "content", "url", "file"))
    if source["type"] == "base64":
        if source.get("media_type") != "application/pdf":
            raise invalid(f"{at}.document.source.base64.media_type: Input should be 'application/pdf'")
        _check_base64(source.get("data"), f"{at}.document.source.base64")
    elif source["type"] == "url":
        _check_url(source.get("url"), f"{at}.document.source.url")
    elif source["type"] == "text" and source.get("media_type") != "text/plain":
        raise invalid(f"{at}.document.source.text.media_type: Input should be 'text/plain'")


def _source(block: Block, at: str, kind: str, types: tuple[str, ...]) -> Block:
    source = block.get("source")
    if not isinstance(source, dict):
        raise invalid(f"{at}.{kind}.source: Field required")
    if source.get("type") not in types:
        raise invalid(f"{at}.{kind}.source: Input tag found using 'type' should be {_listed(types)}")
    return source


def _check_base64(data: Any, at: str) -> None:
    if not isinstance(data, str) or not data:
        raise invalid(f"{at}.data: Field required")
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        raise invalid(f"{at}: invalid base64 data") from None


def _check_url(url: Any, at: str) -> None:
    if not isinstance(url, str) or not url.startswith("https://"):
        raise invalid(f"{at}.url: Only HTTPS URLs are supported.")


def _check_tool_use(block: Block, at: str, _: str) -> None:
    _check_id(block.get("id"), f"{at}.tool_use.id")
    name = block.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise invalid(f"{at}.tool_use.name: String should have at least 1 character and at most 200")
    if not isinstance(block.get("input"), dict):
        raise invalid(f"{at}.tool_use.input: Input should be a valid dictionary")
    for field in block:
        if field not in ("type", "id", "name", "input", "cache_control", "caller", "toolset_name"):
            raise invalid(f"{at}.tool_use.{field}: Extra inputs are not permitted")


def _check_tool_result(block: Block, at: str, scope: str) -> None:
    _check_id(block.get("tool_use_id"), f"{at}.tool_result.tool_use_id")
    content = block.get("content")
    if content is not None and not isinstance(content, str | list):
        raise invalid(f"{at}.tool_result.content: Input should be a valid string or list")
    if not isinstance(block.get("is_error", False), bool):
        raise invalid(f"{at}.tool_result.is_error: Input should be a valid boolean")
    for field in block:
        if field not in ("type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"):
            raise invalid(f"{at}.tool_result.{field}: Extra inputs are not permitted")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        inner = f"{at}.tool_result.content.{index}"
        if not isinstance(part, dict) or part.get("type") not in _IN_RESULT:
            raise invalid(f"{inner}: Input tag found using 'type' does not match any of the expected tags")
        if checker := _CHECKERS.get(part["type"]):
            checker(part, inner, scope)


def _check_thinking(block: Block, at: str, _: str) -> None:
    for name in ("thinking", "signature"):
        if not isinstance(block.get(name), str):
            raise invalid(f"{at}.thinking.{name}: Field required")


def _check_id(value: Any, at: str) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise invalid(f"{at}: String should match pattern '^[a-zA-Z0-9_-]+$'")


_CHECKERS: dict[str, Callable[[Block, str, str], None]] = {
    "text": _check_text,
    "image": _check_image,
    "document": _check_document,
    "tool_use": _check_tool_use,
    "tool_result": _check_tool_result,
    "thinking": _check_thinking,
}


def _check_pairing(messages: list[Block]) -> None:
    """Every tool_use is answered at the start of the next user turn; every tool_result was asked for."""
    turns: list[tuple[int, str, list[Block]]] = []
    for index, message in enumerate(messages):
        blocks = list(blocks_of(message["content"]))
        if turns and turns[-1][1] == message["role"]:
            turns[-1][2].extend(blocks)  # consecutive turns of one role are one turn
        else:
            turns.append((index, message["role"], blocks))
    asked: list[str] = []
    seen: set[str] = set()
    asked_at = 0
    for index, _role, blocks in turns:
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        for tool_use_id in results:
            if tool_use_id not in asked:
                raise invalid(
                    f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block "
                    "in the previous message."
                )
        if len(results) != len(set(results)):
            raise invalid(f"messages.{index}.content: each tool_use must have a single result")
        missing = [tool_use_id for tool_use_id in asked if tool_use_id not in results]
        if missing:
            _unanswered(asked_at, missing)
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            raise invalid(f"messages.{index}: `tool_result` blocks must come first in the user message")
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        asked_at = index
        if len(asked) != len(set(asked)) or seen.intersection(asked):
            raise invalid(f"messages.{index}: `tool_use` ids must be unique")
        seen.update(asked)
    if asked:
        _unanswered(asked_at, asked)


def _unanswered(index: int, ids: list[str]) -> None:
    raise invalid(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
        "next message."
    )


def _ends_in_white_space(message: Block) -> bool:
    last = blocks_of(message["content"])[-1]
    text = last.get("text", "") if last.get("type") == "text" else ""
    return bool(text) and text != text.rstrip()


def _listed(values: tuple[str, ...]) -> str:
    return " or ".join(repr(value) for value in values)
