"""An upstream that does exactly what a test tells it, byte by byte, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass


@dataclass
class Seen:
    """A request as it arrived."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Peer:
    """One accepted connection. ``number`` counts from 1 in order of arrival."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number

    async def request(self) -> Seen:
        """The next request, whole. Raises ``IncompleteReadError`` when the client has gone."""
        head = await self.head()
        length = int(head.header(b"content-length") or 0)
        head.body = await self.reader.readexactly(length)
        return head

    async def head(self) -> Seen:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw[:-4].split(b"\r\n")
        headers = [(name, value) for name, _, value in (field.partition(b": ") for field in fields)]
        return Seen(line, headers, b"")

    async def send(self, *parts: bytes) -> None:
        """Send each part in a segment of its own."""
        for part in parts:
            if self.writer.is_closing():
                raise ConnectionResetError  # uvloop would call it a RuntimeError
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.001)

    def reset(self) -> None:
        """RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def half_close(self) -> None:
        self.writer.write_eof()

    async def gone(self) -> None:
        """Wait until the client has closed or reset the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Runs ``script`` for each connection, and closes the connection when it returns."""

    def __init__(self, script: Script, scheme: str) -> None:
        self._script = script
        self._scheme = scheme
        self.port = 0
        #: Connections accepted so far, and those whose client end is still there.
        self.accepted = 0
        self.open = 0
        self.failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_closed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        try:
            await self._script(Peer(reader, writer, self.accepted))
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone, which scripts need not care about
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over; a TLS farewell might wait for its answer
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            self._tasks.discard(task)
            if not self.open:
                self._all_closed.set()

    async def all_closed(self) -> None:
        """Wait (generously) until no script runs any more."""
        async with asyncio.timeout(10):
            while self.open:
                self._all_closed.clear()
                await self._all_closed.wait()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serve(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script, "https" if tls else "http")
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()
    assert not server.failures, server.failures


def answering(*parts: bytes) -> Script:
    """Answer every request on every connection with ``parts``."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*parts)

    return script


def answering_once(*parts: bytes) -> Script:
    """Answer the first request of each connection and close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*parts)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
