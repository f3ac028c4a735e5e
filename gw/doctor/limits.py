"""Limits: what the machine gives and what the settings ask of it, and settings that cancel each other."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from providers.errors import ProviderError

from ..settings import Settings
from ..supervised import STOP_SECONDS
from .context import Context
from .report import Section
from .upstreams import ask

#: Granian's back-pressure and backlog (gw/server.py): the connections that one worker takes.
CONNECTIONS = 4096
#: Each stream holds the client's socket and the upstream's; the rest is for everything else.
FILES = 2 * CONNECTIONS + 256
#: Measured: 126 MB with 1,000 open streams (docs/decisions/007-speed.md).
WORKER_BYTES = 130 * 1000 * 1000
#: For files of metrics: 24 kB for each worker at first, 2 MB at most.
SPACE = 16 * 2**20
#: Seconds between the drain deadline and the last worker's end, as in gw/server.py (which loads the whole
#: server).
KILL_MARGIN = 5


@dataclass(slots=True, frozen=True)
class Machine:
    """What this process may use. None where the system does not tell (or knows no such limit).

    ``memory`` in bytes and ``cpus`` take the container's limits into account (cgroup v2).
    """

    files: int | None
    files_hard: int | None
    memory: int | None
    cpus: float
    somaxconn: int | None

    @classmethod
    def read(cls, root: Path = Path("/")) -> Machine:
        """``root`` stands for the file system that /proc and /sys are looked for in."""
        soft, hard = _open_files()
        cgroup = root / "sys/fs/cgroup"
        total = _total_memory(root / "proc/meminfo")
        limit = _number(cgroup / "memory.max")
        memories = [size for size in (total, limit) if size is not None]
        cpus = float(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        quota = _text(cgroup / "cpu.max").split()
        if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
            cpus = min(cpus, int(quota[0]) / int(quota[1]))
        return cls(
            soft, hard, min(memories, default=None), cpus, _number(root / "proc/sys/net/core/somaxconn")
        )


async def check(section: Section, context: Context) -> None:
    judge_machine(section, context.settings, Machine.read())
    judge_settings(section, context.settings)
    _metrics_folder(section, context)
    await _port(section, context)


def judge_machine(section: Section, settings: Settings, machine: Machine) -> None:
    workers = settings.server.workers
    if machine.files is not None and machine.files < FILES:
        raised = (
            "ulimit -n 16384"
            if machine.files_hard is None or machine.files_hard >= FILES
            else "raise the hard limit first"
        )
        section.warn(
            f"A worker may open {machine.files:,} files, enough for some "
            f"{max(0, machine.files - 256) // 2:,} streams; it takes {CONNECTIONS:,} connections.",
            f"`{raised}` before `gw serve`; systemd: LimitNOFILE=16384; compose: ulimits: {{nofile: 16384}}",
        )
    elif machine.files is not None:
        section.ok(f"{machine.files:,} open files.")
    if machine.memory is not None:
        wanted = workers * WORKER_BYTES
        text = f"{machine.memory / 1e6:,.0f} MB of memory for {workers} worker(s)"
        if machine.memory < wanted:
            section.warn(
                f"{text}: each takes some {WORKER_BYTES // 1_000_000} MB with 1,000 open streams.",
                f"At least {wanted // 1_000_000} MB, or a lower WEB_CONCURRENCY.",
            )
        else:
            section.ok(f"{text}.")
    most = max(1, round(machine.cpus))
    if workers > most:
        section.warn(
            f"{workers} workers share {machine.cpus:g} CPU(s): they get in each other's way.",
            f"WEB_CONCURRENCY={most}",
        )
    else:
        more = f"; WEB_CONCURRENCY may be up to {most}" if most > workers else ""
        section.ok(f"{machine.cpus:g} CPU(s){more}.")
    if machine.somaxconn is not None and machine.somaxconn < CONNECTIONS:
        section.warn(
            f"The kernel queues {machine.somaxconn} connections, the gateway asks for {CONNECTIONS:,}: "
            "a crowd is refused.",
            f"sysctl -w net.core.somaxconn={CONNECTIONS} (compose: sysctls)",
        )


def judge_settings(section: Section, settings: Settings) -> None:
    """Settings of which one makes another ineffective."""
    server, upstream, limits = settings.server, settings.upstream, settings.limits
    if limits.rate_limit and limits.rpm < server.workers:
        section.warn(
            f"RATE_LIMIT_RPM={limits.rpm} is less than one for each of {server.workers} workers: a client "
            "that stays on one connection gets less than one request a minute.",
            f"WEB_CONCURRENCY={limits.rpm}, or a higher RATE_LIMIT_RPM",
        )
    for name, seconds in (
        ("UPSTREAM_CONNECT_TIMEOUT_SECONDS", upstream.connect),
        ("UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS", upstream.first_byte),
        ("UPSTREAM_IDLE_TIMEOUT_SECONDS", upstream.idle),
    ):
        if seconds > upstream.total:
            section.warn(
                f"{name}={seconds:g} has no effect beyond UPSTREAM_TIMEOUT_SECONDS={upstream.total:g}.",
                f"Lower {name}, or raise UPSTREAM_TIMEOUT_SECONDS.",
            )
    if server.drain_seconds > settings.slowest + server.body_timeout:
        section.warn(
            f"DRAIN_TIMEOUT_SECONDS={server.drain_seconds:g} is longer than any request may take.",
            f"DRAIN_TIMEOUT_SECONDS={settings.slowest:g} at most",
        )
    section.ok(
        f"A stop takes up to {longest_stop(settings):g} s: give it to the platform, and a little more "
        "(compose: stop_grace_period, Fly.io: kill_timeout, systemd: TimeoutStopSec)."
    )


def longest_stop(settings: Settings) -> float:
    """Seconds from SIGTERM to the end of the gateway: of its workers, and then of ``/admin`` on its own port
    and of the recorder, one after the other (``gw/server.py``).

    Platforms kill sooner unless they are told: docker stop 10 s, Fly.io 5 s, Kubernetes 30 s.
    """
    beside = (settings.server.admin_port is not None, settings.ledger.enabled)
    return int(settings.server.drain_seconds) + KILL_MARGIN + sum(beside) * STOP_SECONDS


def _metrics_folder(section: Section, context: Context) -> None:
    """Several workers sum their metrics up in files."""
    server = context.settings.server
    if server.workers == 1 or not server.metrics:
        return
    given = context.environ.get("PROMETHEUS_MULTIPROC_DIR")
    fix = "Mount a small tmpfs at /tmp, or set PROMETHEUS_MULTIPROC_DIR to a folder that can be written to."
    try:
        folder = Path(given or tempfile.gettempdir())
        with tempfile.TemporaryFile(dir=folder if folder.is_dir() else folder.parent):
            pass
        free = shutil.disk_usage(folder if folder.is_dir() else folder.parent).free
    except OSError as error:
        section.fail(f"Workers cannot write their metrics: {error.strerror or error}.", fix)
        return
    if free < SPACE:
        section.warn(f"{free // 2**20} MiB are free in {folder}, where workers write their metrics.", fix)
    else:
        section.ok(f"Workers can write their metrics to {folder}.")


async def _port(section: Section, context: Context) -> None:
    """Free, taken by a gateway that runs already, or taken by something else."""
    server = context.settings.server
    if context.port_problem is None:
        section.ok(f"Port {server.port} is free on {server.host}.")
        return
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 - compared
    url = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
    try:
        health = await ask(context.client, f"{url}/health", timeouts=context.timeouts)
    except ProviderError:
        health = None
    body = health.body if health is not None else None
    if isinstance(body, dict) and "version" in body and isinstance(body.get("providers"), list):
        providers = ", ".join(map(str, body["providers"])) or "none"
        section.ok(
            f"A gateway {body['version']} runs at {url} already (state {body.get('status')}, "
            f"providers: {providers})."
        )
    else:
        text, _, fix = context.port_problem.partition(": ")
        section.fail(f"{text}.", fix)


def _open_files() -> tuple[int | None, int | None]:
    try:
        import resource  # not on Windows
    except ImportError:
        return None, None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    return (2**31 if soft == infinity else soft), (None if hard == infinity else hard)


def _total_memory(meminfo: Path) -> int | None:
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
