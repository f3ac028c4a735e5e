"""Chunks that say a few words more of what the one before them said, recognised by their exact bytes.

Most servers write chunk after chunk with the very same bytes around the words. The first one of a run is
parsed; of the others only what stands between those bytes is looked at.
"""

from __future__ import annotations

import re

import orjson

from ..translate.deltas import token_at
from .plain import words

#: Where a delta's words begin, by the field that holds them.
_SAID = {
    name: re.compile(rb'"%b": ?"' % name.encode())
    for name in ("content", "reasoning_content", "reasoning", "arguments", "input")
}
_PADDING = re.compile(rb'"obfuscation": ?"')


class Run:
    """Finds chunks that are ``before``, words, ``after``. ``close``: behind ``after`` come further words,
    of ``obfuscation`` (https://platform.openai.com/docs/api-reference/chat-streaming), and it."""

    __slots__ = ("_after", "_before", "_close", "_start")

    def __init__(self, before: bytes, after: bytes, close: bytes | None) -> None:
        self._before = before
        self._start = len(before)
        self._after = after
        self._close = close

    def only(self, data: bytes) -> re.Match[bytes] | None:
        """A match whose first group is the token, if ``data`` is one such chunk and nothing else. UTF-8 is
        not checked, and the token may be empty."""
        if not data.startswith(self._before):
            return None
        match = token_at(data, self._start)
        return match if match is not None and self._end(data, match.end()) == len(data) else None

    def read(self, data: bytes, position: int) -> tuple[list[bytes], int]:
        """``(tokens, where their chunks end)`` from ``position`` on; tokens as in :meth:`only`."""
        tokens: list[bytes] = []
        before, start = self._before, self._start
        while data.startswith(before, position):
            match = token_at(data, position + start)
            assert match is not None  # it matches nothing at least
            if (end := self._end(data, match.end())) < 0:
                break
            tokens.append(match[1])
            position = end
        return tokens, position

    def _end(self, data: bytes, position: int) -> int:
        """Where the chunk ends whose words end at ``position``; -1 if it is another chunk."""
        if not data.startswith(self._after, position):
            return -1
        position += len(self._after)
        if self._close is None:
            return position
        position = words(data, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        return position + len(self._close) if data.startswith(self._close, position) else -1


def run_of(event: bytes, field: str, said: str) -> Run | None:
    """The run that ``event``, a whole one, may begin: its ``field`` says ``said``, and it says nothing else.
    None where those words are not found for certain."""
    name = b'"%b"' % field.encode()
    if event.count(name) != 1 or (found := _SAID[field].search(event)) is None:
        return None
    match = token_at(event, found.end())
    assert match is not None  # it matches nothing at least
    if orjson.loads(b'"%b"' % match[1]) != said:
        return None
    before, after = event[: found.end()], event[match.end() :]
    if (padding := _PADDING.search(after)) is None:
        return Run(before, after, None)
    behind = words(after, padding.end())
    assert behind is not None
    return Run(before, after[: padding.end()], after[behind.end() :])
