"""What an event stream of the Messages API tells while it passes: usage, model, first content, the end."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson

from ..spent import SAMPLE_BYTES, words_in
from ..sse import MAX_EVENT_BYTES, Event, SseParser
from ..translate.usage import merge
from ..types import Usage

#: Deltas, which tell nothing but that there is content, in a row; never from the middle of another event.
_DELTAS = re.compile(rb"(?:(?<=\n\n)|\A)(?:event: content_block_delta\ndata: [^\n]*+\n\n)++")


class Tap:
    """Looks at the bytes of a stream, cut anywhere, and changes none of them.

    ``started``: an event other than ``ping`` has come. ``ended``: the stream has said that it is over,
    by ``message_stop`` or by an ``error``, whose object is then in ``error``.
    """

    __slots__ = (
        "_all",
        "_held",
        "_parser",
        "_room",
        "_sample",
        "_size",
        "ended",
        "error",
        "first_token_at",
        "model",
        "started",
        "usage",
    )

    def __init__(self, model: str) -> None:
        self.model = model
        self.usage = Usage()
        self.first_token_at: float | None = None
        self.started = False
        self.ended = False
        self.error: dict[str, Any] | None = None
        self._parser = SseParser()
        # The beginning of an event whose end has not arrived; None once the parser sees everything.
        self._held: list[bytes] | None = []
        self._size = 0
        self._all = 0  # bytes since the first content
        self._sample: list[bytes] = []  # the first of them
        self._room = SAMPLE_BYTES

    def feed(self, data: bytes) -> None:
        """Raises ``ProtocolError`` on an event too large to be one."""
        if self.first_token_at is not None:
            self._all += len(data)
            if self._room > 0:
                self._room -= len(data)
                self._sample.append(data)
        if (held := self._held) is not None and (held or not data.endswith(b"\n\n")):
            data = self._whole(held, data)
        # Nearly everything is deltas. What the tap looks for has one of these words in its name, so that
        # whole events without them need no parsing.
        if self._held is not None:
            if self.first_token_at is not None and b"message_" not in data and b"error" not in data:
                return
            whole = data
            data, runs = _DELTAS.subn(b"", data)
            if runs and self.first_token_at is None:
                self.first_token_at = time.perf_counter()
                self.started = True
                self.sample(whole)
        for event in self._parser.feed(data):
            self._note(event)

    def _whole(self, held: list[bytes], data: bytes) -> bytes:
        """The events that ``data`` completes, as they stand; the rest is kept in ``held``."""
        cut = data.rfind(b"\n\n") + 2
        if b"\r" in data or self._size > MAX_EVENT_BYTES:
            cut = len(data)
            self._held = None  # lines end in another way, or never: that is the parser's to judge
        elif cut == 1:  # not found: the two may stand on either side of the cut
            cut = int(data.startswith(b"\n") and bool(held) and held[-1].endswith(b"\n"))
        rest = data[cut:]
        if not cut:
            held.append(rest)
            self._size += len(rest)
            return b""
        if held:
            data = b"".join((*held, data[:cut]))
            held.clear()
        elif rest:
            data = data[:cut]
        self._size = len(rest)
        if rest:
            held.append(rest)
        return data

    def said(self) -> tuple[int, int]:
        """See :class:`~providers.reply.Translator`."""
        return words_in(b"".join(self._sample), self._all)

    def message(self, body: dict[str, Any], *, whole: bool = False) -> None:
        """Note what ``body``, a ``whole`` answer or the beginning of a stream, says of itself."""
        if isinstance(model := body.get("model"), str):
            self.model = model
        merge(self.usage, body.get("usage"), final=whole)

    def sample(self, data: bytes) -> None:
        """``data`` has the first content."""
        self._sample.append(data)
        self._all = len(data)
        self._room -= self._all

    def _note(self, event: Event) -> None:
        match event.event:
            case b"ping":
                return
            case b"content_block_delta":
                if self.first_token_at is None:
                    self.first_token_at = time.perf_counter()
                    self.sample(b"event: content_block_delta\ndata: " + event.data + b"\n\n")
            case b"message_start":
                message = _parsed(event).get("message")
                if isinstance(message, dict):
                    self.message(message)
            case b"message_delta":
                merge(self.usage, _parsed(event).get("usage"), final=True)
            case b"message_stop":
                self.ended = True
            case b"error":
                self.ended = True
                error = _parsed(event).get("error")
                self.error = error if isinstance(error, dict) else {}
        self.started = True


def _parsed(event: Event) -> dict[str, Any]:
    try:
        value = orjson.loads(event.data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
