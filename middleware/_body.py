"""The request body, read once and parsed once, shared by every middleware that wants it.

``scope, receive, body = await read_body(scope, receive)`` drains the body on the first call and leaves
a :class:`Body` in ``scope["state"]["gateway.body"]``. The Body *is* the ``receive`` that is passed on:
the next reader finds that the ``receive`` it was given is the Body of the state and reuses it, parsed
value and all. When a stranger's middleware wraps ``receive`` in between (it may rewrite the body), the
two differ and the body is read afresh through the wrapper.

A rewrite replaces the parsed value; bytes are made from it at most once, and only when somebody reads
them. An application that takes the value from the scope never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from ._asgi import Message, Receive, Scope, with_state
from ._reject import Rejection
from ._state import BODY

#: Deeper nesting than this is refused. orjson reads 1024 levels but writes only 254, and whoever
#: walks a request recursively has to be able to rely on some bound.
MAX_DEPTH = 200

#: Bodies up to this size are first searched for brackets, and up to so many (see :func:`parse`).
_SEARCH_BELOW = 16 * 1024
_FEW_BRACKETS = 24

#: Digits of a ``content-length`` that are read at all: int() refuses thousands with an error of its own.
MAX_DIGITS = 18

_Bytes = bytes  # inside the class ``bytes`` is a method
_UNPARSED: Any = object()


class ClientDisconnected(Exception):
    """The client left before its body had arrived. Whoever catches it stops without an answer."""


class BodyError(ValueError):
    """The body is not what it has to be; the message says what and where, and quotes nothing."""

    def rejection(self) -> Rejection:
        """The 400 that says so."""
        return Rejection(400, str(self), code="invalid_json")


class Body:
    """The body of one request, and the ``receive`` that hands it on.

    ``raw`` is what the client sent. ``replaced`` is true once :meth:`replace` has been called.
    """

    __slots__ = ("_bytes", "_delivered", "_next", "_value", "raw", "replaced")

    def __init__(self, raw: _Bytes, receive: Receive) -> None:
        self.raw = raw
        self.replaced = False
        self._bytes: _Bytes | None = raw
        self._value: Any = _UNPARSED
        self._delivered = False
        self._next = receive

    async def __call__(self) -> Message:
        """``receive``: the whole body in one message, then whatever the server says."""
        if self._delivered:
            while (message := await self._next())["type"] == "http.request":
                pass  # the empty end of a body that was complete before it (see _drain)
            return message
        self._delivered = True
        return {"type": "http.request", "body": self.bytes(), "more_body": False}

    @property
    def receive(self) -> Receive:
        """The ``receive`` to pass on: this object. (A bound method kept in a slot would be a
        reference cycle, and megabytes would wait for the garbage collector.)"""
        return self

    def json(self) -> Any:
        """The parsed body, shared with every other reader: read it, never change it.

        Raises :class:`BodyError`.
        """
        if self._value is _UNPARSED:
            self._value = parse(self.raw)
        return self._value

    def json_object(self) -> dict[str, Any]:
        """:meth:`json`, which has to be an object. Raises :class:`BodyError`."""
        value = self.json()
        if not isinstance(value, dict):
            raise BodyError("The request body must be a JSON object.")
        return value

    def bytes(self) -> _Bytes:
        """The body as it is now: what the client sent, or the replaced value written out (once)."""
        if self._bytes is None:
            self._bytes = orjson.dumps(self._value)
        return self._bytes

    def replace(self, scope: Scope, value: Any) -> Scope:
        """Put ``value`` in the body's place and return the scope to pass on.

        That scope announces a body of unknown length (``transfer-encoding: chunked`` instead of
        ``content-length``), as a server does for a body it de-chunks: the new length would be known
        only after the bytes that nobody may ever ask for have been made.
        """
        self.replaced = True
        self._value = value
        self._bytes = None
        kept = [(k, v) for k, v in scope["headers"] if k != b"content-length"]
        if len(kept) == len(scope["headers"]):
            return scope
        if scope.get("http_version", "1.1").startswith("1"):
            kept.append((b"transfer-encoding", b"chunked"))
        return {**scope, "headers": kept}


async def read_body(
    scope: Scope, receive: Receive, *, on_chunk: Callable[[int], None] | None = None
) -> tuple[Scope, Receive, Body]:
    """Read the whole body, or find it read. Pass the returned scope and receive to the app below.

    ``on_chunk`` hears how many bytes have arrived after each message of a body that is really being
    read, and may raise to stop the reading. Raises :class:`ClientDisconnected`.
    """
    scope, state = with_state(scope)
    body: Body | None = state.get(BODY)
    if body is None or body is not receive:
        length = _announced(scope)
        body = state[BODY] = Body(await _drain(receive, on_chunk, length), receive)
    return scope, body.receive, body


def _announced(scope: Scope) -> int:
    """The ``content-length`` of a request whose body has one, else -1."""
    length = -1
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() and len(value) <= MAX_DIGITS and length < 0 else -1
        elif name == b"transfer-encoding":
            return -1
    return length


async def _drain(receive: Receive, on_chunk: Callable[[int], None] | None, length: int) -> bytes:
    """The body up to its announced ``length`` (-1: unknown). Granian sends the end as an empty message
    of its own: not asking for it spares two thread switches a request."""
    whole: bytes | bytearray = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        if not whole:
            whole = chunk
        elif chunk:
            # A bytearray, not a list to be joined: a body sent byte by byte stays its own size.
            if not isinstance(whole, bytearray):
                whole = bytearray(whole)
            whole += chunk
        if on_chunk is not None:
            on_chunk(len(whole))
        if not message.get("more_body", False) or len(whole) == length:
            return bytes(whole)


def parse(raw: bytes) -> Any:
    """Parse strict JSON. Raises :class:`BodyError`.

    orjson refuses NaN, Infinity, 1e999, invalid UTF-8, a byte order mark and lone surrogates by
    itself. Of a repeated key the last value counts, so an application for which that matters must
    send on the parsed value, not the client's bytes. ``\\u0000`` is legal JSON and legal here.

    Depth: a body with a handful of brackets cannot be deep, and finding those is nearly free (2 KB of
    text: 0.7 µs, where counting all of its brackets took 2.5). Any other is tested in full (100 KB: 57 µs
    beside 101 µs of parsing; 2 MB: 0.9 ms beside 3.3).
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BodyError(_complaint(raw, error)) from None
    if _has_many_brackets(raw) and _too_deep(value):
        raise BodyError(f"The request body is nested deeper than {MAX_DEPTH} levels.")
    return value


def _has_many_brackets(raw: bytes) -> bool:
    if len(raw) > _SEARCH_BELOW:
        return True
    left = _FEW_BRACKETS
    for bracket in (b"{", b"["):
        at = raw.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = raw.find(bracket, at + 1)
    return False


def _complaint(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if not raw:
        return "The request body is empty; JSON was expected."
    try:
        raw.decode()
    except UnicodeDecodeError as bad:  # orjson says only that, not where
        return f"The request body is not valid UTF-8 (byte {bad.start})."
    return f"The request body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."


_ORJSON_WRITES = 254
_PLACE = object()
_nest: list[Any] = [_PLACE]
for _ in range(_ORJSON_WRITES - MAX_DEPTH - 1):
    _nest = [_nest]


def _too_deep(value: Any) -> bool:
    """Whether ``value`` has more than ``MAX_DEPTH`` levels.

    orjson refuses to write more than 254, in C and in linear time; inside 54 lists of ours that
    becomes 200. A parsed value gives it no other reason to refuse.
    """
    try:
        orjson.dumps(_nest, default=lambda _: value)
    except orjson.JSONEncodeError:
        return True
    return False
