"""What every HTTP client here promises, whichever is chosen. Bodies, framing, connections."""

from __future__ import annotations

import asyncio

import pytest

from providers.errors import ProtocolError, Timeout, Unreachable
from providers.http import HttpClient, Timeouts

from .conftest import MakeClient
from .server import OK, Peer, Seen, answering, answering_once, serve

pytestmark = pytest.mark.anyio

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b'5;name="a;b"\r\nhello\r\n6;x\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'
)


async def get(client: HttpClient, url: str, timeouts: Timeouts | None = None) -> tuple[int, bytes]:
    async with await client.request("GET", url, timeouts=timeouts) as response:
        return response.status, await response.read()


@pytest.mark.parametrize(
    ("wire", "status", "body"),
    [
        pytest.param(OK, 200, b"ok", id="content-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", id="empty"),
        pytest.param(CHUNKED, 200, b"hello world", id="chunked-extensions-trailers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", id="close-delimited"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old", id="http-1.0"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", id="304"),
        pytest.param(b"HTTP/1.1 500\r\nContent-Length: 2\r\n\r\nno", 500, b"no", id="no-reason"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
            200,
            b"ok",
            id="interim-answers",
        ),
    ],
)
async def test_a_body_ends_where_its_framing_says(
    client: HttpClient, wire: bytes, status: int, body: bytes
) -> None:
    for parts in ([wire], [wire[i : i + 7] for i in range(0, len(wire), 7)]):
        async with serve(answering_once(*parts)) as server:
            assert await get(client, server.url) == (status, body)


async def test_a_head_request_has_no_body_and_keeps_its_connection(client: HttpClient) -> None:
    async with serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server:
        for _ in range(2):
            async with await client.request("HEAD", server.url) as response:
                assert (response.status, response.header(b"content-length")) == (200, b"5")
                assert await response.read() == b""
        assert server.accepted == 1


async def test_headers_keep_their_order_and_values_and_lose_their_case(client: HttpClient) -> None:
    wire = b"HTTP/1.1 200 OK\r\nX-Two: 1\r\nSet-Cookie: a\r\nx-two:  2 \r\nContent-Length: 0\r\n\r\n"
    async with serve(answering(wire)) as server, await client.request("GET", server.url) as response:
        assert list(response.headers) == [
            (b"x-two", b"1"),
            (b"set-cookie", b"a"),
            (b"x-two", b"2"),
            (b"content-length", b"0"),
        ]
        assert response.header(b"x-two") == b"1"
        assert response.header(b"missing") is None


async def test_a_request_goes_out_as_given_and_nothing_is_added(client: HttpClient) -> None:
    seen: list[Seen] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK)

    async with serve(script) as server:
        url = server.url + "/v1/messages?beta=true#fragment"
        async with await client.request(
            "POST", url, headers=[(b"X-Api-Key", b"k"), (b"accept", b"a, b")], body=b"\0\xff{}"
        ) as response:
            await response.read()
        async with await client.request("POST", server.url) as response:
            await response.read()
        await get(client, server.url)
    host = f"127.0.0.1:{server.port}".encode()
    first, empty, bare = seen
    assert first.line == b"POST /v1/messages?beta=true HTTP/1.1"
    assert first.body == b"\0\xff{}"
    assert sorted((name.lower(), value) for name, value in first.headers) == [
        (b"accept", b"a, b"),
        (b"content-length", b"4"),
        (b"host", host),
        (b"x-api-key", b"k"),
    ]
    assert empty.header(b"content-length") == b"0"
    assert bare.line == b"GET / HTTP/1.1"
    assert [(name.lower(), value) for name, value in bare.headers] == [(b"host", host)]


async def test_a_body_of_many_megabytes_arrives_whole_at_a_slow_reader(client: HttpClient) -> None:
    body = bytes(range(256)) * 4096 * 8
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        while sum(map(len, got)) < len(body):
            got.append(await peer.reader.read(65536))
            await asyncio.sleep(0)
        await peer.send(OK)

    async with serve(script) as server, await client.request("POST", server.url, body=body) as response:
        assert await response.read() == b"ok"
    assert b"".join(got) == body


async def test_redirects_are_never_followed(client: HttpClient) -> None:
    wire = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serve(answering(wire)) as server:
        assert await get(client, server.url) == (302, b"")


async def test_a_compressed_body_is_handed_on_as_it_came(client: HttpClient) -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8bx"
    async with serve(answering(wire)) as server:
        assert await get(client, server.url) == (200, b"\x1f\x8bx")


# -- connections ------------------------------------------------------------------------------------


async def test_a_connection_is_used_again(client: HttpClient) -> None:
    async with serve(answering(CHUNKED)) as server:
        for _ in range(5):
            assert await get(client, server.url) == (200, b"hello world")
        assert server.accepted == 1


