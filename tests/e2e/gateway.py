"""Starts the real thing: `gw serve` as its own process, waits until it is live, stops it again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEY = "e2e-client-key-0123456789abcdef"
ADMIN_KEY = "e2e-admin-key-0123456789abcdef"


@dataclass
class Gateway:
    """A running gateway. ``log`` is everything it has written to stdout and stderr."""

    process: subprocess.Popen[bytes]
    base_url: str
    log_file: Path

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(timeout)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.base_url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry ``labels``."""
        status, page = self.get("/admin/metrics", **{"x-api-key": ADMIN_KEY})
        assert status == 200, page
        total = 0.0
        for line in page.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
                total += float(found[2])
        return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**settings: str) -> dict[str, str]:
    """The machine's environment without anything that would set up a gateway."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


@contextmanager
def running_gateway(*command: str, module: str = "gw", **settings: str) -> Iterator[Gateway]:
    """``gw serve`` (or ``command``, of another ``module``) with ``settings`` as its whole environment.

    ``{port}`` in a command stands for the port that it is to listen on.
    """
    port = int(settings.get("PORT") or free_port())
    with tempfile.TemporaryDirectory() as folder:
        # Tests of the ledger switch it on: its recorder would take longer to load than most tests run.
        defaults = {"PORT": str(port), "LEDGER_ENABLED": "0", "DATA_DIR": f"{folder}/data"}
        environment = clean_environment(**{**defaults, **settings})
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *(part.format(port=port) for part in command or ("serve",))],
                cwd=folder,  # no stray .env
                env={**environment, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        gateway = Gateway(process, f"http://127.0.0.1:{port}", log)
        try:
            wait_until_live(gateway)
            yield gateway
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_until_live(gateway: Gateway) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if gateway.process.poll() is not None:
            raise AssertionError(f"the gateway exited with {gateway.process.returncode}:\n{gateway.log}")
        try:
            if gateway.get("/live")[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the gateway is not live:\n{gateway.log}")
