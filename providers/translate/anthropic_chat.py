"""Anthropic's event stream → chat-completion chunks, or one completion.

Events: https://platform.claude.com/docs/en/build-with-claude/streaming. Runs of plain deltas, which are
nearly all of an answer, are recognised by their exact bytes and their strings are copied; whatever is
shaped differently is parsed.
"""

from __future__ import annotations

import time
from typing import Any, Unpack

import orjson

from ..sse import SseParser
from . import _event
from . import usage as usages
from ._event import Malformed
from .answer import AnswerOptions, AnswerTranslator
from .anthropic_errors import from_event
from .chunks import escaped, unescaped
from .deltas import DELTAS, Block, PlainDeltas, readable
from .unwrap import InputUnwrapper


class ChatTranslator(AnswerTranslator):
    """See :class:`~providers.translate.answer.AnswerTranslator`. ``started`` is true once
    ``message_start`` was read, ``done`` once ``message_stop`` was."""

    __slots__ = ("_blocks", "_calls", "_details", "_open", "_sse", "_stop_reason")

    default_provider = "anthropic"

    def __init__(self, **options: Unpack[AnswerOptions]) -> None:
        self._sse = SseParser()
        super().__init__(self._sse, **options)
        self._blocks: dict[int, Block] = {}
        self._open: Block | None = None  # the block that deltas are likely to be for
        self._calls = 0
        self._stop_reason: str | None = None
        self._details: dict[str, Any] = {}

    def _consume(self, data: bytes) -> None:
        position, size, sse = 0, len(data), self._sse
        while position < size and not self.done:
            block = self._open
            if block is not None and block.plain is not None and sse.idle:
                position = self._run(block, block.plain, data, position)
            if (match := sse.regular(data, position)) is not None:
                self._event(match[1], match[2])
                position = match.end()
            elif position < size:
                # A blank line ends an event whatever came before it, so the parser is idle behind it.
                end = data.find(b"\n\n", position) + 2
                if end == 1:
                    end = size
                for event in sse.feed(data[position:end]):
                    self._event(event.event, event.data)
                position = end

    def _run(self, block: Block, plain: PlainDeltas, data: bytes, position: int) -> int:
        """Pass on the plain deltas that follow each other from ``position``; where they end."""
        tokens, end = plain.read(data, position)
        if tokens:
            passed, size, whole = readable(tokens)
            if passed:
                self._heard(len(passed), size)
                self._pass(block, passed)
            if not whole:
                raise Malformed("an event that is not JSON")
        return end

    def _pass(self, block: Block, tokens: list[bytes]) -> None:
        """Content for the client. ``tokens`` are escaped and not empty."""
        self._content_begins()
        block.some = True
        if block.kind == "text":
            self._text(tokens)
        elif block.kind == "thinking":
            self._writer.reasoning(tokens)
        elif block.unwrap is None:
            self._writer.arguments(block.tool, tokens, custom=False)
        else:
            found = [block.unwrap.feed(unescaped((token,))) for token in tokens]
            if pieces := [piece for piece in found if piece]:
                self._writer.arguments(block.tool, pieces, custom=True)

    def _event(self, name: bytes, data: bytes) -> None:
        if self.done or name == b"ping":
            return
        try:
            body = orjson.loads(data)
        except ValueError:
            raise Malformed("an event that is not JSON") from None
        if not isinstance(body, dict):
            raise Malformed("an event that is not an object")
        kind = body.get("type")
        if kind == "error" or name == b"error":
            raise from_event(body.get("error"), provider=self._provider, request_id=self._request_id)
        if kind == "message_start":
            self._message_start(body)
        elif kind == "content_block_start":
            self._block_start(body)
        elif kind == "content_block_delta":
            self._block_delta(body)
        elif kind == "content_block_stop":
            self._block_stop(body)
        elif kind == "message_delta":
            self._message_delta(body)
        elif kind == "message_stop":
            self._message_stop()
        # Anything else is an event of tomorrow: the API promises only that more may come.

    def _message_start(self, body: dict[str, Any]) -> None:
        message = _event.obj(body, "message")
        if self.started:
            raise Malformed("a second message_start")
        self.started = True
        self.upstream_model = _event.text(message, "model")
        usages.merge(self.usage, message.get("usage"))
        message_id = _event.text(message, "id").removeprefix("msg_")
        self._writer.start(message_id, int(time.time()), self._model)

    def _block_start(self, body: dict[str, Any]) -> None:
        index = self._new_index(body)
        shell = _event.obj(body, "content_block")
        kind = shell.get("type")
        if kind == "tool_use":
            block = self._call(shell, index)
        else:
            shown = kind if isinstance(kind, str) and kind in ("text", "thinking") else None
            block = Block(shown or "ignored", index)
            if shown is not None and shell.get(shown):
                self._pass(block, [escaped(_event.text(shell, shown))])
            elif kind == "redacted_thinking":
                self._writer.redacted(_event.text(shell, "data"))
            if kind == "thinking" and shell.get("signature"):
                self._writer.signature(escaped(_event.text(shell, "signature")))
        self._blocks[index] = self._open = block
        self._express = None
        if block.plain is not None and (kind == "thinking" or (kind == "text" and self._fence is None)):
            self._writer.expect(reasoning=kind == "thinking")
            self._express = block.plain.only

    def _call(self, shell: dict[str, Any], index: int) -> Block:
        block = Block("tool", index)
        block.tool = self._calls
        self._calls += 1
        name = _event.text(shell, "name")
        if name in self._shape.custom_tools:
            block.unwrap = InputUnwrapper()
        given = shell.get("input")
        block.initial = given if isinstance(given, dict) else {}
        call_id = _event.text(shell, "id")
        self._content_begins()
        self._heard(1, len(name))
        original = self._shape.tool_names.get(name, name)
        self._writer.call(block.tool, call_id, original, custom=block.unwrap is not None)
        return block

    def _block_delta(self, body: dict[str, Any]) -> None:
        block = self._block(body)
        delta = _event.obj(body, "delta")
        expected = DELTAS.get(block.kind)
        if expected is None or delta.get("type") != expected[0]:
            if block.kind == "thinking" and delta.get("type") == "signature_delta":
                self._writer.signature(escaped(_event.text(delta, "signature")))
            return  # citations, and everything of an ignored block
        if text := _event.text(delta, expected[1]):
            token = escaped(text)
            self._heard(1, len(token))
            self._pass(block, [token])

    def _block_stop(self, body: dict[str, Any]) -> None:
        block = self._block(body)
        del self._blocks[body["index"]]
        if block is self._open:
            self._open = self._express = None
        if block.kind == "tool":
            self._call_ends(block)
        if block.kind != "ignored":
            self._writer.close()

    def _call_ends(self, block: Block) -> None:
        if not block.some and (block.initial or block.unwrap is None):
            # Arguments that came whole, or none at all: a client wants JSON to parse either way.
            self._pass(block, [escaped(orjson.dumps(block.initial).decode())])
        if block.unwrap is not None and (rest := block.unwrap.close()):
            self._writer.arguments(block.tool, (rest,), custom=True)

    def _message_delta(self, body: dict[str, Any]) -> None:
        delta = _event.obj(body, "delta")
        reason = delta.get("stop_reason")
        if isinstance(reason, str):
            self._stop_reason = reason
        if isinstance(details := delta.get("stop_details"), dict):
            self._details = details
        usages.merge(self.usage, body.get("usage"), final=True)

    def _message_stop(self) -> None:
        if not self.started:
            raise Malformed("a message_stop before its message_start")
        reason = _event.FINISH_REASONS.get(self._stop_reason or "end_turn", "stop")
        if reason == "content_filter":
            self._writer.refusal(escaped(_event.refusal(self._details)))
        self._finish(reason)

    def _new_index(self, body: dict[str, Any]) -> int:
        index = body.get("index")
        if not self.started:
            raise Malformed("content before its message_start")
        if isinstance(index, bool) or not isinstance(index, int) or index < 0 or index in self._blocks:
            raise Malformed("a content block with a wrong index")
        return index

    def _block(self, body: dict[str, Any]) -> Block:
        index = body.get("index")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None:
            raise Malformed("an event of a content block that is not open")
        return block
