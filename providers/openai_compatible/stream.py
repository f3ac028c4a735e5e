"""A stream of chat-completion chunks on its way through: looked at, never written anew.

A state machine without I/O: bytes of one upstream read in, the complete events among them out, byte for
byte. It never raises: a failure is kept in ``failure`` beside what came before it, since that part has
to reach the client first.

Only chunks that say more than a few words (:mod:`.plain`) are parsed
(https://platform.openai.com/docs/api-reference/chat-streaming).
"""

from __future__ import annotations

import re
import time
from typing import Any

import orjson

from ..errors import ProtocolError, ProviderError
from ..spent import SAMPLE_BYTES, words_in
from ..sse import MAX_EVENT_BYTES, SseParser
from ..types import Usage
from . import usage as usages
from .errors import Errors, error_in
from .plain import Mould, mould_of, says_nothing_special, valid_utf8, words

DONE = b"data: [DONE]\n\n"

#: The end of an event: an empty line. (A lone CR ends a line too, but no server of this API writes it.)
_END = re.compile(rb"\n\r?\n")
#: Empty lines between two events; they mean nothing.
_BLANK = re.compile(rb"[\r\n]+")
_BARE_DONE = re.compile(rb"data: ?\[DONE\]\s*")
#: llama.cpp before July 2025 wrote errors as a field of their own: ``error: {…}``.
_ERROR_FIELD = re.compile(rb"(?m)^error: ?(\{.*\})\r?$")
#: An answer needs a few moulds, for its thinking, its text and each tool call; a server whose chunks never
#: look alike (OpenAI pads them with ``obfuscation``) is not worth trying for longer.
_MAX_MOULDS = 16
#: What of a delta is content, in the words of OpenAI, DeepSeek (and most others), OpenRouter.
_CONTENT = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call", "audio")


