"""Prompt prefixes: what the prompt cache remembers and what a thinking signature is bound to.

Both look at the request as the API does: ``tools``, then ``system``, then ``messages``, a string being
one text block. ``cache_control`` marks may move from turn to turn without changing the prefix.
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

_SIGNED = b"gateway-simulation-1:"
#: What is wrong with a block that is itself as it was, in a conversation that is not.
ANOTHER_CONVERSATION = "`thinking` block is bound to a different conversation"
Json = Mapping[str, Any]


def blocks_of(content: Any) -> Sequence[Any]:
    """A message's content as blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _segments(request: Json, messages: Sequence[Json]) -> Iterator[tuple[bytes, Any]]:
    """``(canonical bytes, cache_control or None)`` of every block of the prompt, in prompt order."""
    for tool in request.get("tools") or ():
        yield _segment(b"tool", tool)
    for block in blocks_of(request.get("system")):
        yield _segment(b"system", block)
    for message in messages:
        role = str(message.get("role")).encode()
        for block in blocks_of(message.get("content")):
            yield _segment(role, block)


def _segment(label: bytes, block: Any) -> tuple[bytes, Any]:
    mark = block.get("cache_control") if isinstance(block, Mapping) else None
    mark = mark if isinstance(mark, Mapping) else None
    return label + orjson.dumps(_unmarked(block), option=orjson.OPT_SORT_KEYS), mark


def _unmarked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unmarked(item) for key, item in value.items() if key != "cache_control"}
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value


def estimate_tokens(size: int) -> int:
    """About four bytes to a token."""
    return (size + 3) // 4


def count_tokens(request: Json) -> int:
    """The input tokens of ``request``, cached or not. Raises ``KeyError`` without ``messages``."""
    return max(estimate_tokens(sum(len(data) for data, _ in _segments(request, request["messages"]))), 1)


def sign(request: Json, messages: Sequence[Json], thinking: str) -> str:
    """The signature of a thinking block that answers ``messages``."""
    digest = _prefix_digest(request, messages) + hashlib.sha256(thinking.encode()).digest()[:8]
    return base64.b64encode(_SIGNED + digest).decode()


def verify(request: Json, index: int, block: Json, *, bound: bool) -> str | None:
    """Why the API would refuse the thinking ``block`` replayed in ``messages[index]``; None if it would not.

    A signature covers the block's text on every model, the prefix before it on models that bind it.
    """
    try:
        raw = base64.b64decode(block["signature"], validate=True)
    except (KeyError, TypeError, ValueError):
        raw = b""
    if not raw.startswith(_SIGNED) or len(raw) != len(_SIGNED) + 24:
        return "Invalid `signature` in `thinking` block"
    prefix, text = raw[len(_SIGNED) : -8], raw[-8:]
    if text != hashlib.sha256(str(block.get("thinking", "")).encode()).digest()[:8]:
        return "`thinking` blocks in the latest assistant message cannot be modified"
    if bound and prefix != _prefix_digest(request, request["messages"][:index]):
        return ANOTHER_CONVERSATION
    return None


def _prefix_digest(request: Json, messages: Sequence[Json]) -> bytes:
    digest = hashlib.sha256()
    for data, _ in _segments(request, messages):
        digest.update(data)
    return digest.digest()[:16]


class PromptCache:
    """Remembers the prefixes that requests marked, the least recently used forgotten first.

    Nothing expires by time: an answer depends on the requests before it and on nothing else.
    """

    def __init__(self, entries: int = 512) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._entries = entries

    def usage(self, request: Json) -> dict[str, Any]:
        """The input side of ``usage`` for ``request``; its marked prefixes are remembered."""
        digest = hashlib.sha256(str(request.get("model")).encode())
        size = read = written = 0
        long = False
        marks: list[tuple[bytes, int, bool]] = []
        segments = list(_segments(request, request.get("messages") or ()))
        automatic = request.get("cache_control")
        for position, (data, mark) in enumerate(segments, 1):
            digest.update(data)
            size += len(data)
            if mark is None and isinstance(automatic, Mapping) and position == len(segments):
                mark = automatic  # the top-level mark stands for one on the last block
            if mark is not None:
                marks.append((digest.digest(), estimate_tokens(size), mark.get("ttl") == "1h"))
        for key, tokens, hour in marks:
            if key in self._known:
                read = tokens
            else:
                written, long = tokens, hour
            self._remember(key)
        written = max(written - read, 0)
        return {
            "input_tokens": max(estimate_tokens(size) - read - written, 1),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if long else written,
                "ephemeral_1h_input_tokens": written if long else 0,
            },
        }

    def _remember(self, key: bytes) -> None:
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > self._entries:
            self._known.popitem(last=False)