async def test_a_server_that_asks_for_close_gets_a_new_connection(client: HttpClient) -> None:
    wire = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with serve(answering(wire)) as server:
        for _ in range(3):
            assert await get(client, server.url) == (200, b"ok")
        assert server.accepted == 3
        await server.all_closed()


async def test_a_server_that_closes_between_requests_goes_unnoticed(client: HttpClient) -> None:
    async with serve(answering_once(OK)) as server:
        for number in range(1, 4):
            assert await get(client, server.url) == (200, b"ok")
            await server.all_closed()
            assert server.accepted == number


async def test_closing_an_unread_answer_stops_the_upstream(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")
        await peer.gone()

    async with serve(script) as server:
        response = await client.request("GET", server.url)
        assert await response.read_some() == b"x"
        await response.aclose()
        await response.aclose()
        await server.all_closed()
        with pytest.raises(ProtocolError):
            await response.read_some()


async def test_a_read_returns_before_the_upstream_has_finished(client: HttpClient) -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\none\r\n")
        await more.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serve(script) as server, await client.request("GET", server.url) as response:
        assert await response.read_some() == b"one"
        more.set()
        assert await response.read_some() == b"two"
        assert await response.read_some() == b""
        assert await response.read_some() == b""


async def test_a_closed_client_refuses(make: MakeClient) -> None:
    client = make()
    async with serve(answering(OK)) as server:
        await get(client, server.url)
        await client.aclose()
        await server.all_closed()
        with pytest.raises(Unreachable):
            await get(client, server.url)


# -- failures ---------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "wire",
    [HEAD + b"half", STREAM + b"4\r\nhalf\r\n", STREAM + b"9\r\nhalf", STREAM + b"4\r\nhalf\r\n0\r\n"],
    ids=["content-length", "chunked", "inside-a-chunk", "before-the-last-line"],
)
@pytest.mark.parametrize("how", ["close", "half-close"])
async def test_a_truncated_body_is_never_success(client: HttpClient, wire: bytes, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire)
        if how == "half-close":
            peer.half_close()
            await peer.gone()

    async with serve(script) as server, await client.request("GET", server.url) as response:
        assert await response.read_some() == b"half"
        for _ in range(2):
            with pytest.raises(ProtocolError) as caught:
                await response.read_some()
            assert (caught.value.stage, caught.value.code) == ("read", "upstream_truncated")
    async with serve(script) as server, await client.request("GET", server.url) as response:
        with pytest.raises(ProtocolError):
            await response.read()


@pytest.mark.parametrize("wire", [b"", b"HTTP/1.1 200 OK\r\nContent-Len"], ids=["nothing", "half-a-head"])
async def test_a_server_that_leaves_without_an_answer_is_an_error(client: HttpClient, wire: bytes) -> None:
    async with serve(answering_once(wire)) as server:
        with pytest.raises(ProtocolError) as caught:
            await get(client, server.url)
        assert caught.value.code == "upstream_truncated"
        assert server.accepted == 1  # a fresh connection is never retried


@pytest.mark.parametrize("wire", [b"", HEAD + b"half", STREAM + b"4\r\nhalf\r\n"])
async def test_a_reset_is_an_error_of_its_own(client: HttpClient, wire: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire)
        peer.reset()

    async with serve(script) as server:
        with pytest.raises(ProtocolError) as caught:
            await get(client, server.url)
    assert (caught.value.stage, caught.value.code) == ("read", "upstream_reset")


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        STREAM + b"xyz\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_protocol_error(client: HttpClient, wire: bytes) -> None:
    async with serve(answering_once(wire)) as server:
        with pytest.raises(ProtocolError) as caught:
            await get(client, server.url)
    assert caught.value.code == "upstream_protocol"


async def test_an_answer_over_the_limit_is_refused(client: HttpClient) -> None:
    async with serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890")) as server:
        async with await client.request("GET", server.url) as response:
            assert len(await response.read(limit=11)) == 11
        async with await client.request("GET", server.url) as response:
            with pytest.raises(ProtocolError) as caught:
                await response.read(limit=10)
    assert caught.value.code == "upstream_too_large"


async def test_a_refused_connection_is_unreachable(client: HttpClient, closed_port: int) -> None:
    with pytest.raises(Unreachable) as caught:
        await get(client, f"http://127.0.0.1:{closed_port}")
    assert (caught.value.stage, caught.value.code) == ("connect", "upstream_connect")
    assert caught.value.retryable


