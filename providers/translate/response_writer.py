"""An answer in OpenAI's Responses dialect: its events, or one ``response``.

https://developers.openai.com/api/reference/resources/responses/streaming-events. Every event has a number
of its own, and the last one holds the whole response; so all tokens are kept, and each event is a template
around one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from ..types import Usage
from .chunks import EventBuffer
from .response_items import CallName, Item, MessageItem, ReasoningItem, RefusalItem, new_call, sse

#: ``finish_reason`` → why a response is incomplete; the others are complete.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Codes of ``response.error`` that clients act upon: those of ``openai.types.responses.ResponseError`` that
#: fit a failure here, and two that OpenAI sends and Codex knows.
_CODES = frozenset(
    {"server_error", "rate_limit_exceeded", "invalid_prompt", "context_length_exceeded", "insufficient_quota"}
)


class Echo(NamedTuple):
    """What a response repeats of its request. ``fields`` is a JSON object; ``model`` is the caller's name for
    it, for a failure before the answer has begun."""

    fields: bytes = (
        b'{"instructions":null,"metadata":{},"parallel_tool_calls":true,"tool_choice":"auto","tools":[]}'
    )
    model: str = ""


_NO_ECHO = Echo()


class ResponseWriter(EventBuffer):
    """See :class:`~providers.types.Writer`.

    ``echo`` is what the response repeats of its request; ``model`` the upstream's id of the model, to which
    its thinking is bound; ``signed`` whether it signs that. ``tools`` has the tools that the caller knows
    under another name, or as another kind, than the chat that was asked.
    """

    __slots__ = (
        "_answer_id",
        "_append",
        "_calls",
        "_closed",
        "_done",
        "_echo",
        "_expected",
        "_head",
        "_last",
        "_model",
        "_number",
        "_open",
        "_signed",
        "_started",
        "_streaming",
        "_template",
        "_tools",
        "_whole",
    )

    def __init__(
        self,
        *,
        streaming: bool,
        include_usage: bool,
        legacy: bool,
        echo: Echo = _NO_ECHO,
        model: str = "",
        signed: bool = False,
        tools: Mapping[str, CallName] | None = None,
    ) -> None:
        self._streaming = streaming
        self._echo = echo
        self._model = model
        self._signed = signed
        self._tools = tools or {}
        self._started = False
        self._answer_id = ""
        self._head = self._whole = b""
        self._number = 0  # of the next event
        self._out = []
        self._done: list[bytes] = []  # finished items
        self._open: list[Item] = []  # usually one; several calls may be written side by side
        self._last: Item | None = None  # of them, if it is text or reasoning
        self._closed = False  # what is open is complete, but not yet told to be
        self._calls: dict[int, Item] = {}
        self._expected: type[Item] = MessageItem
        # For a token of the kind that is expected, while an item of that kind is open.
        self._append: Callable[[bytes], None] | None = None
        self._template = b""

    def start(self, answer_id: str, created: int, model: str) -> None:
        self._started = True
        self._answer_id = answer_id
        head = {"id": f"resp_{answer_id}", "object": "response", "created_at": created, "model": model}
        self._head = orjson.dumps(head)[:-1] + b"," + self._echo.fields[1:-1]
        if self._streaming:
            self._tell("response.created", b'"response":' + self._response("in_progress"))
            self._tell("response.in_progress", b'"response":' + self._response("in_progress"))

    def expect(self, *, reasoning: bool) -> None:
        self._expected = ReasoningItem if reasoning else MessageItem
        self._ready()

    def token(self, token: bytes) -> bytes:
        if (append := self._append) is None:
            self._write(self._expected, (token,))
            return self.take()
        append(token)
        if not self._streaming:
            return b""
        number = self._number
        self._number = number + 1
        return self._template % (token, number)

    def text(self, tokens: Sequence[bytes]) -> None:
        self._write(MessageItem, tokens)

    def reasoning(self, tokens: Sequence[bytes]) -> None:
        self._write(ReasoningItem, tokens)

    def signature(self, token: bytes) -> None:
        item = self._going_on(ReasoningItem)
        assert isinstance(item, ReasoningItem)
        item.signature.append(token)

    def redacted(self, data: str) -> None:
        self._end()
        item = self._new(ReasoningItem)
        assert isinstance(item, ReasoningItem)
        item.redacted = data
        self._end()

    def refusal(self, token: bytes) -> None:
        self._write(RefusalItem, (token,))

    def call(self, index: int, call_id: str, name: str, *, custom: bool) -> None:
        if self._closed or self._last is not None or (self._open and not self._open[-1].template):
            self._end()
        called = self._tools.get(name) or CallName("custom_tool_call" if custom else "function_call", name)
        item = new_call(self._answer_id, self._position, call_id, called)
        self._calls[index] = item
        self._add(item)

    def arguments(self, index: int, tokens: Sequence[bytes], *, custom: bool) -> None:
        self._pass(self._calls[index], tokens)

    def close(self) -> None:
        # Told when it is known what comes next: the item that the limit has cut is an incomplete one.
        self._closed = True
        self._append = None

    def finish(self, reason: str, usage: Usage) -> None:
        why = _INCOMPLETE.get(reason)
        self._end(cut=reason == "length")
        status = "completed" if why is None else "incomplete"
        self._whole = self._response(status, usage=usage, why=why)
        if self._streaming:
            self._tell(f"response.{status}", b'"response":' + self._whole)

    def failed(self, code: str, message: str) -> bytes:
        """``response.failed``: nothing else tells a client of this dialect that the answer broke off."""
        if not self._streaming:
            return b""
        if not self._started:
            self.start(uuid4().hex, int(time.time()), self._echo.model)
        self._done += [item.whole(item.raw, cut=True) for item in self._open]
        self._open, self._append = [], None
        error = {"code": code if code in _CODES else "server_error", "message": message}
        response = self._response("failed", error=orjson.dumps(error))
        self._tell("response.failed", b'"response":' + response)
        return self.take()

    def whole(self) -> dict[str, Any]:
        """See :class:`~providers.types.Writer`."""
        response: dict[str, Any] = orjson.loads(self._whole)
        return response

    @property
    def _position(self) -> int:
        """Of the next item in ``output``."""
        return len(self._done) + len(self._open)

    def _write(self, kind: type[Item], tokens: Sequence[bytes]) -> None:
        """``tokens`` of the item of this kind that is open, or of a new one."""
        self._pass(self._going_on(kind), tokens)
        self._ready()

    def _going_on(self, kind: type[Item]) -> Item:
        item = self._last
        if item is None or type(item) is not kind or self._closed:
            self._end()
            item = self._last = self._new(kind)
        return item

    def _new(self, kind: type[Item]) -> Item:
        if kind is ReasoningItem:
            item: Item = ReasoningItem(
                self._answer_id, self._position, model=self._model, signed=self._signed
            )
        else:
            item = kind(self._answer_id, self._position)
        self._add(item)
        return item

    def _add(self, item: Item) -> None:
        self._open.append(item)
        self._append = None
        if self._streaming and (shell := item.shell()):
            added = b'"output_index":%d,"item":%b' % (item.index, shell)
            self._tell("response.output_item.added", added)

    def _pass(self, item: Item, tokens: Sequence[bytes]) -> None:
        if self._streaming:
            if not item.tokens:
                self._tell_all(item.begun())
            if template := item.template:
                number, out = self._number, self._out
                for token in tokens:
                    out.append(template % (token, number))
                    number += 1
                self._number = number
        item.tokens += tokens

    def _ready(self) -> None:
        """The next token may come by the shortest way, if it continues what is open."""
        item = self._last
        if item is not None and type(item) is self._expected and item.tokens and not self._closed:
            self._append, self._template = item.tokens.append, item.template
        else:
            self._append = None

    def _end(self, *, cut: bool = False) -> None:
        """What is open is complete, or (``cut``) was when the limit was reached."""
        last = self._open[-1] if self._open else None
        for item in self._open:
            raw = item.raw
            whole = item.whole(raw, cut=cut and item is last)
            if self._streaming:
                self._tell_all(item.ended(raw))
                self._tell("response.output_item.done", b'"output_index":%d,"item":%b' % (item.index, whole))
            self._done.append(whole)
        self._open = []
        self._last = self._append = None
        self._closed = False

    def _tell_all(self, events: Sequence[tuple[str, bytes]]) -> None:
        for kind, fields in events:
            self._tell(kind, fields)

    def _tell(self, kind: str, fields: bytes) -> None:
        self._out.append(sse(kind, fields, b"%d" % self._number))
        self._number += 1

    def _response(
        self, status: str, *, usage: Usage | None = None, why: str | None = None, error: bytes = b"null"
    ) -> bytes:
        state = {
            "status": status,
            "incomplete_details": None if why is None else {"reason": why},
            "usage": None if usage is None else _usage(usage),
        }
        return b'%b,%b,"error":%b,"output":[%b]}' % (
            self._head,
            orjson.dumps(state)[1:-1],
            error,
            b",".join(self._done),
        )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }
