"""Recognising the deltas that nearly all of an answer is made of, by their exact bytes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .unwrap import InputUnwrapper

#: The inside of a JSON string that may be copied as it is. Lone surrogates are left to the parser.
_TOKEN = (
    rb'((?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]'
    rb"|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*+)"
)
#: Kind of block → type of its delta and the delta's field.
DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


@lru_cache(maxsize=128)
def _plain_delta(index: int, kind: str) -> re.Pattern[bytes]:
    """One whole event: a plain delta of the block ``index``. The API pads its JSON with spaces."""
    delta, field = DELTAS[kind]
    head = (
        "event: content_block_delta\n"
        f'data: {{"type":"content_block_delta","index":{index},"delta":{{"type":"{delta}","{field}":"'
    )
    return re.compile(re.escape(head.encode()) + _TOKEN + rb'" *\} *\}\n\n')


class Block:
    """A content block that has begun. ``kind`` is ``ignored`` for what a chat client cannot be shown."""

    __slots__ = ("initial", "kind", "plain", "some", "tool", "unwrap")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.plain = _plain_delta(index, kind) if kind in DELTAS else None
        self.some = False  # anything was passed on
        self.tool = 0  # dense index of a tool call
        self.initial: dict[str, Any] = {}
        self.unwrap: InputUnwrapper | None = None


def valid_utf8(tokens: list[bytes]) -> int:
    """How many of ``tokens``, from the first, are UTF-8 each for itself."""
    joined = b'"'.join(tokens)  # a character cannot be completed across a quotation mark
    if joined.isascii():
        return len(tokens)
    try:
        joined.decode()
        return len(tokens)
    except UnicodeDecodeError:
        for count, token in enumerate(tokens):
            try:
                token.decode()
            except UnicodeDecodeError:
                return count
    return len(tokens)
