"""Texts that every database takes."""

from __future__ import annotations

import re

#: PostgreSQL has no NUL in texts, and UTF-8 has no half of a surrogate pair.
_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str, length: int | None = None) -> str:
    """``text`` with U+FFFD for what no database can keep, and no longer than ``length`` characters."""
    if length is not None and len(text) > length:
        text = text[:length]
    return _IMPOSSIBLE.sub("\ufffd", text)
