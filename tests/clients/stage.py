"""Runs a client once, against a real gateway and the simulated upstream, and tells all that was seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.gateway import KEY, Gateway
from tests.e2e.upstream import Upstream

from .client import Client, Place
from .relay import DeadEnd, Relay, Sent, relaying
from .scenes import FILES, Scene

Json = dict[str, Any]

#: Seconds for one run; the slowest takes nine on a quiet machine.
_PATIENCE = 90


@dataclass(frozen=True, repr=False)
class Run:
    """What one run has shown. ``sent``: by the client; ``upstream``: what then arrived there.

    ``left``: scripted answers that nobody came for. ``wanted``: what it asked of hosts beyond this machine.
    ``refused``: lines of the gateway's log with a status of 400 or more; ``noise``: those that are no
    line of the access log, such as a traceback.
    """

    returncode: int
    output: str
    sent: Sequence[Sent]
    upstream: Sequence[Json]
    log: Sequence[Json]
    files: Mapping[str, str]
    left: int
    wanted: Sequence[str]
    noise: Sequence[str]
    seconds: float

    @property
    def refused(self) -> list[Json]:
        return [line for line in self.log if line["status"] >= 400]

    def to(self, endpoint: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.path.partition("?")[0] == endpoint]

    def at(self, path: str) -> list[Json]:
        """What arrived upstream at ``path``, without its query."""
        return [entry for entry in self.upstream if entry["path"].partition("?")[0] == path]

    def __repr__(self) -> str:
        asked = "\n".join(f"  {sent.method} {sent.path}" for sent in self.sent)
        there = "\n".join(f"  {e['method']} {e['path']} {e['status']}" for e in self.upstream)
        refused = "\n".join(f"  {line}" for line in self.refused)
        return (
            f"exit {self.returncode} after {self.seconds:.1f} s, {self.left} answers left\n"
            f"sent:\n{asked}\narrived:\n{there}\nrefused:\n{refused}\noutput:\n{self.output[-4000:]}"
        )


@dataclass
class Stage:
    """The gateway and the upstream that all clients of a session share."""

    gateway: Gateway
    upstream: Upstream
    proxy: DeadEnd

    def run(self, client: Client, folder: Path, scene: Scene, *, key: str = KEY) -> Run:
        """Start ``client``, installed in ``folder``, in a scratch project; wait until it ends."""
        self.upstream.reset()
        self.proxy.wanted.clear()
        logged = len(self.gateway.log)
        with scratch() as (home, project), relaying(self.gateway.port) as relay:
            self.upstream.script(*scene.script(client, project))
            place = Place(relay.base_url, key, scene.model, home, project, folder)
            command = client.command(place, scene.prompt)
            environment = {**clean_environment(home, self.proxy), **client.environment(place)}
            started = time.monotonic()
            returncode, output = execute(command, environment, project, home / "output")
            return Run(
                returncode,
                output,
                tuple(relay.requests),
                self.upstream.requests,
                self._lines(logged, relay),
                {file.name: file.read_text() for file in project.iterdir() if file.is_file()},
                self.upstream.scripted,
                tuple(self.proxy.wanted),
                [line for line in self.gateway.log[logged:].splitlines() if line[:1] != "{"],
                time.monotonic() - started,
            )

    def _lines(self, logged: int, relay: Relay) -> list[Json]:
        """The gateway's log since then; a line is written just behind the answer's last byte."""
        asked = sum(sent.method == "POST" for sent in relay.requests)
        deadline = time.monotonic() + 5
        while True:
            lines = [json.loads(line) for line in self.gateway.log[logged:].splitlines() if line[:1] == "{"]
            lines = [line for line in lines if "status" in line]
            if sum(line["method"] == "POST" for line in lines) >= asked or time.monotonic() > deadline:
                return lines
            time.sleep(0.02)


@contextmanager
def scratch() -> Iterator[tuple[Path, Path]]:
    """An empty home and a project with its files."""
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as name:
        # Clients show and send the real path, which on macOS is another one.
        root = Path(name).resolve()
        home, project = root / "home", root / "project"
        home.mkdir()
        project.mkdir()
        for file, text in FILES.items():
            (project / file).write_text(text)
        yield home, project


def clean_environment(home: Path, proxy: DeadEnd) -> dict[str, str]:
    """Nothing of the user's. What leaves the machine, where a client heeds proxies, is seen and refused."""
    outside = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy.url)
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        **folders,
        **outside,
        **here,
    }


def execute(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: Path
) -> tuple[int, str]:
    """The exit code and everything printed; what the program left running is ended."""
    with output.open("wb") as file:  # a file, not a pipe: a child that stays would hold a pipe open
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            returncode = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            returncode = -signal.SIGALRM
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return returncode, output.read_text(errors="replace")
