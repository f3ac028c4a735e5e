"""The two ways in which an answer leaves: as chat-completion chunks, or as one completion.

Both writers are given *tokens*: the insides of JSON strings, already escaped, as the upstream wrote
them. A chunk is a checked template around such a token, which is several times cheaper than parsing
and dumping it again; a completion decodes each text once, at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..types import Usage, Writer
from .usage import to_openai


def escaped(text: str) -> bytes:
    """``text`` as the inside of a JSON string. Raises ``TypeError`` on a lone surrogate."""
    return orjson.dumps(text)[1:-1]


def unescaped(tokens: Sequence[bytes]) -> str:
    """The text of consecutive tokens."""
    text: str = orjson.loads(b'"' + b"".join(tokens) + b'"')
    return text


def chat_writer(*, streaming: bool, include_usage: bool, legacy: bool) -> Writer:
    """See :class:`~providers.types.NewWriter`."""
    if streaming:
        return ChunkWriter(include_usage=include_usage, legacy=legacy)
    return CompletionWriter(legacy=legacy)


class EventBuffer:
    """What the writer of a stream has written since it was last asked. A base class, because a call more for
    each read would cost more than it is worth."""

    __slots__ = ("_out",)
    _out: list[bytes]

    def take(self) -> bytes:
        """See :class:`~providers.types.Writer`."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data


class ChunkWriter(EventBuffer):
    """Chat-completion chunks as server-sent events, ending with ``data: [DONE]``."""

    __slots__ = (
        "_content",
        "_head",
        "_include_usage",
        "_legacy",
        "_prefix",
        "_single",
        "_tail",
        "_templates",
    )

    def __init__(self, *, include_usage: bool, legacy: bool) -> None:
        self._include_usage = include_usage
        self._legacy = legacy
        self._out = []
        self._prefix = b""
        self._content = self._single = (b"", b"", b"")
        self._head = b""
        # With include_usage, every chunk but the last carries a null.
        null = b',"usage":null' if include_usage else b""
        self._tail = b'},"logprobs":null,"finish_reason":null}]' + null + b"}\n\n"
        self._templates: dict[tuple[str, int], tuple[bytes, bytes, bytes]] = {}

    def start(self, answer_id: str, created: int, model: str) -> None:
        completion_id = f"chatcmpl-{answer_id}"
        fixed = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._prefix = b"data: " + orjson.dumps(fixed)[:-1] + b',"choices":['
        self._head = self._prefix + b'{"index":0,"delta":{'
        self._content = self._single = self._template("content", 0)
        self._delta(b'"role":"assistant","content":""')

    def expect(self, *, reasoning: bool) -> None:
        self._single = self._known("reasoning_content", 0) if reasoning else self._content

    def token(self, token: bytes) -> bytes:
        opening, _, closing = self._single
        return opening + token + closing

    def text(self, tokens: Sequence[bytes]) -> None:
        opening, between, closing = self._content
        self._out += (opening, between.join(tokens), closing)

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._splice("reasoning_content", 0, tokens)

    def refusal(self, token: bytes) -> None:
        self._splice("refusal", 0, (token,))

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        if self._legacy:
            if index == 0:
                self._delta(b'"function_call":' + orjson.dumps({"name": name, "arguments": ""}))
            return
        kind, field = ("custom", "input") if custom else ("function", "arguments")
        call = {"index": index, "id": call_id, "type": kind, kind: {"name": name, field: ""}}
        self._delta(b'"tool_calls":' + orjson.dumps([call]))

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        if not self._legacy:
            self._splice("input" if custom else "arguments", index, tokens)
        elif index == 0:
            self._splice("function_call", 0, tokens)

    def finish(self, reason: str, usage: Usage) -> None:
        null = b',"usage":null' if self._include_usage else b""
        self._out.append(
            self._head + b'},"logprobs":null,"finish_reason":"' + reason.encode() + b'"}]' + null + b"}\n\n"
        )
        if self._include_usage:
            self._out.append(self._prefix + b'],"usage":' + orjson.dumps(to_openai(usage)) + b"}\n\n")
        self._out.append(b"data: [DONE]\n\n")

    def signature(self, token: bytes) -> None:
        """Chat completions have no place for it."""

    def redacted(self, data: str) -> None:
        """Nor for this."""

    def close(self) -> None:
        """Parts of one kind are one text here."""

    def failed(self, code: str, message: str) -> bytes:
        """The error event needs nothing from here."""
        return b""

    def whole(self) -> dict[str, Any]:
        """Chunks are given as they come and are not kept."""
        raise RuntimeError("this answer was asked for as a stream")

    def _delta(self, fields: bytes) -> None:
        self._out.append(self._head + fields + self._tail)

    def _splice(self, field: str, index: int, tokens: Sequence[bytes]) -> None:
        """One chunk for each token."""
        opening, between, closing = self._known(field, index)
        self._out += (opening, between.join(tokens), closing)

    def _known(self, field: str, index: int) -> tuple[bytes, bytes, bytes]:
        key = (field, index)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._template(field, index)
        return template

    def _template(self, field: str, index: int) -> tuple[bytes, bytes, bytes]:
        """``(before a token, between two, behind one)`` for a run of chunks."""
        match field:
            case "arguments":
                before, after = b'"tool_calls":[{"index":%d,"function":{"arguments":"' % index, b'"}}]'
            case "input":
                before, after = b'"tool_calls":[{"index":%d,"custom":{"input":"' % index, b'"}}]'
            case "function_call":
                before, after = b'"function_call":{"arguments":"', b'"}'
            case _:
                before, after = b'"%s":"' % field.encode(), b'"'
        opening, closing = self._head + before, after + self._tail
        return opening, closing + opening, closing


