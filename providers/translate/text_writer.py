"""Answers of ``/v1/completions``: ``text_completion`` objects of a stream, or one
(https://platform.openai.com/docs/api-reference/completions/object). A text is all that they hold: what a
model thinks or calls has no place in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..types import Usage
from .chunks import escaped, unescaped
from .usage import to_openai


class TextWriter:
    """See :class:`~providers.types.Writer`; made as a :class:`~providers.types.NewWriter`. The text begins
    with ``echo``."""

    __slots__ = (
        "_between",
        "_closing",
        "_echo",
        "_head",
        "_include_usage",
        "_opening",
        "_out",
        "_streaming",
        "_whole",
    )

    def __init__(
        self, *, streaming: bool, include_usage: bool = False, legacy: bool = False, echo: str = ""
    ) -> None:
        self._streaming = streaming
        self._include_usage = include_usage
        self._whole: dict[str, Any] = {}
        #: What was written since the last :meth:`take`; of a whole answer, its tokens.
        self._out: list[bytes] = []
        self._echo = echo
        self._head = self._opening = self._between = self._closing = b""

    def start(self, answer_id: str, created: int, model: str) -> None:
        fixed = {"id": f"cmpl-{answer_id}", "object": "text_completion", "created": created, "model": model}
        self._whole = fixed
        self._head = b"data: " + orjson.dumps(fixed)[:-1] + b',"choices":['
        self._opening = self._head + b'{"index":0,"text":"'
        # With include_usage, every object but the last carries a null.
        null = b',"usage":null' if self._include_usage else b""
        self._closing = b'","logprobs":null,"finish_reason":null}]' + null + b"}\n\n"
        self._between = self._closing + self._opening
        if self._echo:
            self.text((escaped(self._echo),))

    def expect(self, *, reasoning: bool) -> None:
        """There is only text."""

    def token(self, token: bytes) -> bytes:
        if self._streaming:
            return self._opening + token + self._closing
        self._out.append(token)
        return b""

    def text(self, tokens: Sequence[bytes]) -> None:
        if self._streaming:
            self._out += (self._opening, self._between.join(tokens), self._closing)
        else:
            self._out += tokens

    def finish(self, reason: str, usage: Usage) -> None:
        choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}
        if not self._streaming:
            choice["text"] = unescaped(self._out)
            self._whole |= {"choices": [choice], "usage": to_openai(usage)}
            return
        null = b',"usage":null' if self._include_usage else b""
        self._out.append(self._head + orjson.dumps(choice) + b"]" + null + b"}\n\n")
        if self._include_usage:
            self._out.append(self._head + b'],"usage":' + orjson.dumps(to_openai(usage)) + b"}\n\n")
        self._out.append(b"data: [DONE]\n\n")

    def take(self) -> bytes:
        if not self._streaming or not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def failed(self, code: str, message: str) -> bytes:
        """The error event needs nothing from here."""
        return b""

    def whole(self) -> dict[str, Any]:
        """See :class:`~providers.types.Writer`."""
        if self._streaming:
            raise RuntimeError("this answer was asked for as a stream")
        return self._whole

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        """No place for it."""

    def signature(self, token: bytes) -> None:
        """Nor for this."""

    def redacted(self, data: str) -> None:
        """Nor for this."""

    def refusal(self, token: bytes) -> None:
        """Nor for this."""

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        """Nobody can ask for one."""

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        """Nor for these."""

    def close(self) -> None:
        """It is one text."""
