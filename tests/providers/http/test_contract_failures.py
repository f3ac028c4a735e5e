"""What every HTTP client here promises when things go wrong: errors, time-outs, cancelling."""

from __future__ import annotations

import asyncio

import pytest

from providers.errors import ProtocolError, Timeout, Unreachable
from providers.http import HttpClient, Timeouts

from .conftest import get
from .server import OK, Peer, answering, answering_once, serve

pytestmark = pytest.mark.anyio

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
