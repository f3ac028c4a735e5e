"""Estimates of what an answer has used, where nobody has told."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic.tap import Tap
from providers.errors import AuthFailed, BadRequest, ProtocolError, Timeout, Unreachable, UpstreamFailed
from providers.spent import Asking, prompt_tokens, so_far, tokens_of, words_in
from providers.types import Exchange, Usage

BOTH = frozenset(("input", "output"))


def delta(text: str, kind: str = "text") -> bytes:
    name = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}[kind]
    body = {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", name: text}}
    return b"event: content_block_delta\ndata: " + orjson.dumps(body) + b"\n\n"


def test_pieces_are_tokens_where_they_can_be() -> None:
    assert tokens_of(40, 200) == 40
    assert tokens_of(4, 200) == 50  # fifty bytes are no token
    assert tokens_of(200, 200) == 50  # nor is one, of a server that writes letter by letter
    assert tokens_of(0, 0) == 0


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=60))
def test_words_are_counted_in_what_was_seen(words: list[str]) -> None:
    stream = b"".join(map(delta, words))
    pieces, size = words_in(stream, len(stream))
    assert pieces == len(words)
    assert size == sum(len(orjson.dumps(word)) - 2 for word in words)
    assert words_in(stream, 3 * len(stream)) == (3 * pieces, 3 * size)


def test_nothing_said_is_no_tokens() -> None:
    assert words_in(b"", 0) == (0, 0)
    assert words_in(b"event: ping\ndata: {}\n\n", 100) == (0, 0)


@pytest.mark.parametrize("kind", ["text", "thinking", "input_json"])
@pytest.mark.parametrize("per_read", [1, 7, 200])
def test_a_tap_knows_about_how_much_has_passed(kind: str, per_read: int) -> None:
    tap = Tap("m")
    words = [f" word{number % 90}" for number in range(2_000)]
    events = [delta(word, kind) for word in words]
    for at in range(0, len(events), per_read):
        tap.feed(b"".join(events[at : at + per_read]))
    pieces, size = tap.said()
    assert pieces == pytest.approx(len(words), rel=0.02)
    assert size == pytest.approx(sum(map(len, words)), rel=0.02)


def test_what_was_told_is_kept_and_what_was_not_is_named() -> None:
    told = Usage(
        input_tokens=10, cache_read_tokens=5, cache_write_1h_tokens=3, output_tokens=1, input_told=True
    )
    found = so_far(told, None, lambda: (20, 100))
    assert found == Usage(10, 20, 5, 0, 3, estimated=frozenset(("output",)))
    assert told.output_tokens == 1
    assert so_far(Usage(), lambda: 7, lambda: (0, 0)) == Usage(7, 0, estimated=BOTH)
    complete = Usage(1, 2, input_told=True, output_told=True)
    assert so_far(complete, None) is complete


def test_a_picture_is_not_counted_by_its_bytes() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}
    body = {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    assert 1_000 < prompt_tokens(orjson.dumps(body)) < 2_000


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("x"),
        BadRequest("x"),
        AuthFailed("x"),
        UpstreamFailed("x", upstream_status=500),
        Timeout("x", stage="connect"),
        Timeout("x", stage="write"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error.stage}",
)
def test_who_was_refused_has_used_nothing(error: Exception) -> None:
    exchange = Exchange()
    exchange.sending(lambda: 9)
    with pytest.raises(type(error)), Asking(exchange):
        raise error
    assert exchange.usage == Usage()


@pytest.mark.parametrize(
    "error",
    [Timeout("x", stage="first_byte"), ProtocolError("x"), asyncio.CancelledError(), RuntimeError("a bug")],
    ids=lambda error: type(error).__name__,
)
def test_what_nobody_knows_is_estimated(error: BaseException) -> None:
    exchange = Exchange()
    exchange.sending(lambda: 9)
    with pytest.raises(type(error)), Asking(exchange):
        raise error
    assert exchange.usage == Usage(input_tokens=9, estimated=BOTH)


def test_what_was_never_sent_has_used_nothing() -> None:
    exchange = Exchange()
    with pytest.raises(asyncio.CancelledError), Asking(exchange):
        raise asyncio.CancelledError
    assert (exchange.usage, exchange.attempts) == (Usage(), 0)
