"""What the simulated upstream would send a bill for: one line for each request that asks a model.

What was finished costs what its usage says. What broke off, or was left by its client, costs its input and
the tokens that were handed to the socket by then, counted in those very bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from providers.simulated.synthesis import pieces

if TYPE_CHECKING:
    from .ledger import Received
    from .program import Program

#: Lines that are kept; the oldest half goes when there are more.
MAX_LINES = 400_000
#: Of no answer that has begun.
NOTHING = -1
#: Paths where models are asked.
_ASKS = re.compile(
    r"(?:/v1/messages|/v1/(?:chat/)?completions|/v1/embeddings|/api/(?:chat|generate|embed)"
    r"|/(?!count-tokens)[^/]+:(?:streamR|r)awPredict)(?:\?|$)"
)
#: Requests say which they are by ``[tag …]`` in their text, whatever dialect they went through.
_TAG = b"[tag "
_MAX_TAG = 64
#: Tokens that a tool's name and a thinking block's frame are (:mod:`providers.simulated.replies`).
_CALL_TOKENS, _THINKING_TOKENS = 8, 4
_WORDS = frozenset(
    ("text", "thinking", "partial_json", "content", "reasoning_content", "arguments", "input", "response")
)


class Bill(NamedTuple):
    """Tokens of an answer that is given whole; classes are disjoint, ``reasoning`` is part of ``output``.
    ``geo``: where Claude has computed it, which decides the price of each of them."""

    model: str
    input: int
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    geo: str = ""


class Line(NamedTuple):
    """One request. ``outcome``: ``finished``; ``aborted`` by its client; ``failed``, the upstream broke it
    off; ``unanswered``, not a byte was said; ``refused``, an error was all that was said."""

    request_id: str
    tag: str
    path: str
    status: int
    stream: bool
    outcome: str
    bill: Bill


class Bills:
    """The lines in the order in which their requests ended, numbered from 0."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._forgotten = 0

    def __len__(self) -> int:
        return self._forgotten + len(self._lines)

    def since(self, number: int) -> Iterator[Line]:
        """The lines from ``number`` on, as far as they are kept."""
        return iter(self._lines[max(number - self._forgotten, 0) :])

    def json_lines(self, after: int) -> bytes:
        """The lines from number ``after`` on, one JSON object each."""
        rows = (
            {**line._asdict(), **line.bill._asdict(), "number": number}
            for number, line in enumerate(self.since(after), max(after, self._forgotten))
        )
        return b"".join(orjson.dumps({k: v for k, v in row.items() if k != "bill"}) + b"\n" for row in rows)

    def add(self, received: Received, program: Program, *, left: bool) -> None:
        """``received`` is over, answered by ``program``; ``left``: its client went before the end."""
        bill = program.bill
        if bill is None:
            if not _ASKS.search(received.path) or received.method != "POST":
                return
            bill = Bill("", 0)
        stream = b"event-stream" in program.head or b"x-ndjson" in program.head
        written = received.bytes_written if program.head.startswith(b"HTTP/") else 0
        sent = tokens_sent(program, written) if stream and (left or program.broken) else None
        if program.bill is None or program.status >= 400 or sent == NOTHING:
            outcome, bill = "refused", Bill(bill.model, 0)
        elif not written:
            # Who is left waiting has read the request; who closes without a word has not looked at it.
            outcome = "unanswered"
            bill = bill._replace(output=0, reasoning=0) if left else Bill(bill.model, 0)
        elif left or program.broken:
            outcome = "aborted" if left else "failed"
            if sent is not None and sent < bill.output:
                bill = bill._replace(output=sent, reasoning=min(bill.reasoning, sent))
        else:
            outcome = "finished"
        self._lines.append(
            Line(
                received.request_id,
                _tag_of(received.raw),
                received.path,
                program.status,
                stream,
                outcome,
                bill,
            )
        )
        if len(self._lines) > MAX_LINES:
            del self._lines[: MAX_LINES // 2]
            self._forgotten += MAX_LINES // 2

    def clear(self) -> None:
        self._lines.clear()
        self._forgotten = 0


def _tag_of(raw: bytes) -> str:
    """The last tag: those before it are of earlier turns."""
    at = raw.rfind(_TAG)
    if at < 0:
        return ""
    at += len(_TAG)
    end = raw.find(b"]", at, at + _MAX_TAG)
    return raw[at:end].decode("ascii", "replace") if end > 0 else ""


def tokens_sent(program: Program, written: int) -> int | None:
    """Tokens in the events that the first ``written`` bytes of ``program`` complete; None when its usage has
    been told, which is behind the last of them; ``NOTHING`` when an error is all that was said."""
    data = (program.head + b"".join(step.data for step in program.steps))[:written]
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        body = _unchunked(body)
    tokens, errors, events = 0, 0, 0
    for event in body.replace(b"\r\n", b"\n").split(b"\n"):
        text = event.removeprefix(b"data:").strip()
        try:
            value = orjson.loads(text) if text.startswith(b"{") else None
        except ValueError:
            continue
        if value is None:
            continue
        if _tells_usage(value):
            return None
        events += 1
        errors += "error" in value
        tokens += _tokens(value)
    return NOTHING if events and errors == events else tokens


def _tells_usage(event: Mapping[str, Any]) -> bool:
    return (
        event.get("type") == "message_delta"
        or event.get("done") is True
        or (event.get("usage") is not None and "choices" in event)
    )


def _tokens(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_tokens, value))
    if not isinstance(value, dict):
        return 0
    tokens = 0
    if value.get("type") == "thinking":
        tokens += _THINKING_TOKENS
    if isinstance(value.get("name"), str):
        tokens += _CALL_TOKENS
    for name, part in value.items():
        if name in ("arguments", "input") and isinstance(part, dict):
            tokens += len(pieces(orjson.dumps(part).decode())) if part else 0
        elif name in _WORDS and isinstance(part, str):
            tokens += len(pieces(part))
        else:
            tokens += _tokens(part)
    return tokens


def _unchunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) > 0:
        size = int(body[at:end], 16)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
        if not size:
            break
    return b"".join(parts)
