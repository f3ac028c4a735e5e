"""TLS is always verified, against the system's store or a CA that the operator names."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import cast

import pytest
import trustme

from providers.errors import ProtocolError, Timeout, Unreachable
from providers.http import EngineClient, HttpClient, Timeouts, open_client

from .conftest import Engines, MakeClient, get
from .server import OK, Peer, answering, answering_once, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_certificate_of_the_named_authority_is_trusted(
    make: MakeClient, authority: trustme.CA, ca_file: str
) -> None:
    client = make(ca_file=ca_file)
    async with serve(answering(OK), tls=server_context(authority, "127.0.0.1")) as server:
        for _ in range(3):
            assert await get(client, server.url) == (200, b"ok")
        assert server.accepted == 1


async def test_a_certificate_for_another_host_is_refused(
    make: MakeClient, authority: trustme.CA, ca_file: str
) -> None:
    client = make(ca_file=ca_file)
    async with serve(answering(OK), tls=server_context(authority, "elsewhere.test")) as server:
        with pytest.raises(Unreachable) as caught:
            await get(client, server.url)
    assert (caught.value.stage, caught.value.code) == ("tls", "upstream_tls")
    assert not caught.value.retryable


async def test_a_certificate_of_an_unknown_authority_is_refused(
    make: MakeClient, authority: trustme.CA
) -> None:
    client = make()
    async with serve(answering(OK), tls=server_context(authority, "127.0.0.1")) as server:
        with pytest.raises(Unreachable) as caught:
            await get(client, server.url)
    assert (caught.value.stage, caught.value.code) == ("tls", "upstream_tls")


async def test_a_server_without_tls_is_a_tls_error(client: HttpClient) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(plain) as server:
        with pytest.raises(Unreachable) as caught:
            await get(client, server.url.replace("http:", "https:"))
    assert caught.value.stage == "tls"


@pytest.mark.parametrize("kind", ["engine", "httpx"])
def test_a_wrong_ca_file_is_noticed_at_once(kind: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        open_client("engine" if kind == "engine" else "httpx", ca_file=str(tmp_path / "missing.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(OSError, match=r"."):
        open_client("engine" if kind == "engine" else "httpx", ca_file=str(tmp_path / "empty.pem"))


async def test_the_connection_speaks_http_1_1_by_name(
    engines: Engines, authority: trustme.CA, ca_file: str
) -> None:
    context = server_context(authority, "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def script(peer: Peer) -> None:
        chosen.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await peer.request()
        await peer.send(OK)

    async with serve(script, tls=context) as server:
        assert await get(engines(ca_file=ca_file), server.url) == (200, b"ok")
    assert chosen == ["http/1.1"]


async def test_a_polite_farewell_ends_a_close_delimited_body(
    make: MakeClient, authority: trustme.CA, ca_file: str
) -> None:
    wire = b"HTTP/1.1 200 OK\r\n\r\nto the end"
    async with serve(answering_once(wire), tls=server_context(authority, "127.0.0.1")) as server:
        assert await get(make(ca_file=ca_file), server.url) == (200, b"to the end")


async def test_a_cut_without_farewell_does_not(engines: Engines, authority: trustme.CA, ca_file: str) -> None:
    """Otherwise anybody on the path could shorten an answer unnoticed (RFC 9112 §9.8)."""
    context = server_context(authority, "127.0.0.1")
    wire = b"HTTP/1.1 200 OK\r\n\r\nto the e"

    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    class Cutter(asyncio.Protocol):
        """TLS by hand over a plain transport, so that it can end without close_notify."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
            self.shaken = False

        def data_received(self, data: bytes) -> None:
            self.incoming.write(data)
            try:
                if not self.shaken:
                    self.tls.do_handshake()
                    self.shaken = True
                self.tls.read(65536)
                self.tls.write(wire)
                answered.set()
            except ssl.SSLWantReadError:
                pass
            self.transport.write(self.outgoing.read())
            if answered.is_set():
                self.transport.close()

    listener = await loop.create_server(Cutter, "127.0.0.1", 0)
    async with listener:
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with await engines(ca_file=ca_file).request("GET", url) as response:
            with pytest.raises(ProtocolError) as caught:
                await response.read()
    assert caught.value.code == "upstream_truncated"


async def test_an_idle_tls_connection_that_is_closed_is_not_used_again(
    engines: Engines, authority: trustme.CA, ca_file: str
) -> None:
    engine = engines(ca_file=ca_file)
    async with serve(answering_once(OK), tls=server_context(authority, "127.0.0.1")) as server:
        for number in range(1, 4):
            assert await get(engine, server.url) == (200, b"ok")
            await server.all_closed()
            assert server.accepted == number


async def test_cancelling_inside_the_handshake_leaves_nothing(engine: EngineClient) -> None:
    async with serve(Peer.gone) as server:
        task = asyncio.create_task(get(engine, server.url.replace("http:", "https:")))
        while not server.accepted:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_closed()
        assert [counts["open"] for counts in engine.stats().values()] == [0]


@pytest.mark.parametrize("phase", ["first_byte", "body"])
async def test_cancelling_closes_a_tls_connection_promptly(
    engines: Engines, authority: trustme.CA, ca_file: str, phase: str
) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if phase == "body":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        reached.set()
        await peer.gone()

    engine = engines(ca_file=ca_file)
    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        task = asyncio.create_task(get(engine, server.url))
        await reached.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_closed()


async def test_time_outs_and_large_bodies_work_over_tls(
    engines: Engines, authority: trustme.CA, ca_file: str
) -> None:
    engine = engines(ca_file=ca_file)
    body = bytes(range(256)) * 16384

    async def script(peer: Peer) -> None:
        seen = await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        peer.writer.write(seen.body)
        await peer.writer.drain()
        await peer.request()
        await peer.gone()

    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        async with await engine.request("POST", server.url, body=body) as response:
            assert await response.read() == body
        with pytest.raises(Timeout):
            await get(engine, server.url, Timeouts(first_byte=0.05))
        await server.all_closed()
