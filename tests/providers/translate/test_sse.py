"""The incremental parser of server-sent events against the WHATWG algorithm, read the simple way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import ProtocolError
from providers.sse import Event, SseParser


def reference(stream: bytes) -> list[Event]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6, on the whole input."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events: list[Event] = []
    name, data = b"", b""
    for line in lines:
        if not line:
            if data:
                events.append(Event(name or b"message", data[:-1]))
            name, data = b"", b""
            continue
        field, colon, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if colon and not field:
            continue
        if field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return events


#: Fields, line ends of every kind, and regular events between them.
FRAGMENTS = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"data:  two",
        b"data:",
        b"event: ping",
        b"event:x",
        b"event",
        b": note",
        b"id: 7",
        b"id: n\0o",
        b"retry: 10",
        b"retry: x",
        b"unknown: 1",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"event: message_stop\ndata: {}\n\n",
        b'event: a\ndata: {"b":1}\n\n',
        b"\xef\xbb\xbf",
        b"\xff",
    ]
)


@given(parts=st.lists(FRAGMENTS, max_size=20), data=st.data())
def test_every_cut_of_the_input_gives_the_events_of_the_specification(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    parser = SseParser()
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += parser.feed(stream[start:end])
    assert events == reference(stream)


def test_an_event_cut_into_bytes_arrives_with_its_last_byte() -> None:
    parser = SseParser()
    stream = b"event: a\r\ndata: 1\r\ndata: 2\r\n\r"
    assert [e for i in range(len(stream)) for e in parser.feed(stream[i : i + 1])] == [Event(b"a", b"1\n2")]
    assert parser.feed(b"\ndata: 3\n\n") == [Event(b"message", b"3")]


def test_id_and_retry_are_kept() -> None:
    parser = SseParser()
    parser.feed(b"id: 5\nretry: 3000\n\nid: x\0\nretry: soon\n")
    assert (parser.last_event_id, parser.retry) == (b"5", 3000)


def test_idle_between_events_only() -> None:
    parser = SseParser()
    for piece, idle in ((b"event: a\nda", False), (b"ta: 1\n", False), (b"\n", True), (b": note\r", False)):
        parser.feed(piece)
        assert parser.idle is idle, piece


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * 200, b"data: x\n" * 60, b"x" * 200, b"event: " + b"y" * 200]
)
def test_an_event_beyond_the_limit_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        SseParser(max_event_bytes=100).feed(line)
    assert refused.value.code == "upstream_event_too_large"
    with pytest.raises(ProtocolError):
        SseParser(max_event_bytes=100).feed(b"event: a\ndata: " + b"x" * 200 + b"\n\n")


def test_many_events_below_the_limit_are_no_event_beyond_it() -> None:
    parser = SseParser(max_event_bytes=100)
    assert sum(len(parser.feed(b"data: " + b"x" * 50 + b"\n\n")) for _ in range(10)) == 10
