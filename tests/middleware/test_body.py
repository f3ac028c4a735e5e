"""The body is read once, parsed once, strict, and honest about its length."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, post
from litestar import Request as LitestarRequest
from starlette.requests import Request

from middleware._asgi import Message, Receive, Scope
from middleware._body import MAX_DEPTH, Body, BodyError, ClientDisconnected, parse, read_body
from middleware._state import BODY
from tests.middleware.asgi import Client, body_messages, make_scope

pytestmark = pytest.mark.anyio

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


async def read(*chunks: bytes, headers: dict[str, str] | None = None) -> tuple[Scope, Receive, Body, Client]:
    client = Client(body_messages(list(chunks)))
    scope, receive, body = await read_body(make_scope(headers=headers or {}), client.receive)
    return scope, receive, body, client


async def deliver(receive: Receive) -> bytes:
    whole = bytearray()
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        whole += message["body"]
        if not message["more_body"]:
            return bytes(whole)


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


class TestReading:
    @pytest.mark.parametrize(
        "chunks", [[b'{"a":1}'], [b'{"a"', b":1}", b""], [b"", b'{"a":1}'], [bytes([c]) for c in b'{"a":1}']]
    )
    async def test_a_body_is_the_same_however_it_was_cut(self, chunks: list[bytes]) -> None:
        _, receive, body, _ = await read(*chunks)
        assert body.raw == b'{"a":1}'
        assert body.json() == {"a": 1}
        assert await deliver(receive) == b'{"a":1}'

    async def test_a_second_reader_finds_the_body_read_and_parsed(self) -> None:
        scope, receive, body, client = await read(b"[1]")
        value = body.json()
        received = client.received
        again_scope, again_receive, again = await read_body(scope, receive)
        assert again is body
        assert again_receive is receive
        assert again_scope is scope
        assert again.json() is value
        assert client.received == received

    async def test_a_reader_below_a_copied_scope_still_finds_the_body(self) -> None:
        scope, receive, body, _ = await read(b"[1]")
        assert (await read_body({**scope, "extra": 1}, receive))[2] is body

    async def test_a_strangers_rewriter_in_between_forces_a_fresh_read(self) -> None:
        scope, receive, body, _ = await read(b'{"a":1}')

        async def rewriting() -> Message:
            message = await receive()
            return {**message, "body": message["body"].replace(b"1", b"2")}

        scope, passed_on, fresh = await read_body(scope, rewriting)
        assert fresh is not body
        assert fresh.json() == {"a": 2}
        assert scope["state"][BODY] is fresh
        assert await deliver(passed_on) == b'{"a":2}'

    async def test_after_the_body_the_real_receive_speaks(self) -> None:
        _, receive, _, client = await read(b"x")
        await deliver(receive)
        client.hang_up()
        assert (await receive())["type"] == "http.disconnect"
        assert client.received == 2

    async def test_no_disconnect_is_ever_made_up(self) -> None:
        _, receive, _, client = await read(b"x")
        await deliver(receive)
        waiting = receive()
        stepped = waiting.__await__()
        next(stepped)  # suspended inside the real receive, which has nothing to say
        assert client.received == 2
        stepped.close()

    async def test_a_client_that_leaves_within_its_body_is_told_apart_from_an_empty_body(self) -> None:
        client = Client([{"type": "http.request", "body": b'{"a', "more_body": True}])
        client.hang_up()
        with pytest.raises(ClientDisconnected):
            await read_body(make_scope(), client.receive)

    async def test_an_empty_body_is_empty(self) -> None:
        _, receive, body, _ = await read(b"")
        assert body.raw == b""
        assert await deliver(receive) == b""
        with pytest.raises(BodyError, match="empty"):
            body.json()

    async def test_the_lifespan_state_of_the_server_is_never_written_to(self) -> None:
        shared: dict[str, Any] = {"pool": object()}
        client = Client(body_messages(b"{}"))
        scope, _, _ = await read_body(make_scope(state=shared), client.receive)
        assert BODY not in shared
        assert scope["state"]["pool"] is shared["pool"]

    async def test_on_chunk_hears_the_size_and_may_stop_the_reading(self) -> None:
        sizes: list[int] = []
        client = Client(body_messages([b"ab", b"", b"cde"]))
        await read_body(make_scope(), client.receive, on_chunk=sizes.append)
        assert sizes == [2, 2, 5]

        def stop(size: int) -> None:
            raise OverflowError(size)

        client = Client(body_messages([b"ab", b"cde"]))
        with pytest.raises(OverflowError, match="2"):
            await read_body(make_scope(), client.receive, on_chunk=stop)
        assert client.received == 1

    async def test_a_finished_request_leaves_no_cycle_behind(self) -> None:
        class Canary:
            async def __call__(self) -> Message:
                return {"type": "http.request", "body": b"{}", "more_body": False}

        canary = Canary()
        watch = weakref.ref(canary)
        scope, receive, body = await read_body(make_scope(), canary)
        gc.disable()
        try:
            del canary, scope, receive, body
            assert watch() is None
        finally:
            gc.enable()


class TestReplacing:
    async def test_a_replaced_value_is_what_everybody_below_reads(self) -> None:
        scope, receive, body, _ = await read(b'{"a":1}', headers={"content-length": "7"})
        old = body.json()
        scope = body.replace(scope, {"a": "longer"})
        _, _, same = await read_body(scope, receive)
        assert same.json() == {"a": "longer"}
        assert await deliver(receive) == b'{"a":"longer"}'
        assert old == {"a": 1}
        assert body.raw == b'{"a":1}'
        assert body.replaced

    async def test_bytes_are_made_once_and_only_when_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, receive, body, _ = await read(b'{"a":1}')
        dumps = orjson.dumps
        made: list[object] = []

        def counting(value: object) -> bytes:
            made.append(value)
            return dumps(value)

        monkeypatch.setattr("middleware._body.orjson.dumps", counting)
        body.replace(make_scope(), {"a": 2})
        body.replace(make_scope(), {"a": 3})
        body.json()
        assert made == []
        assert body.bytes() == body.bytes() == await deliver(receive) == b'{"a":3}'
        assert made == [{"a": 3}]

    async def test_an_untouched_body_is_forwarded_byte_for_byte(self) -> None:
        raw = b'{ "b" : 1.0,\n"a":"\\u00e9" , "a":2}'
        _, receive, body, _ = await read(raw, headers={"content-length": str(len(raw))})
        body.json()
        assert body.bytes() is body.raw
        assert await deliver(receive) == raw

    async def test_the_length_announced_is_never_the_old_one(self) -> None:
        scope, _, body, _ = await read(b"{}", headers={"content-length": "2", "x-other": "kept"})
        before = list(scope["headers"])
        changed = body.replace(scope, {"a": 1})
        assert b"content-length" not in headers_of(changed)
        assert headers_of(changed)[b"transfer-encoding"] == b"chunked"
        assert headers_of(changed)[b"x-other"] == b"kept"
        assert scope["headers"] == before  # its caller's scope stays as it was
        assert body.replace(changed, {"a": 2}) is changed

    async def test_a_length_is_dropped_without_a_transfer_coding_in_http_2(self) -> None:
        client = Client(body_messages(b"{}"))
        h2 = make_scope(headers={"content-length": "2"}, http_version="2")
        scope, _, body = await read_body(h2, client.receive)
        assert headers_of(body.replace(scope, {"a": 1})).keys() == {b"host"}

    async def test_starlette_reads_the_rewritten_body(self) -> None:
        scope, receive, body, _ = await read(b'{"a":1}', headers={"content-length": "7"})
        request = Request(dict(body.replace(scope, {"a": "x" * 100})), receive)
        assert await request.json() == {"a": "x" * 100}
        assert "content-length" not in request.headers

    async def test_litestar_reads_the_rewritten_body(self) -> None:
        @post("/v1/chat/completions")
        async def echo(request: LitestarRequest[Any, Any, Any]) -> Any:
            return await request.json()

        scope, receive, body, client = await read(
            b'{"a":1}', headers={"content-length": "7", "content-type": "application/json"}
        )
        app = Litestar([echo])
        client.hang_up()
        await app(body.replace(scope, {"a": "x" * 100}), receive, client.send)  # type: ignore[arg-type]
        assert orjson.loads(client.sent[1]["body"]) == {"a": "x" * 100}


class TestParsing:
    @pytest.mark.parametrize(
        ("raw", "says"),
        [
            (b"", "empty"),
            (b"{", "line 1, column 2"),
            (b'{"a":\n x}', "line 2, column"),
            (b"{} {}", "after document"),
            (b'{"a":NaN}', "not valid JSON"),
            (b'{"a":Infinity}', "not valid JSON"),
            (b'{"a":-Infinity}', "not valid JSON"),
            (b'{"a":1e999}', "infinity"),
            (b"1" * 5000, "infinity"),
            (b'\xef\xbb\xbf{"a":1}', "BOM"),
            (b'{"a":"\xff"}', "UTF-8 .byte 6"),
            (b'{"a":"\xed\xa0\x80"}', "UTF-8 .byte 6"),
            (b'{"a":"\\ud800"}', "surrogate"),
            (b'{"a":"\\udc00 x"}', "surrogate|not valid JSON"),
            (b'{"a":"\x00"}', "control character"),
            (b"{'a':1}", "not valid JSON"),
            (b'{"a":1,}', "not valid JSON"),
            (b"{} // no", "not valid JSON"),
        ],
    )
    def test_what_is_not_strict_json_is_refused_and_said_where(self, raw: bytes, says: str) -> None:
        with pytest.raises(BodyError, match=says):
            parse(raw)

    def test_a_complaint_quotes_nothing_of_the_body(self) -> None:
        with pytest.raises(BodyError) as caught:
            parse(b'{"key": "sk-secret" oops}')
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert caught.value.rejection().status == 400
        assert caught.value.rejection().code == "invalid_json"

    @pytest.mark.parametrize("padding", [b"", b" " * 20_000])
    @pytest.mark.parametrize(
        ("start", "end", "levels"), [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[{"a":', b"}]", 2)]
    )
    def test_nesting_is_bounded_to_the_level(
        self, start: bytes, end: bytes, levels: int, padding: bytes
    ) -> None:
        times = MAX_DEPTH // levels
        deepest = start * times + b"1" + end * times + padding
        parse(deepest)
        with pytest.raises(BodyError, match="200 levels"):
            parse(b"[" + deepest + b"]")

    @pytest.mark.parametrize("depth", [1024, 1025, 100_000])
    def test_absurd_nesting_is_refused_and_not_fatal(self, depth: int) -> None:
        with pytest.raises(BodyError):
            parse(b"[" * depth + b"]" * depth)
        with pytest.raises(BodyError):
            parse(b"[" * depth)

    def test_brackets_within_texts_are_not_nesting(self) -> None:
        text = "[{" * 10_000
        assert parse(orjson.dumps({"a": text})) == {"a": text}

    def test_wide_is_not_deep(self) -> None:
        wide: list[Any] = [[{}]] * 5_000
        assert parse(orjson.dumps(wide)) == wide

    def test_of_a_repeated_key_the_last_value_counts(self) -> None:
        assert parse(b'{"a":1,"a":2}') == {"a": 2}

    def test_an_escaped_nul_is_legal(self) -> None:
        assert parse(b'"\\u0000"') == "\x00"

    def test_large_numbers_stay_finite(self) -> None:
        value = parse(b"[18446744073709551616, -1e308]")
        assert all(math.isfinite(number) for number in value)

    @given(JSON)
    def test_parse_reads_back_what_was_written(self, value: Any) -> None:
        assert parse(orjson.dumps(value)) == value

    @given(st.binary(max_size=200) | st.text('[]{}":,\\u0aedNaI1e9. \n', max_size=60).map(str.encode))
    def test_any_bytes_are_parsed_or_refused(self, raw: bytes) -> None:
        try:
            value = parse(raw)
        except BodyError:
            return
        assert parse(orjson.dumps(value)) == value

    @pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null"])
    async def test_an_object_is_asked_for_by_name(self, raw: bytes) -> None:
        _, _, body, _ = await read(raw)
        body.json()
        with pytest.raises(BodyError, match="must be a JSON object"):
            body.json_object()


async def test_a_body_of_its_announced_length_is_complete_without_its_empty_end() -> None:
    """Granian sends the end of a body as an empty message of its own; waiting for it costs a request
    two thread switches."""
    sent: list[Message] = [
        {"type": "http.request", "body": b'{"a":', "more_body": True},
        {"type": "http.request", "body": b"1}", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return sent.pop(0)

    scope = make_scope(headers={"content-length": "7"})
    _, wrapped, body = await read_body(scope, receive)
    assert body.json() == {"a": 1}
    assert len(sent) == 2
    # The application below sees one whole body, then what comes: never the empty end behind it.
    assert await wrapped() == {"type": "http.request", "body": b'{"a":1}', "more_body": False}
    assert await wrapped() == {"type": "http.disconnect"}


@pytest.mark.parametrize("headers", [{}, {"content-length": "5", "transfer-encoding": "chunked"}])
async def test_a_body_of_unknown_length_is_read_to_its_end(headers: dict[str, str]) -> None:
    sent: list[Message] = [
        {"type": "http.request", "body": b'{"a":', "more_body": True},
        {"type": "http.request", "body": b"1}", "more_body": False},
    ]

    async def receive() -> Message:
        return sent.pop(0)

    _, _, body = await read_body(make_scope(headers=headers), receive)
    assert body.json() == {"a": 1}
