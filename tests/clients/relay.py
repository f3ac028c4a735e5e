"""What a client sends, seen on the wire: a relay before the gateway, and a proxy that leads nowhere.

The relay hands bytes on as they come, both ways, and reads along; so that timing, half-closed connections
and disconnects stay what they are.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httptools

_CHUNK = 64 * 1024
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass
class Sent:
    """One request of a client. Header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def digest(self) -> str:
        """SHA-256 of the body, as the upstream's ledger tells it of what arrived."""
        return hashlib.sha256(self.raw).hexdigest()


class Relay:
    """Listens on ``port`` and hands everything to ``target``; ``requests`` are those that were complete."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Sent] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def asked(self, path: str) -> list[Sent]:
        """The requests so far to this path, whatever their query."""
        return [sent for sent in self.requests if sent.path.partition("?")[0] == path]

    def close(self) -> None:
        # A blocked accept() is woken by shutdown(), not by close().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            reader = _Reader(self.requests)
            _pump(client, server, reader.parser)
            back.join()


class _Reader:
    """Callbacks of httptools: the requests of one connection."""

    def __init__(self, requests: list[Sent]) -> None:
        self._requests = requests
        self._now = Sent("", "")
        self.parser: Any = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._now = Sent("", "")

    def on_url(self, url: bytes) -> None:
        self._now.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._now.raw += body

    def on_headers_complete(self) -> None:
        self._now.method = self.parser.get_method().decode()

    def on_message_complete(self) -> None:
        self._requests.append(self._now)


def _pump(source: socket.socket, target: socket.socket, parser: Any = None) -> None:
    """Copies until the source ends, and ends the target's side then."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            if parser is not None:
                try:
                    parser.feed_data(data)
                except httptools.HttpParserError:
                    parser = None  # not HTTP any more: the gateway says what it thinks of it
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relaying(target: int) -> Iterator[Relay]:
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()


class DeadEnd:
    """An HTTP proxy that refuses everything and remembers who was wanted: what leaves the machine."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.wanted: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    client.settimeout(5)
                    self.wanted.append(client.recv(_CHUNK).partition(b"\r\n")[0].decode("latin-1"))
                    client.sendall(_FORBIDDEN)


@contextmanager
def dead_end() -> Iterator[DeadEnd]:
    proxy = DeadEnd()
    try:
        yield proxy
    finally:
        proxy.close()
