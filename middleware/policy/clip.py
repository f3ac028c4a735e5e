"""Shorten a text to a number of characters, keeping both ends and saying so in the text."""

from __future__ import annotations

import unicodedata

#: A text of up to this many characters is never cut: the longest notice fits into it.
FLOOR = 64

_HEAD, _OF = 2, 3  # two thirds of what is kept come from the head: a file's start names what it is
_LINES = 4  # a line break within the last quarter of an end is preferred to the exact place
_JOINED = 32  # so far is looked for the end of a joined sequence, then it is cut anyway


def clip(text: str, limit: int) -> str:
    """``text`` with its middle left out so that at most ``max(limit, FLOOR)`` characters remain.

    The gap reads ``[gateway: 12,345 characters left out here]``. Both cuts are made at line breaks if
    there are any near by, and never inside a character that is written with several code points. Pure,
    and idempotent; a limit of 0 or less switches it off. Linear in ``limit``, not in the text.
    """
    limit = max(limit, FLOOR) if limit > 0 else 0
    if not limit or len(text) <= limit:
        return text
    room = limit - len(_notice(len(text)))
    head = _head_end(text, room * _HEAD // _OF)
    tail = _tail_start(text, len(text) - (room - room * _HEAD // _OF))
    return text[:head] + _notice(tail - head) + text[tail:]


def _notice(left_out: int) -> str:
    return f"\n[gateway: {left_out:,} characters left out here]\n"


def _head_end(text: str, end: int) -> int:
    line = text.rfind("\n", end - end // _LINES, end + 1)
    if line > 0:
        return line - 1 if text[line - 1] == "\r" else line
    for cut in range(end, max(end - _JOINED, 0), -1):
        if not _joined(text, cut):
            return cut
    return end


def _tail_start(text: str, start: int) -> int:
    line = text.find("\n", start - 1, start + (len(text) - start) // _LINES)
    if line >= 0:
        return line + 1
    for cut in range(start, min(start + _JOINED, len(text))):
        if not _joined(text, cut):
            return cut
    return start


def _joined(text: str, cut: int) -> bool:
    """Whether the characters on both sides of ``cut`` are shown as one (the common rules of UAX #29:
    combining marks, variation selectors, joiners, skin tones, flags, CR LF)."""
    before, after = text[cut - 1], text[cut]
    if after < "\u0300":
        return after == "\n" and before == "\r"
    return (
        after == "\u200d"
        or before == "\u200d"
        or unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\U0001f1e6" <= after <= "\U0001f1ff" and "\U0001f1e6" <= before <= "\U0001f1ff")
    )
