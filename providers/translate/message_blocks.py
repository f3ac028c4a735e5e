"""The content blocks that an answer in Anthropic's dialect consists of."""

from __future__ import annotations

from typing import Any

import orjson

from .calls import parse_arguments
from .chunks import unescaped
from .unsigned import UNSIGNED


class MessageBlock:
    """A content block. ``tokens`` are kept of calls, whose end shows in them, and of what is not written yet.
    ``done``: nothing more belongs to it."""

    __slots__ = ("call_id", "custom", "data", "done", "kind", "name", "signature", "tokens")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.tokens: list[bytes] = []
        self.done = False
        self.signature = b""
        self.call_id = self.name = self.data = ""
        self.custom = False

    def shell(self) -> dict[str, Any]:
        """The block without what its deltas bring."""
        match self.kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case "tool_use":
                return {"type": "tool_use", "id": self.call_id, "name": self.name, "input": {}}
        return {"type": "redacted_thinking", "data": self.data}

    def whole(self) -> dict[str, Any]:
        match self.kind:
            case "text":
                return {"type": "text", "text": unescaped(self.tokens)}
            case "thinking":
                signature = unescaped((self.signature,)) if self.signature else UNSIGNED
                return {"type": "thinking", "thinking": unescaped(self.tokens), "signature": signature}
            case "tool_use":
                given = unescaped(self.tokens)
                return {**self.shell(), "input": {"input": given} if self.custom else parse_arguments(given)}
        return self.shell()

    @property
    def ended(self) -> bool:
        """Whether nothing more can follow, once something else has begun."""
        return self.done or self.kind != "tool_use" or (not self.custom and self._complete())

    def _complete(self) -> bool:
        """Whether the arguments are one JSON object: no longer text that begins with it is JSON too."""
        if not self.tokens or not self.tokens[-1].rstrip().endswith((b"}", b"\\n", b"\\t", b"\\r")):
            return False
        try:
            return isinstance(orjson.loads(unescaped(self.tokens)), dict)
        except ValueError:
            return False
