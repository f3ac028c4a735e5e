"""The items of a Responses answer, each written as bytes around the tokens that it is made of.

Tokens are the insides of JSON strings, already escaped (:class:`~providers.types.Writer`); they are copied
into events and items and never decoded. The shapes are those of ``openai.types.responses``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import orjson

from .reasoning_blob import pack
from .responses_local import LOCAL_CALLS

#: An event: its type, and its fields as the inside of a JSON object.
Event = tuple[str, bytes]

_PROGRESS, _DONE, _CUT = b"in_progress", b"completed", b"incomplete"


class CallName(NamedTuple):
    """What the caller calls a tool: ``kind`` is the type of its calls (``function_call``,
    ``custom_tool_call``, ``shell_call``…), ``namespace`` is "" outside of any."""

    kind: str
    name: str
    namespace: str = ""


class Item(ABC):
    """One item of ``output``, being written. ``tokens`` is what it consists of so far."""

    __slots__ = ("item_id", "index", "template", "tokens", "where")  # noqa: RUF023

    #: Of the item's id.
    prefix: ClassVar[str]
    #: The event that carries a token, and the fields that stand before it. "": there is none.
    delta: ClassVar[str] = ""
    delta_fields: ClassVar[bytes] = b""

    def __init__(self, answer_id: str, index: int) -> None:
        self.item_id = orjson.dumps(f"{self.prefix}_{answer_id}_{index}")
        self.index = index
        self.where = b'"item_id":%b,"output_index":%d' % (self.item_id, index)
        self.tokens: list[bytes] = []
        #: ``template % (token, sequence_number)`` is the event of one token.
        self.template = b""
        if self.delta:
            fields = (self.where + self.delta_fields).replace(b"%", b"%%")
            self.template = sse(self.delta, fields + b',"delta":"%b"', b"%d")

    @property
    def raw(self) -> bytes:
        """All tokens, as the inside of one JSON string."""
        return b"".join(self.tokens)

    @abstractmethod
    def shell(self) -> bytes:
        """The item as it stands before its content; ``b""`` when it is told of in one piece."""

    def begun(self) -> list[Event]:
        """What comes before the first token."""
        return []

    def ended(self, raw: bytes) -> list[Event]:
        """What comes behind the last token; ``raw`` is all of them."""
        return []

    @abstractmethod
    def whole(self, raw: bytes, *, cut: bool) -> bytes:
        """The finished item. ``cut``: the answer ended before it was complete."""


class MessageItem(Item):
    """A message with one part: a text."""

    __slots__ = ()
    prefix = "msg"
    delta = "response.output_text.delta"
    delta_fields = b',"content_index":0,"logprobs":[]'
    done: ClassVar[str] = "response.output_text.done"
    field: ClassVar[bytes] = b"text"
    part: ClassVar[bytes] = b'{"type":"output_text","annotations":[],"logprobs":[],"text":"%b"}'

    def shell(self) -> bytes:
        return self._message(_PROGRESS, b"")

    def begun(self) -> list[Event]:
        return [("response.content_part.added", self._part(b""))]

    def ended(self, raw: bytes) -> list[Event]:
        text = self.where + self.delta_fields + b',"%b":"%b"' % (self.field, raw)
        return [(self.done, text), ("response.content_part.done", self._part(raw))]

    def whole(self, raw: bytes, *, cut: bool) -> bytes:
        return self._message(_CUT if cut else _DONE, self.part % raw)

    def _part(self, raw: bytes) -> bytes:
        return self.where + b',"content_index":0,"part":' + self.part % raw

    def _message(self, status: bytes, content: bytes) -> bytes:
        return b'{"id":%b,"type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self.item_id,
            status,
            content,
        )


class RefusalItem(MessageItem):
    """A message with one part: a refusal."""

    __slots__ = ()
    delta = "response.refusal.delta"
    delta_fields = b',"content_index":0'
    done = "response.refusal.done"
    field = b"refusal"
    part = b'{"type":"refusal","refusal":"%b"}'


class ReasoningItem(Item):
    """One block of thinking. Its text is the summary, the block itself ``encrypted_content``.

    ``model`` wrote it. ``signed``: only what has a signature can be given back to it as it was.
    """

    __slots__ = ("model", "redacted", "signature", "signed")
    prefix = "rs"
    delta = "response.reasoning_summary_text.delta"
    delta_fields = b',"summary_index":0'

    def __init__(self, answer_id: str, index: int, *, model: str, signed: bool) -> None:
        super().__init__(answer_id, index)
        self.model = model
        self.signed = signed
        self.signature: list[bytes] = []
        self.redacted: str | None = None

    def shell(self) -> bytes:
        return b'{"id":%b,"type":"reasoning","summary":[]}' % self.item_id

    def begun(self) -> list[Event]:
        return [("response.reasoning_summary_part.added", self._part(b""))]

    def ended(self, raw: bytes) -> list[Event]:
        if not self.tokens:
            return []
        return [
            ("response.reasoning_summary_text.done", self.where + b',"summary_index":0,"text":"%b"' % raw),
            ("response.reasoning_summary_part.done", self._part(raw)),
        ]

    def whole(self, raw: bytes, *, cut: bool) -> bytes:
        summary = b'{"type":"summary_text","text":"%b"}' % raw if self.tokens else b""
        return b'{"id":%b,"type":"reasoning","summary":[%b],"encrypted_content":%b}' % (
            self.item_id,
            summary,
            self._packed(raw),
        )

    def _part(self, raw: bytes) -> bytes:
        return self.where + b',"summary_index":0,"part":{"type":"summary_text","text":"%b"}' % raw

    def _packed(self, raw: bytes) -> bytes:
        if self.redacted is not None:
            block = b'{"type":"redacted_thinking","data":%b}' % orjson.dumps(self.redacted)
        elif self.signature:
            fields = b'"thinking":"%b","signature":"%b"' % (raw, b"".join(self.signature))
            block = b'{"type":"thinking",%b}' % fields
        elif self.signed:
            return b"null"  # it broke off before its signature
        else:
            block = b"null"  # the summary says all
        return b'"%b"' % pack(self.model, block)


class CallItem(Item):
    """A call of a function."""

    __slots__ = ("_call",)
    prefix = "fc"
    delta = "response.function_call_arguments.delta"
    done: ClassVar[str] = "response.function_call_arguments.done"
    field: ClassVar[bytes] = b"arguments"

    def __init__(self, answer_id: str, index: int, call_id: str, called: CallName) -> None:
        super().__init__(answer_id, index)
        call = {"type": called.kind, "call_id": call_id, "name": called.name}
        if called.namespace:
            call["namespace"] = called.namespace
        self._call = orjson.dumps(call)[1:-1]

    def shell(self) -> bytes:
        return self._written(_PROGRESS, b"")

    def ended(self, raw: bytes) -> list[Event]:
        return [(self.done, self.where + b',"%b":"%b"' % (self.field, raw))]

    def whole(self, raw: bytes, *, cut: bool) -> bytes:
        return self._written(_CUT if cut else _DONE, raw)

    def _written(self, status: bytes, raw: bytes) -> bytes:
        return b'{"id":%b,"status":"%b",%b,"%b":"%b"}' % (self.item_id, status, self._call, self.field, raw)


class CustomItem(CallItem):
    """A call of a custom tool, whose input is free text."""

    __slots__ = ()
    prefix = "ctc"
    delta = "response.custom_tool_call_input.delta"
    done = "response.custom_tool_call_input.done"
    field = b"input"


class LocalItem(Item):
    """A call of a tool that the client brings along and the model is told of as a function
    (:mod:`.responses_local`). It is given when it is complete."""

    __slots__ = ("_call_id", "_kind")
    prefix = "lc"

    def __init__(self, answer_id: str, index: int, call_id: str, called: CallName) -> None:
        super().__init__(answer_id, index)
        self._kind = called.kind
        self._call_id = call_id

    def shell(self) -> bytes:
        return b""

    def ended(self, raw: bytes) -> list[Event]:
        item = self._written(_PROGRESS, raw)
        return [("response.output_item.added", b'"output_index":%d,"item":%b' % (self.index, item))]

    def whole(self, raw: bytes, *, cut: bool) -> bytes:
        return self._written(_CUT if cut else _DONE, raw)

    def _written(self, status: bytes, raw: bytes) -> bytes:
        arguments: Any = None
        try:
            arguments = orjson.loads(orjson.loads(b'"%b"' % raw))
        except ValueError:
            status = _CUT  # not even JSON
        if not isinstance(arguments, dict):
            arguments = {}
        local = LOCAL_CALLS[self._kind]
        call = {
            "type": self._kind,
            "call_id": self._call_id,
            "status": status.decode(),
            local.field: local.action(arguments),
        }
        return b'{"id":%b,%b' % (self.item_id, orjson.dumps(call)[1:])


def new_call(answer_id: str, index: int, call_id: str, called: CallName) -> Item:
    """The item of a call of the tool ``called``."""
    if called.kind == "custom_tool_call":
        return CustomItem(answer_id, index, call_id, called)
    if called.kind in LOCAL_CALLS:
        return LocalItem(answer_id, index, call_id, called)
    return CallItem(answer_id, index, call_id, called)


def sse(kind: str, fields: bytes, sequence: bytes) -> bytes:
    """A server-sent event of the type ``kind``."""
    name = kind.encode()
    return b'event: %b\ndata: {"type":"%b",%b,"sequence_number":%b}\n\n' % (name, name, fields, sequence)
