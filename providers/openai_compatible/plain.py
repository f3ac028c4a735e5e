"""Chunks that need not be looked at: the ones that say a few words more, nearly all of an answer.

They are recognised by what they do *not* contain, without parsing: inside a JSON string a quote stands
escaped, so that ``"error"`` as a name or a value cannot be found in what a model says.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Events in the usual form whose data at least begins and ends like an object. Possessive: no way back.
_REGULAR = re.compile(rb"(?:data: ?+\{.*+(?<=\})\n\n)++")
#: The same by servers that end lines with CRLF, as sse-starlette does unless it is told otherwise.
_REGULAR_CRLF = re.compile(rb"(?:data: ?+\{[^\r\n]*+(?<=\})\r\n\r\n)++")
_SAID = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments|text)": ?"([^"\\\n]*+)"')
_PADDING = re.compile(rb'"obfuscation": ?"([^"\\\n]*+)"')


def says_nothing_special(events: bytes) -> bool:
    """Whether ``events``, complete ones, are chunks that have choices, and no finish reason, usage or error.
    False may also mean "not sure"."""
    if (
        (_REGULAR if b"\r" not in events else _REGULAR_CRLF).fullmatch(events) is None
        or b'"error"' in events
        or not _all(events, b'"choices"', b"[", events.count(b"\n") // 2)
        or not _all(events, b'"finish_reason"', b"null", events.count(b'"finish_reason"'))
        or (b'"usage"' in events and not _all(events, b'"usage"', b"null", events.count(b'"usage"')))
    ):
        return False
    return valid_utf8(events)


def _all(events: bytes, name: bytes, value: bytes, times: int) -> bool:
    """Whether ``name`` has that value, or one that begins so, as often as it should."""
    return events.count(name + b":" + value) == times or events.count(name + b": " + value) == times


def valid_utf8(data: bytes) -> bool:
    """Whether ``data`` is UTF-8 from its first byte to its last."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Mould(NamedTuple):
    """The bytes around the words of one chunk. Most servers write the next ones with the very same around
    them: an event that is ``before``, :data:`words`, ``after`` is plain. To see that costs a fraction of
    :func:`says_nothing_special`. ``padded``: behind ``after`` come further words, of ``obfuscation``
    (https://platform.openai.com/docs/api-reference/chat-streaming), and ``end``."""

    before: bytes
    after: bytes
    padded: bool
    end: bytes


#: ``words(data, at)`` matches the inside of a JSON string from ``at`` on, as far as it goes.
words = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*+').match


def mould_of(events: bytes) -> Mould | None:
    """The mould of the last of ``events``, of which :func:`says_nothing_special` is true; None when its
    words are not found at a glance."""
    event = events[events.rfind(b"\ndata:", 0, -1) + 1 :]
    if (said := _SAID.search(event)) is None:
        return None
    before, after = event[: said.start(1)], event[said.end(1) :]
    if (padding := _PADDING.search(after)) is None:
        return Mould(before, after, False, b"")
    return Mould(before, after[: padding.start(1)], True, after[padding.end(1) :])
