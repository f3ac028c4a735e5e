"""Chat-completion chunks of an upstream → the dialect of a caller who does not speak chat completions.

Chunks: https://platform.openai.com/docs/api-reference/chat-streaming, and what DeepSeek, vLLM, OpenRouter,
Mistral, Gemini and others make of them. Runs of chunks that each say a few words more, which are nearly
all of an answer, are recognised by their exact bytes (:mod:`.runs`); the rest is parsed.
A caller who does speak chat completions gets the upstream's own bytes instead (:mod:`.stream`).
"""

from __future__ import annotations

import re
import time
from typing import Any, Unpack
from uuid import uuid4

import orjson

from ..errors import ProviderError
from ..sse import MAX_EVENT_BYTES, SseParser
from ..translate._event import Malformed
from ..translate.answer import AnswerOptions, AnswerTranslator
from ..translate.chunks import escaped
from ..translate.deltas import readable
from . import usage as usages
from .chunk_calls import Call, Calls
from .delta_parts import content_in, object_in, thinking_in
from .errors import Errors, error_in
from .runs import Run, run_of

#: ``finish_reason`` of other servers → OpenAI's. Mistral's, those of Claude and Gemini behind thin proxies.
FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "SAFETY": "content_filter",
}
#: The answer did not come to its end (OpenRouter, Mistral; DeepSeek).
_BROKEN_OFF = {"error": 500, "insufficient_system_resource": 503}
_REGULAR = re.compile(rb"data: ?(\{[^\r\n]*+)(?:\n\n|\r\n\r\n)")
_END = re.compile(rb"\n\r?\n")
_NOT_OF_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
#: Runs that are begun in vain before no more are tried: a server's chunks may never look alike.
_MAX_RUNS = 16