class CompletionWriter:
    """One ``chat.completion`` object."""

    __slots__ = (
        "_calls",
        "_head",
        "_legacy",
        "_reason",
        "_reasoning",
        "_refusal",
        "_single",
        "_text",
        "_usage",
    )

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._head: dict[str, Any] = {}
        self._text: list[bytes] = []
        self._reasoning: list[bytes] = []
        self._single = self._text
        self._refusal: list[bytes] = []
        self._calls: list[tuple[str, str, bool, list[bytes]]] = []
        self._reason = "stop"
        self._usage: dict[str, Any] = {}

    def start(self, answer_id: str, created: int, model: str) -> None:
        completion_id = f"chatcmpl-{answer_id}"
        self._head = {"id": completion_id, "object": "chat.completion", "created": created, "model": model}

    def expect(self, *, reasoning: bool) -> None:
        self._single = self._reasoning if reasoning else self._text

    def token(self, token: bytes) -> bytes:
        self._single.append(token)
        return b""

    def text(self, tokens: Sequence[bytes]) -> None:
        self._text += tokens

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._reasoning += tokens

    def refusal(self, token: bytes) -> None:
        self._refusal.append(token)

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        self._calls.append((call_id, name, custom, []))

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        self._calls[index][3].extend(tokens)

    def finish(self, reason: str, usage: Usage) -> None:
        self._reason = reason
        self._usage = to_openai(usage)

    def signature(self, token: bytes) -> None:
        """Chat completions have no place for it."""

    def redacted(self, data: str) -> None:
        """Nor for this."""

    def close(self) -> None:
        """Parts of one kind are one text here."""

    def failed(self, code: str, message: str) -> bytes:
        """The error event needs nothing from here."""
        return b""

    def take(self) -> bytes:
        return b""

    def whole(self) -> dict[str, Any]:
        """See :class:`~providers.types.Writer`."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": unescaped(self._text) if self._text or not self._calls else None,
            "refusal": unescaped(self._refusal) if self._refusal else None,
        }
        if self._reasoning:
            message["reasoning_content"] = unescaped(self._reasoning)
        if self._calls and self._legacy:
            _, name, _, tokens = self._calls[0]
            message["function_call"] = {"name": name, "arguments": unescaped(tokens)}
        elif self._calls:
            message["tool_calls"] = [_call_object(*call) for call in self._calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        return {**self._head, "choices": [choice], "usage": self._usage}


def _call_object(call_id: str, name: str, custom: bool, tokens: list[bytes]) -> dict[str, Any]:
    given = unescaped(tokens)
    if custom:
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": given}}
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}
