"""Watching an answer changes nothing that was not asked for, and delays nothing."""

from __future__ import annotations

from typing import Any

import pytest

from middleware._asgi import Message
from middleware._send import observe, with_headers
from tests.middleware.asgi import Client

pytestmark = pytest.mark.anyio

START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"Content-Length", b"2"), (b"set-cookie", b"a")],
    "trailers": True,
}


async def test_every_chunk_is_seen_and_forwarded_before_the_next_is_asked_for() -> None:
    client = Client()
    seen: list[tuple[bytes, bool, int]] = []
    send = observe(client.send, on_body=lambda chunk, more: seen.append((chunk, more, len(client.sent))))
    await send(START)
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    assert client.sent[-1] == {"type": "http.response.body", "body": b"a", "more_body": True}
    await send({"type": "http.response.body", "body": b"b"})
    await send({"type": "http.response.body"})
    assert seen == [(b"a", True, 1), (b"b", False, 2), (b"", False, 3)]


async def test_the_message_that_on_start_returns_is_sent_instead() -> None:
    client = Client()
    send = observe(client.send, on_start=lambda message: {**message, "status": 201})
    await send(START)
    assert client.sent == [{**START, "status": 201}]
    assert START["status"] == 200


@pytest.mark.parametrize(
    "kind", ["http.response.trailers", "http.response.pathsend", "http.response.debug", "x.unheard.of"]
)
async def test_messages_of_unknown_types_pass_untouched(kind: str) -> None:
    def never(*_: object) -> Any:
        raise AssertionError

    client = Client()
    await observe(client.send, on_start=never, on_body=never)({"type": kind, "body": b"?"})
    assert client.sent == [{"type": kind, "body": b"?"}]


async def test_without_observers_everything_is_forwarded() -> None:
    client = Client()
    send = observe(client.send)
    await send(START)
    await send({"type": "http.response.body", "body": b"x"})
    assert [m["type"] for m in client.sent] == ["http.response.start", "http.response.body"]


async def test_what_the_server_raises_reaches_the_application() -> None:
    async def broken(_: Message) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await observe(broken)(START)


def test_a_header_replaces_its_namesakes_in_any_case_and_is_never_doubled() -> None:
    message = with_headers(START, [(b"content-type", b"text/html"), (b"x-new", b"1")])
    assert message["headers"] == [
        (b"Content-Length", b"2"),
        (b"set-cookie", b"a"),
        (b"content-type", b"text/html"),
        (b"x-new", b"1"),
    ]
    assert with_headers(message, [(b"x-new", b"1")])["headers"].count((b"x-new", b"1")) == 1


def test_several_headers_of_one_name_may_be_given() -> None:
    message = with_headers(START, [(b"set-cookie", b"b"), (b"set-cookie", b"c")])
    assert [v for k, v in message["headers"] if k == b"set-cookie"] == [b"b", b"c"]


def test_the_length_is_dropped_on_request_and_the_original_left_alone() -> None:
    before = list(START["headers"])
    message = with_headers(START, drop=(b"content-length",))
    assert b"Content-Length" not in dict(message["headers"])
    assert message["trailers"] is True
    assert START["headers"] == before


def test_a_start_without_headers_gets_them() -> None:
    message = with_headers({"type": "http.response.start", "status": 200}, [(b"a", b"b")])
    assert message["headers"] == [(b"a", b"b")]