async def test_an_unknown_name_is_unreachable(client: HttpClient) -> None:
    # RFC 6761: .invalid never resolves.
    with pytest.raises(Unreachable) as caught:
        await get(client, "http://nobody.invalid")
    assert (caught.value.stage, caught.value.code) == ("dns", "upstream_dns")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "", [(b"x", b"a\r\nEvil: 1")]),
        ("GET", "", [(b"x", b"a\nEvil: 1")]),
        ("GET", "", [(b"x", b"a\0b")]),
        ("GET", "", [(b"x\r\nEvil", b"1")]),
        ("GET", "", [(b"x: 1\nEvil", b"1")]),
        ("GET", "", [(b"", b"1")]),
        ("GET", "", [(b"Host", b"elsewhere")]),
        ("GET", "", [(b"content-length", b"5")]),
        ("GET", "", [(b"Transfer-Encoding", b"chunked")]),
        ("GET / HTTP/1.1\r\nEvil: 1\r\n\r\nGET", "", []),
        ("CONNECT", "", []),
        ("", "", []),
        ("GET", "/ HTTP/1.1\r\nEvil: 1", []),
        ("GET", "/a b", []),
        ("GET", "/\0", []),
        ("GET", "/\u00e9", []),
    ],
)
async def test_a_request_that_would_smuggle_is_refused_before_it_is_sent(
    client: HttpClient, method: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    async with serve(answering(OK)) as server:
        with pytest.raises(ValueError, match=r".") as caught:
            await client.request(method, server.url + path, headers=headers)
        assert "Evil" not in str(caught.value)
        assert server.accepted == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1/",
        "http://secret@127.0.0.1/",
        "ftp://secret/",
        "//secret",
        "http:///secret",
    ],
)
async def test_a_url_that_cannot_be_sent_is_refused_without_being_quoted(
    client: HttpClient, url: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        await client.request("GET", url)
    assert "secret" not in str(caught.value)


# -- time and cancelling ----------------------------------------------------------------------------


async def test_a_first_byte_that_does_not_come_is_a_timeout_and_frees_the_upstream(
    client: HttpClient,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serve(script) as server:
        with pytest.raises(Timeout) as caught:
            await get(client, server.url, timeouts=Timeouts(first_byte=0.05))
        assert (caught.value.stage, caught.value.status) == ("first_byte", 504)
        await server.all_closed()


@pytest.mark.parametrize("kind", ["engine", "httpx"])  # httpx2's own interface has one figure for both
async def test_a_stalled_body_is_an_idle_timeout(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"1\r\nx\r\n")
        await peer.gone()

    async with serve(script) as server:
        limits = Timeouts(first_byte=10, idle=0.05)
        async with await client.request("GET", server.url, timeouts=limits) as response:
            assert await response.read_some() == b"x"
            with pytest.raises(Timeout) as caught:
                await response.read_some()
            assert caught.value.stage == "idle"
            await server.all_closed()


@pytest.mark.parametrize("kind", ["engine", "httpx"])
async def test_an_idle_timeout_may_be_longer_than_the_first_byte_one(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"1\r\nx\r\n")
        await asyncio.sleep(0.4)
        await peer.send(b"0\r\n\r\n")

    async with serve(script) as server:
        assert await get(client, server.url, timeouts=Timeouts(first_byte=0.2, idle=10)) == (200, b"x")


async def test_a_trickle_runs_into_the_total_timeout(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        while True:
            await peer.send(b"1\r\nx\r\n")

    async with serve(script) as server:
        with pytest.raises(Timeout) as caught:
            await get(client, server.url, timeouts=Timeouts(idle=5, total=0.2))
        assert caught.value.stage == "total"
        await server.all_closed()


async def test_the_total_timeout_covers_the_wait_for_the_head(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serve(script) as server:
        with pytest.raises(Timeout) as caught:
            await get(client, server.url, timeouts=Timeouts(total=0.05))
        assert caught.value.stage == "total"
        await server.all_closed()


async def test_a_silent_handshake_is_a_connect_timeout(client: HttpClient) -> None:
    async with serve(Peer.gone) as server:
        with pytest.raises(Timeout) as caught:
            await get(client, f"https://127.0.0.1:{server.port}", timeouts=Timeouts(connect=0.05))
        assert caught.value.stage == "connect"
        await server.all_closed()


@pytest.mark.parametrize("phase", ["first_byte", "body", "upload"])
async def test_cancelling_drops_the_connection_at_once(client: HttpClient, phase: str) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        if phase == "upload":
            await peer.head()
            reached.set()
            await asyncio.sleep(0.05)  # not reading: the client's buffers fill up and it waits
        else:
            await peer.request()
            if phase == "body":
                await peer.send(STREAM + b"1\r\nx\r\n")
            reached.set()
        await peer.gone()

    async def call(url: str) -> None:
        body = b"x" * 20_000_000 if phase == "upload" else b""
        async with await client.request("POST", url, body=body) as response:
            await response.read()

    async with serve(script) as server:
        task = asyncio.create_task(call(server.url))
        await reached.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_closed()
