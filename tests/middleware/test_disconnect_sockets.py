"""The disconnect middleware over real sockets, under every server the gateway claims to run on."""

from __future__ import annotations

import http.client
import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parents[2]
APP = "tests.middleware.disconnect_server"
_GRANIAN = ["granian", "--interface", "asgi", "--http", "1", "--no-ws", f"{APP}:app", "--port"]
SERVERS = {
    "granian": _GRANIAN,
    "granian-rust-tasks": [*_GRANIAN[:-1], "--task-impl", "rust", "--port"],
    "uvicorn": ["uvicorn", "--no-access-log", "--timeout-graceful-shutdown", "2", f"{APP}:app", "--port"],
    "hypercorn": [APP],
}
_ids = (f"r{n}" for n in itertools.count())


@dataclass
class Server:
    name: str
    port: int

    def connect(self, **options: Any) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, **options)

    def ask(self, path: str, body: bytes | None = b"{}", tail: bytes = b"") -> tuple[socket.socket, str]:
        """Send one request (a GET without a body when it is None) and return its socket and id."""
        name = next(_ids)
        head = f"{'GET' if body is None else 'POST'} {path}?id={name} HTTP/1.1\r\nHost: test\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        peer = self.connect()
        peer.sendall(head.encode() + b"\r\n" + (body or b"") + tail)
        return peer, name

    def ended(self) -> dict[str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/events")
        found: dict[str, str] = orjson.loads(connection.getresponse().read())
        connection.close()
        return found

    def end_of(self, name: str, within: float = 5.0) -> str | None:
        """How the application saw request ``name`` end: "running" when it did not in time, None when
        it never began."""
        give_up = time.monotonic() + within
        while (end := self.ended().get(name)) in (None, "running") and time.monotonic() < give_up:
            time.sleep(0.02)
        return end


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", *SERVERS[request.param], str(port)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    running = Server(request.param, port)
    try:
        give_up = time.monotonic() + 20
        while True:
            try:
                running.connect().close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < give_up, log.read_text()
                time.sleep(0.05)
        yield running
        process.send_signal(signal.SIGINT)
        process.wait(15)
    finally:
        process.kill()
        process.wait()
    text = log.read_text()
    for stain in ("panicked", "never retrieved", "was destroyed", "never awaited"):
        assert stain not in text, f"shutdown was not clean:\n{text}"


def _read_until(peer: socket.socket, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        piece = peer.recv(65536)
        assert piece, f"the connection ended before {wanted!r}: {seen!r}"
        seen += piece
    return seen


def _read_to_end(peer: socket.socket) -> bytes:
    seen = b""
    try:
        while piece := peer.recv(65536):
            seen += piece
    except ConnectionResetError:
        pass
    return seen


@pytest.mark.parametrize("body", [b"{}", None], ids=["post", "get"])
def test_a_client_that_leaves_mid_stream_stops_the_work(server: Server, body: bytes | None) -> None:
    peer, name = server.ask("/sse", body)
    _read_until(peer, b"tick")
    peer.close()
    assert server.end_of(name) == "cancelled"


@pytest.mark.parametrize("path", ["/wait", "/unread"])
def test_a_client_that_leaves_before_the_answer_stops_the_work(server: Server, path: str) -> None:
    peer, name = server.ask(path, b"{}" if path == "/wait" else None)
    time.sleep(0.1)
    peer.close()
    assert server.end_of(name) == "cancelled"


def test_a_client_that_is_gone_at_once_is_noticed_too(server: Server) -> None:
    names = []
    for _ in range(10):
        peer, name = server.ask("/wait")
        peer.close()
        names.append(name)
    time.sleep(0.2)
    give_up = time.monotonic() + 5
    while "running" in (ends := {server.ended().get(name) for name in names}):
        assert time.monotonic() < give_up, "work went on for a client that had gone"
    assert ends <= {"cancelled", None}  # a server may notice first, and then never begin


def test_a_reset_stops_the_work(server: Server) -> None:
    peer, name = server.ask("/wait")
    time.sleep(0.1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    assert server.end_of(name) == "cancelled"


def test_a_half_closed_client_never_gets_a_stream_that_looks_whole(server: Server) -> None:
    peer, name = server.ask("/sse")
    _read_until(peer, b"tick")
    peer.shutdown(socket.SHUT_WR)
    assert server.end_of(name) == "cancelled"
    rest = _read_to_end(peer)
    peer.close()
    assert b"[DONE]" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


def test_an_application_that_listens_itself_is_told(server: Server) -> None:
    peer, name = server.ask("/listen")
    time.sleep(0.1)
    peer.close()
    assert server.end_of(name) == "cancelled"
    assert server.ended()["listener"] == "http.disconnect"


def test_a_departure_hidden_by_stray_bytes_is_ended_by_the_deadline(server: Server) -> None:
    peer, name = server.ask("/strict/wait", tail=b"\r\n")
    time.sleep(0.05)
    peer.close()
    assert server.end_of(name) == "cancelled"


def test_the_deadline_before_the_answer_is_a_504(server: Server) -> None:
    peer, name = server.ask("/strict/wait")
    answer = _read_until(peer, b"}}")
    peer.close()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "deadline_exceeded"
    assert server.end_of(name) == "cancelled"


def test_the_deadline_ends_an_event_stream_with_an_error_event(server: Server) -> None:
    peer, name = server.ask("/strict/sse")
    stream = _read_until(peer, b"0\r\n\r\n")
    peer.close()
    assert b"tick" in stream
    assert b'data: {"error":' in stream
    assert b"[DONE]" not in stream
    assert server.end_of(name) == "cancelled"


@pytest.mark.parametrize("path", ["/strict/chunked", "/strict/sized"])
def test_any_other_answer_is_broken_off_and_never_mistaken_for_a_whole_one(server: Server, path: str) -> None:
    peer, name = server.ask(path)
    answer = _read_to_end(peer)
    peer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not answer.endswith(b"0\r\n\r\n")
    assert len(answer) < 100_000
    assert server.end_of(name) == "cancelled"


def test_a_client_that_does_not_read_is_given_up(server: Server) -> None:
    peer, name = server.ask("/patient/flood")
    assert server.end_of(name, within=10) == "cancelled"
    received = _read_to_end(peer)
    peer.close()
    assert not received.endswith(b"0\r\n\r\n")


def test_one_connection_serves_request_after_request(server: Server) -> None:
    """The watch of one request must not swallow a byte of the next."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for number in range(12):
        body = f"{number}-".encode() * 50
        path = "/slow" if number % 2 else "/echo"
        connection.request("POST", f"{path}?id=keepalive{number}", body)
        response = connection.getresponse()
        assert response.read() == body
    connection.close()
    assert {v for k, v in server.ended().items() if k.startswith("keepalive")} == {"complete"}
