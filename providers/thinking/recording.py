"""Listening to an answer while it is written, so that its turn can be kept.

It costs one list append for each token and one call: the tokens are those that the translator has already
found, and they are put together once, at the end of an answer that has thought and calls tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..translate._check import Block
from ..translate.calls import parse_arguments
from ..translate.chunks import unescaped
from ..translate.content import text_block
from ..types import Usage, Writer


class Part:
    """``tokens``: of the text, the thinking or the arguments. ``custom``: they are free text, no JSON."""

    __slots__ = ("call_id", "custom", "data", "kind", "name", "signature", "tokens")

    def __init__(self, kind: str, *, call_id: str = "", name: str = "", data: str = "", custom: bool = False):
        self.kind = kind
        self.tokens: list[bytes] = []
        self.signature: list[bytes] = []
        self.call_id = call_id
        self.name = name
        self.data = data
        self.custom = custom

    def block(self, wire_names: Mapping[str, str]) -> Block | None:
        """The block as the API takes it back; None when it does not. Raises ``ValueError`` for a text that is
        not valid Unicode."""
        text = unescaped(self.tokens)
        match self.kind:
            case "text":
                return text_block(text)
            case "thinking":
                return {"type": "thinking", "thinking": text, "signature": unescaped(self.signature)}
            case "redacted_thinking":
                return {"type": "redacted_thinking", "data": self.data}
        given = {"input": text} if self.custom else parse_arguments(text)
        name = wire_names.get(self.name, self.name)
        return {"type": "tool_use", "id": self.call_id, "name": name, "input": given}


class RecordingWriter:
    """Writes as ``writer`` does. At the end of an answer that has thought and calls tools, ``keep`` is given
    its parts; :func:`blocks_of` makes blocks of them.

    What is held is bounded by the tokens that the model may write.
    """

    __slots__ = (
        "_append",
        "_arguments",
        "_calls",
        "_close",
        "_expect",
        "_finish",
        "_inner_call",
        "_inner_token",
        "_keep",
        "_part",
        "_parts",
        "_reasoning",
        "_redacted",
        "_signature",
        "_text",
        "_thought",
        "failed",
        "refusal",
        "start",
        "take",
        "whole",
    )

    def __init__(self, writer: Writer, keep: Callable[[list[Part]], None]) -> None:
        # What is only passed on goes to the writer itself.
        self.start, self.take, self.whole = writer.start, writer.take, writer.whole
        self.refusal, self.failed = writer.refusal, writer.failed
        self._expect, self._inner_token, self._text = writer.expect, writer.token, writer.text
        self._reasoning, self._signature, self._redacted = writer.reasoning, writer.signature, writer.redacted
        self._inner_call, self._arguments = writer.call, writer.arguments
        self._close, self._finish = writer.close, writer.finish
        self._keep = keep
        self._parts: list[Part] = []
        self._part: Part | None = None
        self._append: Callable[[bytes], None]
        self._calls: dict[int, Part] = {}
        self._thought = False

    def expect(self, *, reasoning: bool) -> None:
        self._append = self._of("thinking" if reasoning else "text").tokens.append
        self._expect(reasoning=reasoning)

    def token(self, token: bytes) -> bytes:
        self._append(token)
        return self._inner_token(token)

    def text(self, tokens: Sequence[bytes]) -> None:
        self._of("text").tokens += tokens
        self._text(tokens)

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._of("thinking").tokens += tokens
        self._reasoning(tokens)

    def signature(self, token: bytes) -> None:
        self._of("thinking").signature.append(token)
        self._signature(token)

    def redacted(self, data: str) -> None:
        self._begin(Part("redacted_thinking", data=data))
        self._part = None
        self._thought = True
        self._redacted(data)

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        self._calls[index] = self._begin(Part("tool_use", call_id=call_id, name=name, custom=custom))
        self._inner_call(index, call_id, name, custom=custom)

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        self._calls[index].tokens += tokens
        self._arguments(index, tokens, custom=custom)

    def close(self) -> None:
        self._part = None
        self._close()

    def finish(self, reason: str, usage: Usage) -> None:
        parts, self._parts = self._parts, []
        if reason == "tool_calls" and self._thought and self._calls:
            self._keep(parts)
        self._finish(reason, usage)

    def _of(self, kind: str) -> Part:
        """The part that is being written, if it is of this kind; else a new one."""
        part = self._part
        if part is None or part.kind != kind:
            part = self._begin(Part(kind))
            self._thought = self._thought or kind == "thinking"
        return part

    def _begin(self, part: Part) -> Part:
        self._parts.append(part)
        self._part = part
        return part


def blocks_of(parts: Sequence[Part], wire_names: Mapping[str, str]) -> list[Block]:
    """The blocks of an answer, calls with names and inputs. Empty when it cannot be taken back: thinking that
    is not signed, a text that is not valid Unicode."""
    try:
        blocks = [block for part in parts if (block := part.block(wire_names)) is not None]
    except ValueError:
        return []
    if any(block["type"] == "thinking" and not block["signature"] for block in blocks):
        return []
    return blocks
