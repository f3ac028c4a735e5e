"""Server-sent events, read incrementally from bytes.

The algorithm of https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6), except that
values stay bytes: whoever reads them parses JSON, which checks UTF-8 on its own. Events that stand in
the input as ``event: x\\ndata: …\\n\\n``, as Anthropic writes them, take a shorter way.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import ProtocolError

#: One event of an upstream is a few hundred bytes; whole tool results of server tools reach megabytes.
MAX_EVENT_BYTES = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
#: A carriage return in the data ends a line too, but a dot is much faster than a class of characters.
_REGULAR = re.compile(rb"event: ([^\r\n]++)\ndata: (.++)\n\n")


class Event(NamedTuple):
    """One dispatched event; ``event`` is ``b"message"`` when the stream named none."""

    event: bytes
    data: bytes


class SseParser:
    """Feed it bytes cut anywhere; it returns the events that they complete.

    What stands after the last blank line when the stream ends is not an event and is dropped.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_event",
        "_held",
        "_limit",
        "_line",
        "idle",
        "last_event_id",
        "retry",
    )

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line whose end has not arrived
        self._data: list[bytes] = []
        self._event = b""
        self._held = 0  # bytes in _line and _data
        self._after_cr = False
        self._at_start = True
        #: True between two events: nothing of the next one has arrived.
        self.idle = True
        self.last_event_id = b""
        #: Reconnection time in milliseconds that the stream asked for, if it did.
        self.retry: int | None = None

    def regular(self, data: bytes, position: int) -> re.Match[bytes] | None:
        """The event at ``position`` of ``data``, if the parser is idle and all of one stands there in
        the usual form: ``match[1]`` is its name, ``match[2]`` its data. It is then taken: go on behind
        ``match.end()``. Raises ``ProtocolError`` on one too large."""
        if not self.idle or (match := _REGULAR.match(data, position)) is None or b"\r" in match[2]:
            return None
        self._at_start = False
        if match.end() - position > self._limit:
            self._refuse()
        return match

    def feed(self, data: bytes) -> list[Event]:
        """The events completed by ``data``, in order. Raises ``ProtocolError`` on one too large."""
        events: list[Event] = []
        position = 0
        while (match := self.regular(data, position)) is not None:
            position = match.end()
            events.append(Event(match[1], match[2]))
        if position < len(data):
            self._irregular(data[position:] if position else data, events)
        return events

    def _irregular(self, data: bytes, events: list[Event]) -> None:
        if not self._at_start or (data := self._strip_bom(data)):
            self._slow(data, events)
        self.idle = not (self._held or self._event or self._line or self._data or self._after_cr)

    def _strip_bom(self, data: bytes) -> bytes:
        """``data`` without a leading byte order mark, which may arrive in pieces."""
        data = b"".join((*self._line, data))
        self._line.clear()
        self._held = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            if data:
                self._line.append(data)
                self._held = len(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _slow(self, data: bytes, events: list[Event]) -> None:
        if self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")  # the second half of a CRLF that was cut in two
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._line:
                self._held -= sum(map(len, self._line))
                lines[0] = b"".join((*self._line, lines[0]))
                self._line.clear()
            for line in lines:
                if line:
                    self._field(line)
                else:
                    self._dispatch(events)
        if rest:
            self._line.append(rest)
            self._held += len(rest)
            if self._held > self._limit:
                self._refuse()

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._held += len(value) + 1
            if self._held > self._limit:
                self._refuse()
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self.last_event_id = value
        elif name == b"retry" and value.isdigit():
            self.retry = int(value[:18])

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(self._event or b"message", b"\n".join(self._data)))
            self._data.clear()
            self._held = 0
        self._event = b""

    def _refuse(self) -> None:
        raise ProtocolError(
            f"The upstream sent an event of more than {self._limit} bytes.", code="upstream_event_too_large"
        )
