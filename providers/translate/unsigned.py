"""Thinking in Anthropic's dialect that no Claude has written, and how Claude is spared it.

Clients send a thinking block back as they got it, and Claude refuses a block whose signature is not its own
(https://platform.claude.com/docs/en/build-with-claude/extended-thinking). So what another model has thought
carries a signature of ours, by which it is found when the conversation moves to Claude.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _check

#: Stands for a signature. Claude's are base64, which has neither a full stop nor a hyphen; and no encoder
#: of JSON has a reason to write it in another way.
UNSIGNED = "unsigned.claude-gateway"

_MARKER = UNSIGNED.encode()
#: What is left of a turn of nothing but such thinking, where it may not be left out: the API takes a system
#: turn only before an assistant's or at the end.
_PLACEHOLDER = {"type": "text", "text": "(No answer.)"}


def without_unsigned(body: bytes, value: Mapping[str, Any]) -> bytes | None:
    """The Messages request ``body``, of which ``value`` is the parsed form, without the thinking blocks that
    are :data:`UNSIGNED`; None when there are none (one search of ``body``, as a rule).

    A turn that consisted of nothing else is left out: the API reads the user turns around it as one.
    Raises ``BadRequest`` for a request that cannot be written as JSON.
    """
    if _MARKER not in body:
        return None
    messages = value.get("messages")
    if not isinstance(messages, list):
        return None
    kept: list[Any] = []
    changed = beheaded = False
    for index, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        blocks = [block for block in content if not _is_unsigned(block)] if isinstance(content, list) else []
        if not isinstance(content, list) or len(blocks) == len(content):
            kept.append(message)
            if isinstance(message, dict) and message.get("role") == "assistant":
                beheaded = False
            continue
        changed = True
        beheaded = not (blocks and _thinks(blocks[0]))
        if not blocks and _needed(kept, messages[index + 1 :]):
            blocks = [_PLACEHOLDER]
        if blocks:
            kept.append({**message, "content": blocks})
    if not changed:
        return None
    found = {**value, "messages": kept}
    thinking = value.get("thinking")
    if beheaded and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        # With a budget, a turn that goes on behind the results of its tools has to begin with thinking.
        # It has none that Claude would take.
        del found["thinking"]
    return _check.as_json(found)


def _is_unsigned(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") == UNSIGNED


def _thinks(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking")


def _needed(before: list[Any], after: list[Any]) -> bool:
    """Whether a turn must stand between these."""
    last = before[-1] if before else None
    return bool(after) and isinstance(last, dict) and last.get("role") == "system"
