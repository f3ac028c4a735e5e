"""Names that the Messages API would refuse, mapped to names that it takes.

Tool names must match ``^[a-zA-Z0-9_-]{1,128}$`` and tool call ids ``^[a-zA-Z0-9_-]+$``
(https://platform.claude.com/docs/en/api/messages). Both maps are injective within a request and
depend only on what stands earlier in it, so that a longer conversation keeps every name it had.
"""

from __future__ import annotations

import re
from hashlib import sha256

#: OpenAI's own limit, and the one that every version of the Messages API has accepted.
MAX_NAME = 64

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_BAD = re.compile(r"[^a-zA-Z0-9_-]")


class ToolNames:
    """Tool names of one request. ``original`` maps back those that had to change."""

    __slots__ = ("_taken", "_wire", "original")

    def __init__(self) -> None:
        self._wire: dict[str, str] = {}
        self._taken: set[str] = set()
        self.original: dict[str, str] = {}

    def wire(self, name: str) -> str:
        """The upstream's name for ``name``: the same unless the API would refuse it."""
        known = self._wire.get(name)
        if known is not None:
            return known
        if _NAME.fullmatch(name) and name not in self.original:
            wire = name
        else:
            wire = base = f"{_BAD.sub('_', name)[: MAX_NAME - 16]}_{_digest(name)}"
            count = 1
            while wire in self._taken:
                count += 1
                wire = f"{base}_{count}"
            self.original[wire] = name
        self._wire[name] = wire
        self._taken.add(wire)
        return wire


class CallIds:
    """Unique tool call ids. Some clients number their calls from zero in every turn."""

    __slots__ = ("_counts", "_used")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._used: set[str] = set()

    def allocate(self, original: str) -> str:
        """An id for the next call; ``original`` itself when it is valid and unused."""
        base = original
        if not _ID.fullmatch(original):
            base = f"{_BAD.sub('_', original)[:40]}_{_digest(original)}" if original else "call"
        wire = base
        while wire in self._used:
            self._counts[base] = count = self._counts.get(base, 1) + 1
            wire = f"{base}_{count}"
        self._used.add(wire)
        return wire


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
