"""The real things of a soak: simulated upstreams, a database, `gw serve` with two workers, keys."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gw.ledger.status import read_status
from perf.bench.processes import ROOT, Process, free_port

from .prices import prices_file
from .rows import Billed, billed_of

KEY = "soak-gateway-key-0123456789abcdef"
_PEPPER = "soak-pepper-0123456789abcdef0123456789abcdef"
WORKERS = 2
#: Seconds until a gateway that has been told to stop has drained and its recorder has written the rest.
_STOP_SECONDS = 60.0


@dataclass(slots=True)
class Database:
    """``url`` is what the gateway is told (None: SQLite in its data directory), ``address`` what
    :func:`~perf.soak.rows.read_database` reads. ``outages``: what is done to it, by name, for a while."""

    url: str | None
    address: str
    outages: Mapping[str, Callable[[], AbstractContextManager[None]]]


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """A PostgreSQL of our own, which can be stopped and frozen; or SQLite, which can be locked."""
    if kind == "postgresql":
        from tests.services import running_postgres  # development's own: a server without a container

        with running_postgres() as service:
            outages = {"stopped": service.stopped, "frozen": service.frozen}
            yield Database(service.url, service.url, outages)
    else:
        path = folder / "data" / "gateway.db"

        @contextmanager
        def locked() -> Iterator[None]:
            with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("ROLLBACK")

        yield Database(None, str(path), {"locked": locked, "locked again": locked})


class Gateway(Process):
    """`gw serve`."""

    def stop_politely(self) -> int:
        """SIGTERM; its exit code. Raises ``TimeoutExpired``."""
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(_STOP_SECONDS)


@dataclass(slots=True)
class Stage:
    """A running soak. ``keys`` with the ``projects`` that they belong to, in one order."""

    upstream: Process
    upstream_port: int
    database: Database
    folder: Path
    port: int
    keys: list[str] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    gateway: Gateway | None = None

    @property
    def prices(self) -> Path:
        return self.folder / "prices.json"

    @property
    def environment(self) -> dict[str, str]:
        """The gateway's, in which no time-out is longer than a fault should last."""
        sim = f"http://127.0.0.1:{self.upstream_port}"
        settings = {
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(WORKERS),
            "LOG_LEVEL": "warning",
            "GATEWAY_API_KEY": KEY,
            "DATA_DIR": str(self.folder / "data"),
            "PRICES_FILE": str(self.prices),
            "ENABLE_MULTI_PROJECT": "1",
            "KEY_PEPPER": _PEPPER,
            "RATE_LIMIT_ENABLED": "0",
            "ANTHROPIC_API_KEY": "sk-soak",
            "ANTHROPIC_BASE_URL": sim,
            "LOCAL_LLM_BASE_URL": sim,
            "LOCAL_LLM_MODEL_ALLOWLIST": "qwen2.5:7b,qwen3:8b,nomic-embed-text:latest",
            "LOCAL_LLM_DEFAULT_MODEL": "qwen2.5:7b",
            "LOCAL_LLM_TIMEOUT_SECONDS": "4",
            "OPENAI_COMPATIBLE_OPENAI_BASE_URL": f"{sim}/openai/v1",
            "OPENAI_COMPATIBLE_OPENAI_API_KEY": "sk-soak",
            "BEDROCK_REGION": "eu-north-1",
            "BEDROCK_API_KEY": "sk-soak",
            "BEDROCK_BASE_URL": f"{sim}/anthropic",
            "BEDROCK_MODELS": "anthropic.claude-opus-5-5",
            "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "4",
            "UPSTREAM_IDLE_TIMEOUT_SECONDS": "4",
            "UPSTREAM_TIMEOUT_SECONDS": "30",
            "DRAIN_TIMEOUT_SECONDS": "10",
        }
        return settings | {"DATABASE_URL": self.database.url or "", "REDIS_URL": ""}

    def make_projects(self, count: int) -> None:
        """So many projects with a key each, the first one with a budget; and the gateway's own."""
        self.prices.write_bytes(orjson.dumps(prices_file()))
        self.keys, self.projects = [KEY], ["default"]
        for number in range(count):
            name = f"soak-{number}"
            budget = ["--monthly-budget", "100000"] if number == 0 else []
            self._gw("projects", "create", name, *budget)
            made = self._gw("keys", "create", name)
            self.keys.append(made["key"])
            self.projects.append(name)

    def start_gateway(self) -> None:
        self.gateway = Gateway([sys.executable, "-m", "gw", "serve"], env=self.environment)
        self.gateway.wait_for(self.port, "/ready", timeout=60)

    def stop_gateway(self) -> int:
        """SIGTERM; its exit code."""
        assert self.gateway is not None
        code = self.gateway.stop_politely()
        self.end_gateway()
        return code

    def end_gateway(self) -> None:
        """Whatever it does."""
        if self.gateway is not None:
            self.gateway.stop()
            self.gateway = None

    def kill_worker(self) -> int:
        """SIGKILL to one worker; its pid."""
        assert self.gateway is not None
        worker = _workers(self.gateway.pid)[-1]
        os.kill(worker, signal.SIGKILL)
        return worker

    def recorded(self, since: float) -> bool:
        """Whether the recorder has said after ``since`` (Unix seconds) that nothing is left to be written."""
        status = read_status(self.folder / "data" / "spool")
        return status is not None and status.at > since and status.error is None and not status.backlog_bytes

    def bill(self) -> list[Billed]:
        """The upstreams' bill so far."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.upstream_port}/_sim/ledger", timeout=60
        ) as answer:
            return [billed_of(orjson.loads(line)) for line in answer.read().splitlines()]

    def _gw(self, *command: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "gw", *command, "--json"],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"gw {' '.join(command[:2])}: {done.stderr[-2_000:]}")
        made: dict[str, Any] = json.loads(done.stdout)
        return made


@contextmanager
def stage(kind: str, folder: Path, projects: int) -> Iterator[Stage]:
    """Everything but traffic: ``folder`` is for the gateway's data."""
    port = free_port()
    upstream = Process([sys.executable, "-m", "perf.simulated", "--port", str(port)])
    try:
        upstream.wait_for(port)
        with database(kind, folder) as store:
            here = Stage(upstream, port, store, folder, free_port())
            here.make_projects(projects)
            try:
                here.start_gateway()
                yield here
            finally:
                here.end_gateway()
    finally:
        upstream.stop()


def _workers(parent: int) -> list[int]:
    """The children that answer requests, oldest first: not the recorder, nor a helper of multiprocessing."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                command = (stat.parent / "cmdline").read_bytes()
                if b"gw.ledger" not in command and b"resource_tracker" not in command:
                    found.append(int(stat.parent.name))
    return sorted(found)


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen in {seconds:.0f} s")
        time.sleep(0.1)
