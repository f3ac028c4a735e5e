"""The suite's own instruments: the relay, the dead end, marks, and what cannot be installed."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .install import PACKAGES, Installer, NotInstalledError, Package, install
from .marks import marks
from .relay import dead_end, relaying
from .stage import execute

MARK = {"type": "ephemeral"}


class _Echo(BaseHTTPRequestHandler):
    """Answers with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def test_the_relay_hands_on_and_reads_along(echo: int) -> None:
    with relaying(echo) as relay:
        for number in (1, 2):
            body = json.dumps({"number": number, "filler": "x" * 200_000}).encode()
            request = urllib.request.Request(f"{relay.base_url}/v1/a?b={number}", body, {"X-Own": "1"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.read() == body
    first, second = relay.requests
    assert (first.method, first.path, first.body["number"]) == ("POST", "/v1/a?b=1", 1)
    assert second.headers["x-own"] == "1"
    assert relay.asked("/v1/a") == [first, second]
    assert first.digest != second.digest


def test_the_relay_reads_requests_of_one_connection_in_pieces(echo: int) -> None:
    wire = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}"
    with relaying(echo) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        for _ in range(2):
            for at in range(0, len(wire), 7):
                client.sendall(wire[at : at + 7])
            while not client.recv(4096).endswith(b"{}"):
                pass
        assert [sent.raw for sent in relay.requests] == [b"{}", b"{}"]


def test_the_dead_end_refuses_and_remembers() -> None:
    with dead_end() as proxy:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            opener.open("http://example.invalid/telemetry", timeout=5)
        refused.value.close()
        assert proxy.wanted == ["GET http://example.invalid/telemetry HTTP/1.1"]


def test_marks_have_the_same_name_in_both_dialects() -> None:
    chat = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be brief", "cache_control": MARK}]},
            {"role": "user", "content": "go", "cache_control": MARK},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "function": {"name": "f"}, "cache_control": MARK}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "done", "cache_control": MARK},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": MARK}],
    }
    result = {"type": "tool_result", "tool_use_id": "c1", "cache_control": MARK}
    messages = {
        "system": [{"type": "text", "text": "be brief", "cache_control": MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "go", "cache_control": MARK}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "cache_control": MARK}]},
            {"role": "user", "content": [result]},
        ],
        "tools": [{"name": "f", "cache_control": MARK}],
    }
    assert marks(chat) == marks(messages) == {"tool f", "text be brief", "text go", "call c1", "result c1"}
    assert marks({"messages": [{"role": "user", "content": "go"}], "tools": [{"name": "f"}]}) == set()


def test_a_machine_without_node_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.clients.install.INSTALLED", tmp_path)
    package = Package("codex", "node_modules/.bin/codex")
    with pytest.raises(NotInstalledError, match="node is not on this machine"):
        install(package, {"PATH": str(tmp_path)})
    assert not (package.folder / ".complete").exists()


def test_an_installation_that_fails_says_why_and_is_no_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """npm that fails twice, as without a network."""
    monkeypatch.setattr("tests.clients.install.INSTALLED", tmp_path / "installed")
    for name, script in (
        ("node", "exit 0"),
        ("npm", f"echo no network >&2; echo x >>{tmp_path}/tries; exit 1"),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    lines: list[str] = []
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    installer = Installer(lines.append)
    with pytest.raises(NotInstalledError, match="npm install --no-save failed: no network"):
        installer.folder(Package("codex", "node_modules/.bin/codex"))
    installer.close()
    assert (tmp_path / "tries").read_text().count("x") == 2
    assert lines == ["codex is not installed: npm install --no-save failed: no network"]


def test_what_a_client_leaves_running_is_ended(tmp_path: Path) -> None:
    script = "sleep 300 & echo $! >child; echo said"
    path = {"PATH": os.environ["PATH"]}
    returncode, output = execute(["sh", "-c", script], path, tmp_path, tmp_path / "out")
    assert (returncode, output) == (0, "said\n")
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while is_running(child):  # a killed process takes a moment
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process: int) -> bool:
    """Whether the process is there and no zombie that nobody has waited for."""
    if not Path("/proc/self/stat").exists():
        with suppress(ProcessLookupError):
            os.kill(process, 0)
            return True
        return False
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_locks_pin_every_file_and_name_no_registry(package: Package) -> None:
    if package.is_python:
        text = package.source.read_text()
        entries = [line for line in text.splitlines() if line[:1].isalnum()]
        assert entries
        assert all("==" in line for line in entries)
        assert text.count("--hash=sha256:") >= len(entries)
    else:
        text = (package.source / "package-lock.json").read_text()
        lock = json.loads(text)
        asked = json.loads((package.source / "package.json").read_text())["dependencies"]
        assert lock["packages"][""]["dependencies"] == asked
        assert all("integrity" in entry for name, entry in lock["packages"].items() if name)
    assert "://" not in "".join(line for line in text.splitlines() if "resolved" in line or "index" in line)
