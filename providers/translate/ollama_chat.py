"""Ollama's lines → chat-completion chunks, or one completion.

The lines are ``ChatResponse`` and ``GenerateResponse`` of
https://github.com/ollama/ollama/blob/main/api/types.go. Lines of plain text, which are nearly all of an
answer, are recognised by their exact bytes and their strings are copied; whatever is shaped differently is
parsed.
"""

from __future__ import annotations

import time
from typing import Any, Unpack
from uuid import uuid4

import orjson

from ..errors import BadRequest, ProviderError, UpstreamFailed
from ._event import Malformed
from .answer import AnswerOptions, AnswerTranslator
from .chunks import escaped
from .deltas import PlainRun, readable
from .ollama_errors import from_line
from .ollama_lines import LineBuffer, plain_lines
from .unwrap import InputUnwrapper
from .usage import counted

#: ``done_reason`` → ``finish_reason``. "load" and "unload" answer a request without messages.
FINISH_REASONS = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}


class OllamaTranslator(AnswerTranslator):
    """See :class:`~providers.translate.answer.AnswerTranslator`; an answer of ``/api/chat``. ``started`` is
    true once there is content, or the end of an answer without any; ``done`` once the line with
    ``"done":true`` was read. Further lines are ignored.
    """

    __slots__ = ("_calls", "_field", "_id", "_lines", "_plain")

    default_provider = "ollama"

    def __init__(self, **options: Unpack[AnswerOptions]) -> None:
        self._lines = LineBuffer()
        super().__init__(self._lines, **options)
        self._field = ""  # of the message, that holds the text now
        self._plain: PlainRun | None = None  # how to recognise lines that hold nothing else
        self._id = uuid4().hex
        self._calls: set[str] = set()  # their ids

    def _consume(self, data: bytes) -> None:
        position, size, lines = 0, len(data), self._lines
        while position < size and not self.done:
            if self._plain is not None and lines.idle:
                tokens, position = self._plain.read(data, position)
                if tokens:
                    self._pass(tokens)
            if position < size:
                line, position = lines.take(data, position)
                if line is not None:
                    self._line(line)

    def _pass(self, tokens: list[bytes]) -> None:
        """The texts of plain lines, of which there were others before."""
        passed, size, whole = readable(tokens)
        if passed:
            self._heard(len(passed), size)
            if self._field == "thinking":
                self._writer.reasoning(passed)
            else:
                self._text(passed)
        if not whole:
            raise Malformed("a line that is not JSON")

    def _line(self, line: bytes) -> None:
        try:
            body = orjson.loads(line)
        except ValueError:
            if line.isspace() or not line:
                return
            raise Malformed("a line that is not JSON") from None
        if not isinstance(body, dict):
            raise Malformed("a line that is not an object")
        if (error := body.get("error")) is not None:
            raise self._failed(error)
        if not self.upstream_model and isinstance(model := body.get("model"), str):
            self.upstream_model = model
        self._content(body, line)
        if body.get("done") is True:
            self._end(body)

    def _content(self, body: dict[str, Any], line: bytes) -> None:
        """What ``line``, parsed as ``body``, says."""
        message = body.get("message")
        if isinstance(message, dict):
            self._message(message, line)
        elif message is not None:
            raise Malformed("a line with a wrong message")

    def _message(self, message: dict[str, Any], line: bytes) -> None:
        # In this order: a model thinks, speaks, calls.
        if thinking := _text_of(message, "thinking"):
            self._begin_content()
            self._heard(1, len(thinking))
            self._writer.reasoning((escaped(thinking),))
            self._expect("thinking", line)
        if content := _text_of(message, "content"):
            self._begin_content()
            self._heard(1, len(content))
            self._text([escaped(content)])
            self._expect("content", line)
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                self._call(call)
        elif calls is not None:
            raise Malformed("a line with wrong tool_calls")

    def _expect(self, field: str, line: bytes) -> None:
        """More lines like ``line``, which was one of text in ``field``."""
        self._field = field
        self._plain = plain = plain_lines(line, field)
        thinks = field == "thinking"
        self._writer.expect(reasoning=thinks)
        self._express = plain.only if plain and (thinks or self._fence is None) else None

    def _call(self, call: object) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(name, str):
            raise Malformed("a tool call without its function")
        arguments = function.get("arguments")
        if arguments is None:
            arguments = {}
        elif not isinstance(arguments, dict):
            raise Malformed("a tool call whose arguments are not an object")
        try:
            json = orjson.dumps(arguments).decode()
        except TypeError:  # deeper than it writes, but not than it reads
            raise Malformed("a tool call whose arguments are nested too deeply") from None
        self._begin_content()
        self._heard(1, len(name) + len(json))
        index = len(self._calls)
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in self._calls:
            call_id = f"call_{self._id}_{index}"  # what answers it needs a name for it
        self._calls.add(call_id)
        custom = name in self._shape.custom_tools
        self._writer.call(index, call_id, self._shape.tool_names.get(name, name), custom=custom)
        if custom:
            unwrap = InputUnwrapper()
            given = unwrap.feed(json) + unwrap.close()
        else:
            given = escaped(json)
        if given:
            self._writer.arguments(index, (given,), custom=custom)

    def _begin(self) -> None:
        if not self.started:
            self.started = True
            self._writer.start(self._id, int(time.time()), self._model)

    def _begin_content(self) -> None:
        self._begin()
        self._content_begins()

    def _end(self, body: dict[str, Any]) -> None:
        self._begin()
        # Counts of zero are left out.
        prompt, written = counted(body.get("prompt_eval_count", 0)), counted(body.get("eval_count", 0))
        self.usage.input_tokens, self.usage.input_told = prompt or 0, prompt is not None
        self.usage.output_tokens, self.usage.output_told = written or 0, written is not None
        said = body.get("done_reason")
        reason = FINISH_REASONS.get(said, "stop") if isinstance(said, str) else "stop"
        self._finish("tool_calls" if self._calls else reason)

    def _failed(self, error: object) -> ProviderError:
        failure = from_line(error, provider=self._provider, model=self.upstream_model or self._model)
        if self.started and isinstance(failure, BadRequest):
            # What was accepted and half answered cannot have been a wrong request, whatever the words say.
            failure = UpstreamFailed(failure.message, provider=self._provider, stage="stream")
        failure.upstream_request_id = self._request_id
        return failure


class GenerateTranslator(OllamaTranslator):
    """An answer of ``/api/generate``: a text. Thinking has no place in it, and is left out."""

    __slots__ = ()

    def _content(self, body: dict[str, Any], line: bytes) -> None:
        if said := _text_of(body, "response"):
            self._begin_content()
            self._heard(1, len(said))
            self._text([escaped(said)])
            self._expect("response", line)


def _text_of(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"a line with a wrong {name}")
    return value
