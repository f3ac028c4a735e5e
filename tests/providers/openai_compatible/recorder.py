"""A writer that only remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from providers.openai_compatible.chunk_translator import ChunkTranslator
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.chunks import unescaped
from providers.types import Usage


class Recorder:
    """One entry in ``told`` for each token, so that it does not show how the bytes arrived."""

    def __init__(self, *, streaming: bool = True, include_usage: bool = False, legacy: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._expected = "text"

    def start(self, answer_id: str, created: int, model: str) -> None:
        self.told.append(("start", answer_id, model))

    def expect(self, *, reasoning: bool) -> None:
        self._expected = "reasoning" if reasoning else "text"

    def token(self, token: bytes) -> bytes:
        self._add(self._expected, (token,))
        return b""

    def text(self, tokens: Sequence[bytes]) -> None:
        self._add("text", tokens)

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._add("reasoning", tokens)

    def signature(self, token: bytes) -> None:
        self._add("signature", (token,))

    def redacted(self, data: str) -> None:
        self.told.append(("redacted", data))

    def refusal(self, token: bytes) -> None:
        self._add("refusal", (token,))

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        self.told.append(("custom" if custom else "call", index, call_id, name))

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        self._add("input" if custom else "arguments", tokens, index)

    def close(self) -> None:
        self.told.append(("close",))

    def finish(self, reason: str, usage: Usage) -> None:
        self.told.append(("finish", reason))

    def take(self) -> bytes:
        return b""

    def failed(self, code: str, message: str) -> bytes:
        return b""

    def whole(self) -> dict[str, Any]:
        return {}

    def _add(self, kind: str, tokens: Sequence[bytes], *more: Any) -> None:
        for token in tokens:
            assert token
            self.told.append((kind, *more, unescaped((token,))))


def translated(pieces: Iterable[bytes], shape: ReplyShape | None = None) -> tuple[Recorder, ChunkTranslator]:
    """What a writer is told of ``pieces`` and the end behind them."""
    writer = Recorder()
    translator = ChunkTranslator(
        model="x:m", shape=shape or ReplyShape(), streaming=True, writer=lambda **_: writer
    )
    for piece in pieces:
        translator.feed(piece)
    translator.end()
    return writer, translator


def told(stream: bytes, shape: ReplyShape | None = None) -> list[tuple[Any, ...]]:
    """The same without the beginning, for a stream that ends well."""
    writer, translator = translated([stream], shape)
    assert translator.failure is None, translator.failure
    assert translator.done
    assert writer.told[0][0] == "start"
    return writer.told[1:]
