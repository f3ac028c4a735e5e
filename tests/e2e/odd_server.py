"""A server that answers every request with the same bytes, or with none."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OddServer(socketserver.ThreadingTCPServer):
    """``answer`` is what is sent once the head of a request has come; empty: nothing, until the peer goes."""

    daemon_threads = True
    allow_reuse_address = True
    answer = b""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, OddServer)
        try:
            self.request.recv(65536)
            self.request.sendall(self.server.answer)
            while self.server.answer == b"" and self.request.recv(65536):
                pass
        except OSError:
            pass  # the gateway does not wait for more


@contextmanager
def odd_server() -> Iterator[OddServer]:
    with OddServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
