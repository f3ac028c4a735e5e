"""Ollama's lines: put together from bytes cut anywhere, and recognised by their exact bytes."""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import ProtocolError
from ..sse import MAX_EVENT_BYTES
from .deltas import PlainRun

#: How a line begins as Go writes ``ChatResponse``; models that run elsewhere have a ``remote_model``.
_SIMPLE = rb'"[ !#-\[\]-~]*+"'
_HEAD = re.compile(
    rb'\{"model":%b(?:,"remote_model":%b)?+(?:,"remote_host":%b)?+,"created_at":"'
    % (_SIMPLE, _SIMPLE, _SIMPLE)
)
#: RFC 3339, as long as the fraction of its seconds happens to be.
_TIME = rb"[0-9TZ:.+-]*+"
_TAIL = b'"},"done":false}\n'
#: What stands between the time and the text, and behind it, by the field that holds it: of the ``message`` of
#: ``/api/chat``, of the line itself for ``/api/generate``.
_AROUND = {
    "content": (b'","message":{"role":"assistant","content":"', _TAIL),
    "thinking": (b'","message":{"role":"assistant","content":"","thinking":"', _TAIL),
    "response": (b'","response":"', b'","done":false}\n'),
}


def plain_lines(line: bytes, field: str) -> PlainRun | None:
    """Finds lines like ``line`` that say nothing but the text of ``field``, by their exact bytes; None
    when ``line`` is not written as Ollama writes it."""
    head = _HEAD.match(line)
    return _plain_lines(head[0], field) if head is not None else None


@lru_cache(maxsize=128)
def _plain_lines(head: bytes, field: str) -> PlainRun:
    before, behind = _AROUND[field]
    return PlainRun(re.escape(head) + _TIME + re.escape(before), re.escape(behind))


class LineBuffer:
    """Gives one line after the other, without its end (``\\n``).

    What stands behind the last end of a line when the stream ends is not a line and is dropped.
    """

    __slots__ = ("_limit", "_pieces", "_size", "idle")

    def __init__(self, *, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_line_bytes
        self._pieces: list[bytes] = []  # of a line whose end has not arrived
        self._size = 0  # bytes in them
        #: True between two lines: nothing of the next one has arrived.
        self.idle = True

    def take(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        """The line that ends first in ``data`` from ``position``, and where the next one begins. Without
        one, None, and the rest is kept. Raises ``ProtocolError`` on a line too large."""
        end = data.find(b"\n", position)
        piece = data[position : end if end >= 0 else None]
        self._size += len(piece)
        if self._size > self._limit:
            raise ProtocolError(
                f"The upstream sent a line of more than {self._limit} bytes.", code="upstream_event_too_large"
            )
        if end < 0:
            self._pieces.append(piece)
            self.idle = False
            return None, len(data)
        if not self.idle:
            piece = b"".join((*self._pieces, piece))
            self._pieces.clear()
            self.idle = True
        self._size = 0
        return piece, end + 1
