"""What is looked into: a simulated upstream, a gateway with two workers, and all that they leave behind."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from perf.bench.processes import ROOT, free_port

ADMIN_KEY = "isolation-admin-key-0123456789abcdef"
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
#: Connections in a row that are answered, for there to be no worker that is not ready.
_SURE = 30


@dataclass(slots=True, frozen=True)
class Servers:
    """``log``: all that the gateway has written; ``data``: its data directory."""

    base_url: str
    upstream_url: str
    log: Path
    data: Path

    def admin(self, method: str, path: str, body: Any = None) -> bytes:
        """The answer of the admin API. Raises ``RuntimeError`` with what it says instead of 2xx."""
        return _ask(method, self.base_url + path, body, {"x-api-key": ADMIN_KEY})

    def wait_for_keys(self, key: str) -> None:
        """Until every worker knows ``key``: one that began before the tables were there looks again only
        after a second. Connections go to either."""
        deadline, known = time.monotonic() + _START_SECONDS, 0
        while known < _SURE:
            try:
                _ask("GET", f"{self.base_url}/v1/models", None, {"authorization": f"Bearer {key}"})
                known += 1
            except RuntimeError:
                known = 0
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def forget(self) -> None:
        """The upstream keeps every request until it is told so."""
        _ask("DELETE", f"{self.upstream_url}/_sim/requests", None, {})


@contextmanager
def running(folder: Path, *, workers: int, database_url: str | None) -> Iterator[Servers]:
    """Both, until the block ends; the gateway ends first, with all that it still has to write.

    ``database_url``: PostgreSQL's, else it is SQLite in ``folder``.
    """
    port, upstream_port = free_port(), free_port()
    upstream_url = f"http://127.0.0.1:{upstream_port}"
    found = Servers(f"http://127.0.0.1:{port}", upstream_url, folder / "gateway.log", folder / "data")
    settings = {
        "PORT": str(port),
        "GATEWAY_API_KEY": "isolation-gateway-key-0123456789abcdef",
        "ADMIN_API_KEY": ADMIN_KEY,
        "KEY_PEPPER": "isolation-pepper-0123456789abcdef0123456789abcdef",
        "ENABLE_MULTI_PROJECT": "1",
        "WEB_CONCURRENCY": str(workers),
        "DATA_DIR": str(found.data),
        "RATE_LIMIT_RPM": "1000000000",
        "ANTHROPIC_API_KEY": "sk-ant-isolation-upstream-0123456789",
        "ANTHROPIC_BASE_URL": upstream_url,
        "LOCAL_LLM_BASE_URL": upstream_url,
        "LOCAL_LLM_MODEL_ALLOWLIST": "llama3.1:8b,nomic-embed-text",
        **({} if database_url is None else {"DATABASE_URL": database_url}),
    }
    with ExitStack() as stack:
        stack.enter_context(
            _process(folder / "upstream.log", "perf.simulated", "--port", str(upstream_port), env={})
        )
        gateway = stack.enter_context(_process(found.log, "gw", "serve", env=settings))
        _wait(found, gateway)
        yield found


@contextmanager
def _process(
    log: Path, module: str, *arguments: str, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=log.parent,  # no stray .env
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(servers: Servers, gateway: subprocess.Popen[bytes]) -> None:
    """Until projects can be made: the recorder has made the tables by then."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            servers.admin("GET", "/admin/projects")
            return
        except (OSError, RuntimeError) as error:
            if gateway.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no gateway: {error}\n{servers.log.read_text()[-4000:]}") from error
            time.sleep(0.1)


def _ask(method: str, url: str, body: Any, headers: dict[str, str]) -> bytes:
    data = None if body is None else orjson.dumps(body)
    if data is not None:
        headers = {**headers, "content-type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(f"{method} {url}: {error.code} {error.read()[:500]!r}") from None
