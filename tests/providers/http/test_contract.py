"""What every HTTP client here promises, whichever is chosen. Bodies, framing, connections."""

from __future__ import annotations

import asyncio

import pytest

from providers.errors import ProtocolError, Unreachable
from providers.http import HttpClient

from .conftest import MakeClient, get
from .server import OK, Peer, Seen, answering, answering_once, serve

pytestmark = pytest.mark.anyio

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b'5;name="a;b"\r\nhello\r\n6;x\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'
)


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
