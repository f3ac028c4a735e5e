"""Answers in Anthropic's dialect: the events of a streamed message, or one message.

Order and fields of the events: https://platform.claude.com/docs/en/build-with-claude/streaming. Content
blocks follow each other there, and an upstream may write several parts in turns; so only one block is open
at a time, and what belongs to a later one waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..types import Usage
from .chunks import EventBuffer, escaped, unescaped
from .message_blocks import MessageBlock
from .names import CallIds
from .unsigned import UNSIGNED

#: OpenAI's ``finish_reason`` → ``stop_reason``.
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
#: Kind of block → type of its delta and the delta's field.
_DELTAS = {
    "text": b'text_delta","text',
    "thinking": b'thinking_delta","thinking',
    "tool_use": b'input_json_delta","partial_json',
}
_OPENING = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b":"'
)
_CLOSING = b'"}}\n\n'


class MessageWriter(EventBuffer):
    """See :class:`~providers.types.Writer`; made as a :class:`~providers.types.NewWriter`. The usage always
    comes with an answer, and there is but one way to call a tool: ``include_usage`` and ``legacy`` mean
    nothing here."""

    __slots__ = (
        "_between",
        "_blocks",
        "_calls",
        "_current",
        "_expected",
        "_head",
        "_ids",
        "_index",
        "_message",
        "_opening",
        "_refusal",
        "_single",
        "_streaming",
    )

    def __init__(self, *, streaming: bool, include_usage: bool = False, legacy: bool = False) -> None:
        self._streaming = streaming
        self._out = []
        self._message: dict[str, Any] = {}
        self._ids = CallIds()
        self._refusal: list[bytes] = []
        #: Those that are not written yet, when streaming; otherwise all of them.
        self._blocks: list[MessageBlock] = []
        self._calls: dict[int, MessageBlock] = {}
        self._current: MessageBlock | None = None  # was added to last
        self._head: MessageBlock | None = None  # the open one: what is added to it is written at once
        self._index = -1  # of the open block
        self._opening = self._between = b""  # before a token of the open block, between two of them
        self._expected = "text"
        self._single: bytes | None = None  # ``_opening``, while the open block is of the expected kind

    def start(self, answer_id: str, created: int, model: str) -> None:
        self._message = {
            "id": f"msg_{answer_id}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": _usage(Usage()),
        }
        if self._streaming:
            self._event("message_start", message=self._message)

    def expect(self, *, reasoning: bool) -> None:
        self._expected = "thinking" if reasoning else "text"
        self._choose()

    def token(self, token: bytes) -> bytes:
        if (opening := self._single) is not None:
            return opening + token + _CLOSING
        self._add(self._expected, (token,))
        return self.take()

    def text(self, tokens: Sequence[bytes]) -> None:
        self._add("text", tokens)

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._add("thinking", tokens)

    def signature(self, token: bytes) -> None:
        block = self._of("thinking")
        block.signature = token
        if block is self._head:
            self._sign(token)

    def redacted(self, data: str) -> None:
        block = MessageBlock("redacted_thinking")
        block.data = data
        block.done = True
        self._begin(block)

    def refusal(self, token: bytes) -> None:
        self._refusal.append(token)

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        block = self._calls[index] = MessageBlock("tool_use")
        original = call_id or f"{self._message.get('id', 'msg')}_{index}".replace("msg", "toolu", 1)
        block.call_id = self._ids.allocate(original)
        block.name = name
        block.custom = custom
        self._begin(block)

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        block = self._current = self._calls[index]
        if block.done:
            return  # white space behind a complete object
        block.tokens += tokens
        if block is self._head:
            self._write(block, tokens)
            if self._blocks and block.ended:
                self._advance()

    def close(self) -> None:
        """The block that was added to last is complete."""
        block, self._current = self._current, None
        if block is not None:
            block.done = True
            if block is self._head:
                self._advance()

    def finish(self, reason: str, usage: Usage) -> None:
        message = self._message
        stop_reason = STOP_REASONS.get(reason, "end_turn")
        if stop_reason in ("end_turn", "tool_use"):
            # Clients run tools when they are told to, and not every server says what it means.
            stop_reason = "tool_use" if self._calls else "end_turn"
        if self._refusal or stop_reason == "refusal":
            stop_reason = "refusal"
            message["stop_details"] = {
                "type": "refusal",
                "category": None,
                "explanation": unescaped(self._refusal) if self._refusal else None,
            }
        message["stop_reason"] = stop_reason
        message["usage"] = _usage(usage)
        if self._streaming:
            for block in (self._head, *self._blocks):
                if block is not None:
                    block.done = True
            self._advance()
            names = ("stop_reason", "stop_sequence", "stop_details")
            delta = {name: message[name] for name in names}
            self._event("message_delta", delta=delta, usage=message["usage"])
            self._event("message_stop")

    def failed(self, code: str, message: str) -> bytes:
        """The error event needs nothing from here."""
        return b""

    def whole(self) -> dict[str, Any]:
        """See :class:`~providers.types.Writer`."""
        if self._streaming:
            raise RuntimeError("this answer was asked for as a stream")
        return {**self._message, "content": [block.whole() for block in self._blocks]}

    def _add(self, kind: str, tokens: Sequence[bytes]) -> None:
        block = self._of(kind)
        if block is self._head:
            self._write(block, tokens)
        else:
            block.tokens += tokens

    def _of(self, kind: str) -> MessageBlock:
        """The block of text or thinking to add to: the last one, if it is such and goes on."""
        block = self._blocks[-1] if self._blocks else self._head
        if block is None or block.kind != kind or block.done:
            block = MessageBlock(kind)
            self._begin(block)
        self._current = block
        return block

    def _begin(self, block: MessageBlock) -> None:
        """``block`` follows all others."""
        self._current = block
        self._blocks.append(block)
        if self._streaming and (self._head is None or self._head.ended):
            self._advance()

    def _advance(self) -> None:
        """Close the open block and write those that wait, up to one that may go on: it is left open."""
        if (head := self._head) is not None:
            self._stop(head)
        blocks = self._blocks
        for count, block in enumerate(blocks, 1):
            self._open(block)
            if not (block.done or (count < len(blocks) and block.ended)):
                del blocks[:count]
                break
            self._stop(block)
        else:
            blocks.clear()
        self._choose()

    def _open(self, block: MessageBlock) -> None:
        self._head = block
        self._index += 1
        self._event("content_block_start", index=self._index, content_block=block.shell())
        if (delta := _DELTAS.get(block.kind)) is None:
            return
        self._opening = self._delta(delta)
        self._between = _CLOSING + self._opening
        if block.kind == "tool_use":
            # As the API does it. A tool without arguments gets nothing else.
            self._out += (self._opening, b'{\\"input\\":\\"' if block.custom else b"", _CLOSING)
        if block.tokens:
            self._write(block, block.tokens)
        if block.signature:
            self._sign(block.signature)

    def _stop(self, block: MessageBlock) -> None:
        if block.kind == "thinking" and not block.signature:
            self._sign(UNSIGNED.encode())
        elif block.custom:
            self._out += (self._opening, b'\\"}', _CLOSING)
        block.done = True
        self._head = None
        self._event("content_block_stop", index=self._index)

    def _write(self, block: MessageBlock, tokens: Sequence[bytes]) -> None:
        """One delta for each token, in the open block."""
        if block.custom:  # text inside of JSON, which itself is inside of a string
            tokens = [escaped(token.decode()) for token in tokens]
        self._out += (self._opening, self._between.join(tokens), _CLOSING)

    def _sign(self, token: bytes) -> None:
        self._out += (self._delta(b'signature_delta","signature'), token, _CLOSING)

    def _delta(self, delta: bytes) -> bytes:
        return _OPENING % (self._index, delta)

    def _choose(self) -> None:
        head = self._head
        self._single = self._opening if head is not None and head.kind == self._expected else None

    def _event(self, kind: str, **fields: Any) -> None:
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields})))


def _usage(usage: Usage) -> dict[str, Any]:
    """Anthropic's ``usage``: ``input_tokens`` are those that came from no cache."""
    found: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return found
