"""The free text of a custom tool, taken out of the ``{"input": "…"}`` that stands in for it.

The JSON arrives in pieces cut anywhere. Its string is passed on in its escaped form, as far as it is
complete: an escape, or the two halves of a surrogate pair, are never torn apart.
"""

from __future__ import annotations

import re

import orjson

from .chunks import escaped

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_UNITS = re.compile(
    r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
#: Longer than any head with its white space, and than a surrogate pair in escapes.
_MOST_HELD = 64


class InputUnwrapper:
    """``feed`` JSON text, get escaped text; ``close`` returns what could not be streamed."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "head"

    def feed(self, json: str) -> bytes:
        """The part of the input that ``json`` completes."""
        if self._state == "end":
            return b""
        self._held += json
        if self._state == "head":
            head = _HEAD.match(self._held)
            if head is None:
                if len(self._held) > _MOST_HELD:
                    self._state = "whole"
                return b""
            self._state, self._held = "text", self._held[head.end() :]
        if self._state != "text":
            return b""
        units = _UNITS.match(self._held)
        assert units is not None  # it matches nothing at least
        self._held = self._held[units.end() :]
        if self._held.startswith('"') or len(self._held) > _MOST_HELD:
            self._state = "end"
        return units[0].encode()

    def close(self) -> bytes:
        """For JSON of another shape: its ``input`` if it has one, else the JSON itself."""
        if self._state in ("text", "end") or not self._held.strip():
            return b""
        try:
            parsed = orjson.loads(self._held)
        except ValueError:
            return escaped(self._held)
        if isinstance(parsed, dict):
            if not parsed:
                return b""
            given = parsed.get("input")
            if isinstance(given, str):
                return escaped(given)
        return escaped(self._held)
