"""Recognising the deltas that nearly all of an answer is made of, by their exact bytes."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import methodcaller
from typing import Any

from .unwrap import InputUnwrapper

#: The inside of a JSON string that may be copied as it is. Lone surrogates are left to the parser.
_TOKEN = (
    rb'((?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]'
    rb"|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*+)"
)
#: ``token_at(data, position)`` matches the token that stands there, as far as it goes; it may be empty.
token_at = re.compile(_TOKEN).match
#: Kind of block → type of its delta and the delta's field.
DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


#: Tokens with line breaks between them, which no token can contain.
_TOKENS = re.compile(
    rb'(?:[^"\\\x00-\x09\x0b-\x1f]++|\\["\\/bfnrt]'
    rb"|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*+"
)
_SPECIAL = b'"\\' + bytes(set(range(32)) - {10})
#: The end of a delta without padding.
_END = b'"}}\n\n'
#: Bytes that are split at once, at first. It doubles while they turn out to be one run, so that what is
#: looked at in vain stays in proportion to what is found.
_WINDOW = 4096
#: Bytes (some three deltas) below which splitting costs more than it saves.
_WORTH_SPLITTING = 400


class PlainRun:
    """Finds tokens that stand in a row, each between the same ``head`` and ``tail`` (regular expressions
    for bytes; ``tail`` ends with a line break, which no token can contain)."""

    __slots__ = ("_between", "_one", "only")

    def __init__(self, head: bytes, tail: bytes) -> None:
        self._one = re.compile(head + _TOKEN + tail)
        #: Matches bytes that are one token with its head and tail; ``match[1]`` is the token.
        self.only = self._one.fullmatch
        self._between = re.compile(tail + head)

    def read(self, data: bytes, position: int) -> tuple[list[bytes], int]:
        """``(tokens, where their events end)``. UTF-8 is not checked, and tokens may be empty."""
        tokens: list[bytes] = []
        size, window = len(data), _WINDOW
        while (match := self._one.match(data, position)) is not None:
            tokens.append(match[1])
            position = match.end()
            if size - position > _WORTH_SPLITTING and window:
                # Split at what stands between two tokens, which begins where this one ends. A line
                # break cannot be part of a JSON string: nothing inside one can look like that.
                end = min(position + window, size)
                more, cut_off = self._split(data[match.end(1) : end])
                window *= 2
                if len(more) < 2 or not _are_tokens(more):
                    window = 0
                    continue
                position = end - cut_off
                tokens += more
        return tokens, position

    def _split(self, between: bytes) -> tuple[list[bytes], int]:
        """The tokens in ``between``, which begins behind one, and how many bytes belong to an event that
        may be cut off at its end."""
        first, *tokens = self._between.split(between)
        if first or not tokens:
            return [], 0
        last = tokens.pop()
        return tokens, len(last) + self._head_size(between, len(between) - len(last))

    def _head_size(self, data: bytes, end: int) -> int:
        """The size of the head that ends at ``end``: here, of one without a line break."""
        return end - 1 - data.rfind(b"\n", 0, end)


class PlainDeltas(PlainRun):
    """Finds the plain deltas of one block that stand in a row. The API pads its JSON with spaces."""

    __slots__ = ("_behead", "_head")

    def __init__(self, index: int, kind: str) -> None:
        delta, field = DELTAS[kind]
        head = (
            "event: content_block_delta\n"
            f'data: {{"type":"content_block_delta","index":{index},"delta":{{"type":"{delta}","{field}":"'
        ).encode()
        super().__init__(re.escape(head), rb'" *+\} *+\}\n\n')
        self._head = len(head)
        self._behead = methodcaller("removeprefix", head)

    def _split(self, between: bytes) -> tuple[list[bytes], int]:
        return self._unpadded(between) or super()._split(between)

    def _unpadded(self, between: bytes) -> tuple[list[bytes], int] | None:
        """The tokens of whole events and the bytes behind them; None when not all are that simple.

        Half the time of the general way: the separator is short, and no event is looked at twice.
        """
        first, *events = between.split(_END)
        if first or not events:
            return None
        rest = events.pop()
        tokens = list(map(self._behead, events))
        # Each was shortened by its head or not at all: the sum says whether every one had it.
        if sum(map(len, events)) - sum(map(len, tokens)) != len(events) * self._head:
            return None
        return tokens, len(rest)

    def _head_size(self, data: bytes, end: int) -> int:
        return self._head


@lru_cache(maxsize=128)
def _plain_deltas(index: int, kind: str) -> PlainDeltas:
    return PlainDeltas(index, kind)


def _are_tokens(parts: list[bytes]) -> bool:
    joined = b"\n".join(parts)
    if joined.count(b"\n") != len(parts) - 1:
        return False
    # Mostly there is not even an escape among them, which is quicker to see than to match.
    return len(joined.translate(None, _SPECIAL)) == len(joined) or _TOKENS.fullmatch(joined) is not None


class Block:
    """A content block that has begun. ``kind`` is ``ignored`` for what a chat client cannot be shown."""

    __slots__ = ("initial", "kind", "plain", "some", "tool", "unwrap")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.plain = _plain_deltas(index, kind) if kind in DELTAS else None
        self.some = False  # anything was passed on
        self.tool = 0  # dense index of a tool call
        self.initial: dict[str, Any] = {}
        self.unwrap: InputUnwrapper | None = None


def is_utf8(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


def readable(tokens: list[bytes]) -> tuple[list[bytes], int, bool]:
    """``tokens`` without empty ones, up to the first that is not UTF-8; their bytes; whether that was all of
    them."""
    valid, size = valid_utf8(tokens)
    whole = valid == len(tokens)
    passed = tokens if whole else tokens[:valid]
    return (passed if all(passed) else [token for token in passed if token]), size, whole


def valid_utf8(tokens: list[bytes]) -> tuple[int, int]:
    """How many of ``tokens``, from the first, are UTF-8 each for itself; the bytes of these."""
    joined = b'"'.join(tokens)  # a character cannot be completed across a quotation mark
    size = len(joined) + 1 - len(tokens)
    if joined.isascii():
        return len(tokens), size
    try:
        joined.decode()
        return len(tokens), size
    except UnicodeDecodeError:
        valid = next(count for count, token in enumerate(tokens) if not is_utf8(token))
        return valid, sum(map(len, tokens[:valid]))
