"""Processes under measurement: start, wait until they answer, count CPU and memory, end.

CPU is utime+stime of the whole process tree from ``/proc`` (proc(5)), from ``ps`` elsewhere. Memory is
RSS, and where the kernel tells it PSS, which counts pages that forked workers share once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_ON_PROC = (_PROC / "self" / "stat").exists()
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpus() -> tuple[int | None, int | None]:
    """``(what is measured, what measures)``: two cores to pin to, or None where pinning is impossible."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


class Process:
    """A child process on a core of its own, with its output in a temporary file."""

    def __init__(
        self, command: Sequence[str], *, cpu: int | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process

        def pin() -> None:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        self.started = time.perf_counter()
        self._child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=pin,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_for(self, port: int, path: str | None = None, timeout: float = 30) -> float:
        """Seconds from the start until ``path`` answers 200 (or the port accepts, without a path).

        Raises ``RuntimeError`` with the process's output when it does not.
        """
        while time.perf_counter() - self.started < timeout:
            if self._child.poll() is not None:
                raise RuntimeError(
                    f"{self._child.args!r} ended with {self._child.returncode}:\n{self.output()}"
                )
            if _answers(port, path):
                return time.perf_counter() - self.started
            time.sleep(0.005)
        raise RuntimeError(f"{self._child.args!r} does not answer:\n{self.output()}")

    def output(self) -> str:
        """The last of what it printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-4000:]

    def describe(self) -> str:
        """What it is, whether it runs, and the last of what it printed."""
        code = self._child.poll()
        state = "running" if code is None else f"ended with {code}"
        return f"--- {self._child.args!r}: {state}\n{self.output()}"

    def cpu_seconds(self) -> float:
        """CPU time of the tree so far."""
        if not _ON_PROC:
            return sum(_ps(pid, "time") for pid in tree(self.pid))
        return sum(map(cpu_seconds, tree(self.pid)))

    def memory(self) -> tuple[float, float | None]:
        """``(RSS, PSS)`` of the tree in MB; PSS is None where it is not known."""
        if not _ON_PROC:
            return sum(_ps(pid, "rss") for pid in tree(self.pid)) / 1024, None
        rss = pss = 0
        known = True
        for pid in tree(self.pid):
            try:
                text = (_PROC / str(pid) / "smaps_rollup").read_text()
            except OSError:
                known = False
                continue
            values = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:] if "kB" in line}
            rss += values.get("Rss:", 0)
            pss += values.get("Pss:", 0)
        return rss / 1024, pss / 1024 if known else None

    def stop(self) -> None:
        """SIGTERM to the process, then SIGKILL to what is left of its group."""
        self._child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of zombies
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._log.close()


def gateway(upstream_port: int, port: int, cpu: int | None, home: Path, *, ledger: bool = True) -> Process:
    """``gw serve`` with default policies; only the request limit is too high to be met. Its ledger is SQLite
    in ``home``, or there is none."""
    env = {
        "DATA_DIR": str(home / f"data-{port}"),
        "LEDGER_ENABLED": "1" if ledger else "0",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GATEWAY_API_KEY": KEY,
        "ANTHROPIC_API_KEY": "simulated-upstream",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "LOCAL_LLM_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "RATE_LIMIT_RPM": "1000000000",
        "WEB_CONCURRENCY": "1",
        "DATABASE_URL": "",
        "REDIS_URL": "",
    }
    return Process([sys.executable, "-m", "gw", "serve"], cpu=cpu, env=env)


#: The gateway's key during a benchmark.
KEY = "benchmark-key-0123456789abcdef"

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {home}/nginx.pid; error_log stderr crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; client_max_body_size 64m;
  client_body_buffer_size 4m;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream sim {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://sim; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(upstream_port: int, port: int, cpu: int | None, home: Path) -> Process | None:
    """nginx as a plain streaming proxy, one process; None when it is not installed."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    config = home / "nginx.conf"
    config.write_text(_NGINX.format(home=home, upstream=upstream_port, port=port))
    return Process([binary, "-p", str(home), "-c", str(config), "-e", "stderr"], cpu=cpu)


def _answers(port: int, path: str | None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5) as probe:
            if path is None:
                return True
            probe.settimeout(2)
            probe.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            return probe.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def program(module: str, **spec: Any) -> dict[str, Any]:
    """Run ``perf.bench.<module>``, which reads JSON and answers with JSON. Raises ``RuntimeError`` when it
    fails."""
    done = subprocess.run(
        [sys.executable, "-m", f"perf.bench.{module}"],
        cwd=ROOT,
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def tree(root: int) -> list[int]:
    """``root`` and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def command(pid: int) -> str:
    """Its command line; "" when the process has gone."""
    if not _ON_PROC:
        return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
    try:
        return (_PROC / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _parents() -> list[tuple[int, int]]:
    if not _ON_PROC:
        lines = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True).stdout
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines.splitlines()]
    return [
        (int(entry.name), int(fields[1]))
        for entry in _PROC.iterdir()
        if entry.name.isdigit() and (fields := _stat(int(entry.name)))
    ]


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` behind the command name; empty when the process has gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """The scheduler's own count in nanoseconds, or the ticks of 10 ms, of which a short load has few."""
    try:
        threads = [(task / "schedstat").read_text() for task in (_PROC / str(pid) / "task").iterdir()]
        return sum(int(text.split()[0]) for text in threads) / 1e9
    except (OSError, IndexError, ValueError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _ps(pid: int, what: str) -> float:
    text = subprocess.run(["ps", "-o", f"{what}=", "-p", str(pid)], capture_output=True, text=True).stdout
    seconds = 0.0
    for part in text.strip().replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part or 0)
    return seconds