class ChunkTranslator(AnswerTranslator):
    """See :class:`~providers.translate.answer.AnswerTranslator`. ``started`` is true once a chunk was read,
    ``done`` once ``[DONE]`` was, or once the stream has ended behind a finish reason. Only the first of
    several choices is told.

    ``errors`` makes the errors of the upstream.
    """

    __slots__ = ("_answer_id", "_calls", "_errors", "_field", "_of", "_reason", "_run", "_runs", "_sse")
    failure: ProviderError | None

    default_provider = "openai-compatible"

    def __init__(self, errors: Errors | None = None, /, **options: Unpack[AnswerOptions]) -> None:
        self._sse = _ChunkParser()
        super().__init__(self._sse, **options)
        self._errors = errors or Errors(self._provider)
        self._answer_id = uuid4().hex
        self._calls = Calls(self._writer, self._shape, self._answer_id)
        self._run: Run | None = None  # how to recognise chunks like the last one
        self._field = ""  # what they say: of a delta, or of a call
        self._of: Call | None = None
        self._runs = _MAX_RUNS
        self._reason: str | None = None

    def end(self) -> bytes:
        """See :class:`~providers.reply.Translator`."""
        if self.done or self.failure is not None:
            return b""
        try:
            if not self._sse.idle:  # behind the last event only a bare [DONE] is no broken one
                for event in self._sse.feed(b"\n\n"):
                    if event.data.strip() == b"[DONE]":
                        self._event(event.event, event.data)
            elif self._reason is not None:
                self._complete()
        except Malformed as what:
            self.failure = self._malformed(str(what))
        super().end()
        return self._writer.take()

    def _consume(self, data: bytes) -> None:
        position, size, sse = 0, len(data), self._sse
        while position < size and not self.done:
            if (run := self._run) is not None and sse.idle:
                tokens, position = run.read(data, position)
                if tokens:
                    self._runs = _MAX_RUNS
                    self._pass(tokens)
                if position == size:
                    return
            if sse.idle and (match := _REGULAR.match(data, position)) is not None:
                position = match.end()
                if len(match[1]) > MAX_EVENT_BYTES:
                    sse.feed(match[0])  # it refuses
                self._event(b"message", match[1], match[0])
            else:
                # The parser is idle behind the end of an event, and runs can be looked for again.
                found = _END.search(data, position)
                end = found.end() if found is not None else size
                for event in sse.feed(data[position:end]):
                    self._event(event.event, event.data)
                position = end

    def _pass(self, tokens: list[bytes]) -> None:
        """The words of chunks of the run."""
        passed, size, whole = readable(tokens)
        if passed:
            self._heard(len(passed), size)
            if self._of is not None:
                self._calls.more(self._of, passed)
            elif self._field == "content":
                self._text(passed)
            else:
                self._writer.reasoning(passed)
        if not whole:
            raise Malformed("an event that is not JSON")

    def _event(self, name: bytes, data: bytes, raw: bytes = b"") -> None:
        """``raw``: the whole of the event, if it is written as usual."""
        if self.done:
            return
        if data.strip() == b"[DONE]":
            if not self.started:
                raise Malformed("the end of an answer that has not begun")
            self._complete()
            return
        try:
            chunk = orjson.loads(data)
        except ValueError:
            raise Malformed("an event that is not JSON") from None
        if isinstance(chunk, dict):
            usages.note_of_chunk(self.usage, chunk)  # also of an error
        error = error_in(chunk)
        if error is not None or name == b"error":
            raise self._errors.of_event(error or object_in(chunk), request_id=self._request_id)
        if not isinstance(chunk, dict):
            raise Malformed("an event that is not an object")
        self._chunk(chunk, raw)

    def _chunk(self, chunk: dict[str, Any], raw: bytes) -> None:
        if (error := error_in(chunk.get("x_groq"))) is not None:  # Groq's reason to stop early
            raise self._errors.of_event(error, request_id=self._request_id)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return  # an event of tomorrow
        if not self.started:
            self._start(chunk)
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                plain = self._choice(choice)
                if plain is not None and raw and not chunk.get("usage") and len(choices) == 1 and self._runs:
                    self._begin_run(raw, *plain)

    def _start(self, chunk: dict[str, Any]) -> None:
        self.started = True
        usages.note_tier(self.usage, chunk.get("service_tier"))
        if isinstance(model := chunk.get("model"), str) and model:
            self.upstream_model = model
        if isinstance(answer_id := chunk.get("id"), str):
            known = _NOT_OF_AN_ID.sub("", answer_id.removeprefix("chatcmpl-"))[:64]
            self._answer_id = self._calls.answer_id = known or self._answer_id
        created = chunk.get("created")
        seconds = created if type(created) is int and created > 0 else int(time.time())
        self._writer.start(self._answer_id, seconds, self._model)

    def _choice(self, choice: dict[str, Any]) -> tuple[str, str, Call | None] | None:
        """Tell the client what ``choice`` says. If that is only one thing and nothing of the answer's end:
        the field that says it, what it says, and of which call."""
        if isinstance(error := choice.get("error"), dict):
            raise self._errors.of_event(error, request_id=self._request_id)
        delta = object_in(choice.get("delta"))
        plain: list[tuple[str, str, Call | None] | None] = []
        field, thought = thinking_in(delta)
        said, more = content_in(delta.get("content"))
        if thought or more:
            self._leave_run()
            self._heard(1, len(thought) + len(more))
            self._writer.reasoning([escaped(part) for part in (thought, more) if part])
            plain.append((field, thought, None) if thought and not more else None)
        if said:
            self._leave_run()
            self._heard(1, len(said))
            self._text([escaped(said)])
            plain.append(("content", said, None) if isinstance(delta["content"], str) else None)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._leave_run()
            self._writer.refusal(escaped(refusal))
            plain.append(None)
        if (pieces := delta.get("tool_calls")) and isinstance(pieces, list):
            self._leave_run()
            found = self._calls.add(pieces)
            self._heard(1, len(found[2]) if found is not None else 0)
            plain.append((found[1], found[2], found[0]) if found is not None else None)
        elif isinstance(function := delta.get("function_call"), dict):
            self._leave_run()
            self._calls.add_legacy(function)
            plain.append(None)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._ends(reason)
            return None
        return plain[0] if len(plain) == 1 else None

    def _leave_run(self) -> None:
        """There is content, and as far as is known it is of another kind than before."""
        self._content_begins()
        self._run = self._express = None

    def _begin_run(self, raw: bytes, field: str, said: str, call: Call | None) -> None:
        self._run = run = run_of(raw, field, said) if field else None
        if run is None:
            return
        self._runs -= 1
        self._field, self._of = field, call
        if call is None:
            thinks = field != "content"
            self._writer.expect(reasoning=thinks)
            self._express = run.only if thinks or self._fence is None else None

    def _ends(self, reason: str) -> None:
        if (status := _BROKEN_OFF.get(reason)) is not None:
            said = f"The upstream could not finish its answer ({reason})."
            raise self._errors.of_event({"code": status, "message": said}, request_id=self._request_id)
        self._reason = reason

    def _complete(self) -> None:
        self._run = self._express = None
        usages.ended(self.usage)
        self._calls.finish()
        reason = FINISH_REASONS.get(self._reason or "stop", "stop")
        # Gemini and some servers of local models say "stop" behind calls; a client would not make them.
        if reason in ("stop", "tool_calls"):
            reason = "tool_calls" if self._calls else "stop"
        self._finish(reason)


class _ChunkParser(SseParser):
    """Knows the errors of llama.cpp before July 2025 too: a field of their own, ``error: {…}``."""

    __slots__ = ()

    def _field(self, line: bytes) -> None:
        if line.startswith(b"error: {"):
            self._event = b"error"
            line = b"data" + line.removeprefix(b"error")
        super()._field(line)
