"""The simulated upstream as its own process, steered over its control endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .gateway import ROOT, clean_environment, free_port


class Upstream:
    """What tests ask of the simulated upstream: script answers, see what arrived."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def script(self, *scenarios: dict[str, Any]) -> None:
        """The next requests get these answers (the fields of ``perf.simulated.Scenario``)."""
        self._control("POST", "/_sim/script", list(scenarios))

    @property
    def scripted(self) -> int:
        """How many scripted answers still wait for their request."""
        return int(self._control("GET", "/_sim/script")["scripted"])

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request so far: headers without secrets, parsed body, how its answer ended."""
        answer = self._control("GET", "/_sim/requests")
        return list(answer["requests"] if isinstance(answer, dict) else answer)

    @property
    def chats(self) -> list[dict[str, Any]]:
        return [r for r in self.requests if r["path"].startswith("/v1/messages")]

    def asked(self, path: str) -> list[dict[str, Any]]:
        """Every request so far to exactly this path."""
        return [r for r in self.requests if r["path"] == path]

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 10) -> Any:
        """The chats, as soon as ``condition`` holds for them."""
        deadline = time.monotonic() + seconds
        while not condition(chats := self.chats):
            assert time.monotonic() < deadline, chats
            time.sleep(0.01)
        return chats

    def wait_until(self, path: str, condition: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until ``condition`` holds for the requests to ``path``."""
        deadline = time.monotonic() + 10
        while not condition(asked := self.asked(path)):
            assert time.monotonic() < deadline, asked
            time.sleep(0.01)

    def reset(self) -> None:
        self._control("DELETE", "/_sim/requests")

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def running_upstream(*arguments: str) -> Iterator[Upstream]:
    """``python -m perf.simulated`` with further ``arguments``."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "perf.simulated", "--port", str(port), *arguments],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    upstream = Upstream(f"http://127.0.0.1:{port}")
    try:
        for _ in range(500):
            try:
                upstream.reset()
                break
            except OSError:
                time.sleep(0.02)
        yield upstream
    finally:
        process.terminate()
        process.wait(10)
