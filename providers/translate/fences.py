"""A code fence around an answer that was asked to be JSON, taken off while the text streams.

Models fence JSON out of habit. Only a fence that opens the text is taken off, with its language tag,
and the one that closes it; everything else passes as it is.
"""

from __future__ import annotations

_FENCE = "```"
_BLANK = " \t\r\n"
#: Longer than any language tag, and than what stands around a closing fence.
_MOST_HELD = 64


class FenceStripper:
    """``feed`` text, get text; ``close`` returns what had to be held back."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> str:
        """The part of the text so far that cannot be a fence any more."""
        if self._state == "plain":
            return text
        self._held += text
        if self._state == "start" and not self._opened():
            return ""
        return self._take() if self._state == "plain" else self._body()

    def close(self) -> str:
        """The rest, without a closing fence. An opening that never became one is given back."""
        if self._state != "body":
            return self._take()
        rest = self._take().rstrip(_BLANK)
        return rest.removesuffix(_FENCE).rstrip(_BLANK)

    def _opened(self) -> bool:
        """Decide whether the text opens with a fence; False while more is needed."""
        start = self._held.lstrip(_BLANK)
        if not start.startswith(_FENCE):
            if not _FENCE.startswith(start[:3]) or len(self._held) > _MOST_HELD:
                self._state = "plain"
            return self._state == "plain"
        line, newline, rest = start.partition("\n")
        if "{" in line:  # fence and object share a line: it is not a fence we know
            self._state = "plain"
        elif newline:
            self._state, self._held = "body", rest
        elif len(line) > _MOST_HELD:
            self._state = "plain"
        return self._state != "start"

    def _body(self) -> str:
        """Everything but a tail that may turn out to be the closing fence."""
        kept = self._held.rstrip(_BLANK).rstrip("`").rstrip(_BLANK)
        if len(self._held) - len(kept) > _MOST_HELD:
            return self._take()
        out, self._held = self._held[: len(kept)], self._held[len(kept) :]
        return out

    def _take(self) -> str:
        out, self._held = self._held, ""
        return out
