"""What the tap knows of a stream does not depend on how the stream was cut or framed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic.tap import Tap
from providers.errors import ProtocolError
from providers.sse import MAX_EVENT_BYTES, SseParser
from providers.translate.usage import merge
from providers.types import Usage
from tests.providers.translate import events as e
from tests.providers.translate.events import GOLDEN

#: What a model may say that looks like what the tap looks for.
WORDS = (
    "event: message_stop\n\n",
    'event: error\ndata: {"type":"error"}\n\n',
    "message_delta",
    "errors, errors",
    "\r\n\r\n",
)
STREAMS = {
    **GOLDEN,
    "words": e.stream(e.start(), *e.text(0, "a", *WORDS, "b"), *e.finish("end_turn", input_tokens=99)),
    "error": e.stream(
        e.start(),
        *e.text(0, "half"),
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "details": None}},
    ),
    "broken_json": e.stream(e.start(), *e.text(0, "x")) + b"event: message_delta\ndata: {\n\n",
    "unfinished": e.stream(e.start(), *e.text(0, "x"))[:-1],
    "silent": e.stream(e.PING, e.PING),
}
FRAMINGS: dict[str, Any] = {
    "as Anthropic writes": lambda data: data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "no space behind the colon": lambda data: data.replace(b"event: ", b"event:").replace(
        b"data: ", b"data:"
    ),
    "comments between": lambda data: data.replace(b"\n\n", b"\n\n: keep-alive\n\n\n"),
    "other fields": lambda data: data.replace(b"event: ", b"id: 7\nretry: 10\nevent: "),
    "a mark at the start": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF from the middle on": lambda data: (
        data[: len(data) // 2] + data[len(data) // 2 :].replace(b"\n", b"\r\n")
    ),
}


def facts(tap: Tap) -> dict[str, Any]:
    found = {name: getattr(tap, name) for name in ("model", "usage", "started", "ended", "error")}
    return {**found, "content": tap.first_token_at is not None}


def expected(data: bytes) -> dict[str, Any]:
    """The same by parsing everything."""
    usage = Usage()
    found: dict[str, Any] = {"model": "asked", "usage": usage, "error": None}
    found |= {"started": False, "content": False, "ended": False}
    for name, body in SseParser().feed(data):
        try:
            event = orjson.loads(body)
        except ValueError:
            event = {}
        found["started"] |= name != b"ping"
        found["content"] |= name == b"content_block_delta"
        found["ended"] |= name in (b"message_stop", b"error")
        if name == b"message_start":
            found["model"] = event["message"]["model"]
            merge(usage, event["message"]["usage"])
        elif name == b"message_delta":
            merge(usage, event.get("usage"))
        elif name == b"error":
            found["error"] = event["error"]
    return found


@given(
    name=st.sampled_from(sorted(STREAMS)),
    framing=st.sampled_from(sorted(FRAMINGS)),
    cuts=st.lists(st.integers(0, 5_000), max_size=40),
)
def test_no_cut_and_no_framing_changes_what_is_known(name: str, framing: str, cuts: list[int]) -> None:
    data: bytes = FRAMINGS[framing](STREAMS[name])
    tap = Tap("asked")
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in pairwise(ends):
        tap.feed(data[begin:end])
    assert facts(tap) == expected(data)


@pytest.mark.parametrize("framing", sorted(FRAMINGS))
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_nor_do_single_bytes(name: str, framing: str) -> None:
    data: bytes = FRAMINGS[framing](STREAMS[name])
    tap = Tap("asked")
    for at in range(len(data)):
        tap.feed(data[at : at + 1])
    assert facts(tap) == expected(data)


@pytest.mark.parametrize("size", [20, 300, 500])
@pytest.mark.parametrize("framing", sorted(FRAMINGS))
def test_nor_do_three_reads_wherever_the_middle_one_lies(framing: str, size: int) -> None:
    data: bytes = FRAMINGS[framing](GOLDEN["text"])
    for at in range(len(data)):
        tap = Tap("asked")
        for piece in (data[:at], data[at : at + size], data[at + size :]):
            if piece:
                tap.feed(piece)
        assert facts(tap) == expected(data), at


@pytest.mark.parametrize("words", WORDS)
def test_what_a_model_says_ends_no_stream(words: str) -> None:
    tap = Tap("asked")
    for event in (e.start(), *e.text(0, words, words)):
        tap.feed(e.sse(event))
    assert not tap.ended
    assert tap.error is None


def test_an_event_that_never_ends_is_refused() -> None:
    tap = Tap("asked")
    tap.feed(e.stream(e.start(), *e.text(0, "x")) + b"event: content_block_delta\ndata: {")
    piece = b"x" * (MAX_EVENT_BYTES // 4)
    for _ in range(4):
        tap.feed(piece)
    with pytest.raises(ProtocolError):
        tap.feed(piece)