class ChunkTap:
    """Reads along with one answer.

    ``usage``, ``finish_reason``, ``first_token_at`` (``time.perf_counter()``), ``upstream_model`` fill
    in on the way. ``started`` is true once a chunk was read, ``done`` once ``[DONE]`` was, or once the
    stream has ended with every one of its ``choices`` finished. With ``hide_usage`` the chunk that carries
    usage and nothing else is kept from the client, who has not asked for it.
    """

    __slots__ = (
        "_all",
        "_choices",
        "_errors",
        "_finished",
        "_hide_usage",
        "_limit",
        "_mould",
        "_moulds",
        "_pieces",
        "_request_id",
        "_room",
        "_sample",
        "_size",
        "_sse",
        "_tail",
        "done",
        "failure",
        "finish_reason",
        "first_token_at",
        "started",
        "upstream_model",
        "usage",
    )

    def __init__(
        self,
        *,
        errors: Errors,
        model: str,
        hide_usage: bool = False,
        choices: int = 1,
        usage: Usage | None = None,
        request_id: str | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._errors = errors
        self._request_id = request_id
        self._hide_usage = hide_usage
        self._choices = choices
        self._limit = max_event_bytes
        self._sse = SseParser(max_event_bytes=max_event_bytes)
        self._pieces: list[bytes] = []  # of an event whose end has not arrived
        self._size = 0
        self._all = 0  # bytes of the stream
        self._sample: list[bytes] = []  # the first of them
        self._room = SAMPLE_BYTES
        self._tail = b""  # the last bytes of _pieces: an end may be cut in two
        self._finished: set[int] = set()
        self._mould: Mould | None = None
        self._moulds = _MAX_MOULDS
        self.upstream_model = model
        self.usage = usage if usage is not None else Usage()
        self.finish_reason: str | None = None
        self.first_token_at: float | None = None
        self.started = False
        self.done = False
        self.failure: ProviderError | None = None

    def feed(self, data: bytes) -> bytes:
        """The events that ``data`` completes, for the client; ``b""`` for none."""
        size, at = len(data), 0
        self._all += size
        if self._room > 0:
            self._room -= size
            self._sample.append(data)
        if (mould := self._mould) is None or self._pieces or size > self._limit:
            return self._feed(data)
        # Run along the events that fit the mould: as a rule they are all that has arrived.
        before, after, padded, close = mould
        while data.startswith(before, at):
            end = words(data, at + len(before)).end()  # type: ignore[union-attr]  # it matches nothing, too
            if not data.startswith(after, end):
                break
            end += len(after)
            if padded:
                end = words(data, end).end()  # type: ignore[union-attr]
                if not data.startswith(close, end):
                    break
                end += len(close)
            at = end
            if at == size:
                return data if valid_utf8(data) else self._feed(data)
        if at and valid_utf8(data[:at]):
            return data[:at] + self._feed(data[at:])
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """As :meth:`feed`, for what does not fit the mould."""
        if self.done or self.failure is not None:
            return b""
        if self._pieces or not data.endswith(b"\n\n"):
            data = self._complete(data)
        if self.first_token_at is None or len(data) > self._limit or not says_nothing_special(data):
            data = self._look(data)
        elif self._moulds:
            self._moulds -= 1
            self._mould = mould_of(data) or self._mould
        if self._size > self._limit and self.failure is None:
            self._too_large()
        return data

    def said(self) -> tuple[int, int]:
        """See :class:`~providers.reply.Translator`."""
        return words_in(b"".join(self._sample), self._all)

    def failed(self, code: str, message: str) -> bytes:
        """The error event of chat completions needs nothing from here."""
        return b""

    def end(self) -> bytes:
        """The upstream has closed. That is a failure unless the answer was complete; the return value is
        the end that a client waits for, where the upstream forgot it."""
        if self.done or self.failure is not None:
            return b""
        self._mould = None
        held = b"".join(self._pieces)
        rest = held.lstrip(b"\r\n")
        self._pieces.clear()
        self.done = (
            self.started and _BARE_DONE.fullmatch(rest) is not None
            if rest
            else len(self._finished) >= self._choices
        )
        if self.done:
            usages.ended(self.usage)
        else:
            where = "in the middle of an event" if rest else "before it was complete"
            self._fail(self._malformed(f"ended its answer {where}", code="upstream_truncated"))
        blank = held[: len(held) - len(rest)]
        return blank + DONE if self.done else blank

    def _complete(self, data: bytes) -> bytes:
        """What is complete with ``data``; the rest is kept. Linear in what arrives, however it is cut."""
        seam = self._tail + data
        end = _last_end(seam)
        if end < 0:
            self._keep(data)
            self._tail = seam[-2:]
            return b""
        kept = end - len(self._tail)
        complete = b"".join((*self._pieces, data[:kept]))
        self._pieces.clear()
        self._size = 0
        self._tail = b""
        if kept < len(data):
            self._keep(data[kept:])
            self._tail = data[-2:] if len(data) - kept > 1 else data[-1:]
        return complete

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)

    def _look(self, data: bytes) -> bytes:
        """``data``, complete events, one by one: what of it is for the client."""
        out: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            match = _BLANK.match(data, position) or _END.search(data, position)
            end = match.end() if match else len(data)
            event = data[position:end]
            position = end
            if len(event) > self._limit:
                self._too_large()
            elif event.isspace():
                pass
            elif self.first_token_at is None or not says_nothing_special(event):
                try:
                    event = self._event(event)
                except ProviderError as failure:
                    self._fail(failure)
            if self.failure is not None:
                break
            out.append(event)
        return out[0] if len(out) == 1 else b"".join(out)

    def _event(self, raw: bytes) -> bytes:
        """Take note of one event; ``raw``, or ``b""`` when it is not for the client."""
        if (found := _ERROR_FIELD.search(raw)) is not None:
            raise self._errors.of_event(self._parsed(found[1]), request_id=self._request_id)
        for event in self._sse.feed(raw):
            if event.data.strip() == b"[DONE]":
                if not self.started:
                    raise self._malformed("ended its answer before it began")
                self.done = True
                usages.ended(self.usage)
                self._mould = None
                continue
            chunk = self._parsed(event.data)
            usages.note_of_chunk(self.usage, chunk)  # also of an error
            if event.event == b"error":
                raise self._errors.of_event(error_in(chunk) or chunk, request_id=self._request_id)
            if not self._chunk(chunk):
                return b""
        return raw

    def _chunk(self, chunk: dict[str, Any]) -> bool:
        """Take note of one chunk; False when it is not for the client."""
        if (error := error_in(chunk)) is not None:
            raise self._errors.of_event(error, request_id=self._request_id)
        # Why Groq has stopped early (groq SDK, XGroq.error).
        if (error := error_in(chunk.get("x_groq"))) is not None:
            raise self._errors.of_event(error, request_id=self._request_id)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return False  # an event of tomorrow: clients do not skip what they do not know, they break
        if not self.started:
            self.started = True
            usages.note_tier(self.usage, chunk.get("service_tier"))
            if isinstance(model := chunk.get("model"), str) and model:
                self.upstream_model = model
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice)
        return bool(choices) or not chunk.get("usage") or not self._hide_usage

    def _choice(self, choice: dict[str, Any]) -> None:
        if isinstance(error := choice.get("error"), dict):
            raise self._errors.of_event(error, request_id=self._request_id)
        index = choice.get("index", 0)
        reason = choice.get("finish_reason")
        # Ollama before May 2024 and SGLang wrote "" while there was none: https://github.com/ollama/ollama/issues/4357
        if isinstance(reason, str) and reason and isinstance(index, int):
            self._finished.add(index)
            if index == 0:
                self.finish_reason = reason
        if self.first_token_at is None:
            delta = choice.get("delta")
            # A completion of a text has its words in the choice itself.
            if choice.get("text") or (isinstance(delta, dict) and any(map(delta.get, _CONTENT))):
                self.first_token_at = time.perf_counter()

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except ValueError:
            raise self._malformed("sent an event that is not JSON") from None
        if not isinstance(chunk, dict):
            if (error := error_in(chunk)) is not None:
                raise self._errors.of_event(error, request_id=self._request_id)
            raise self._malformed("sent an event that is not an object")
        return chunk

    def _too_large(self) -> None:
        what = f"sent an event of more than {self._limit} bytes"
        self._fail(self._malformed(what, code="upstream_event_too_large"))

    def _fail(self, failure: ProviderError) -> None:
        self.failure = failure
        self._mould = None

    def _malformed(self, what: str, *, code: str | None = None) -> ProtocolError:
        return self._errors.malformed(what, request_id=self._request_id, code=code, stage="stream")


def _last_end(data: bytes) -> int:
    """Behind the last empty line of ``data``; -1 without one."""
    plain, crlf = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
    return max(plain + 2 if plain >= 0 else -1, crlf + 3 if crlf >= 0 else -1)
