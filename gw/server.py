"""Granian around the application: the settings that were measured, and the worker's start."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server import Server as Granian

from middleware._asgi import ASGIApp

from .drain import hold_back_interrupts
from .ledger.process import RecorderProcess
from .settings import Settings, load
from .supervised import Supervised

#: Set by the command line for its workers, which read the environment again.
SIMULATED = "GATEWAY_SIMULATED"
#: Beyond the drain deadline, for the last error events and usage rows; then Granian kills the worker.
KILL_MARGIN_SECONDS = 5


def create() -> ASGIApp:
    """What each worker calls: the application from the environment, signals and GC set up."""
    from prometheus_client import disable_created_metrics

    from .app import create_app

    # Its default is a second series beside each counter, of start times that nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    hold_back_interrupts()
    stop_with_parent()
    _batch()
    return create_app(load(os.environ, simulated=os.environ.get(SIMULATED) == "1"), own_process=True)


def run(settings: Settings) -> None:
    """Serve until a signal. Raises ``OSError`` when the address cannot be bound, ``SystemExit`` when
    several workers find no place to keep their metrics.

    HTTP/1 only, without web sockets: with ``auto`` silent connections hold their slots past every
    time-out, and back-pressure counts connections, so its default would cap open streams at about
    a thousand (docs/decisions/006-serving.md).
    """
    _catch_early_signals()
    metrics_dir = _share_metrics(settings)
    recorder = RecorderProcess() if settings.ledger.enabled else None
    admin = None if settings.server.admin_port is None else Supervised("/admin", "gw.admin_server")
    try:
        # Before the workers, which inherit an end of its pipe: it outlives them, and not its parent alone.
        if recorder is not None:
            recorder.start()
        if admin is not None:
            admin.start()
        Granian(
            "gw.server:create",
            factory=True,
            address=settings.server.host,
            port=settings.server.port,
            interface=Interfaces.ASGI,
            workers=settings.server.workers,
            http=HTTPModes.http1,
            websockets=False,
            loop=Loops.auto,
            runtime_mode=RuntimeModes.st,
            backlog=4096,
            backpressure=4096,
            workers_kill_timeout=int(settings.server.drain_seconds) + KILL_MARGIN_SECONDS,
            respawn_failed_workers=True,
            log_level=LogLevels.debug if settings.server.log_level == "debug" else LogLevels.warning,
            log_dictconfig=log_config(settings.server.log_level),
        ).serve()
    finally:
        if admin is not None:
            admin.stop()
        if recorder is not None:
            recorder.stop()
        if metrics_dir is not None:
            shutil.rmtree(metrics_dir, ignore_errors=True)


def _catch_early_signals() -> None:
    """A SIGTERM that comes before everybody has a handler of their own is obeyed all the same.

    Until Granian has taken over, the first process of a container would not notice it: the kernel
    keeps signals without a handler from process 1. And a forked worker has its parent's handlers,
    which in the worker do nothing: the stop would wait for the kill time-out (measured: 35 s).
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if hasattr(os, "register_at_fork"):  # where workers are not forked they start with the defaults
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def stop_with_parent() -> None:
    """Let a worker drain when its parent is killed (Linux), or it would keep the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # prctl(2), linux/prctl.h
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent.pid:  # it died before the kernel was asked
        sys.exit(1)


def _batch() -> None:
    """Ask the kernel (Linux) not to interrupt a running thread for one that it has just woken.

    A worker is two threads, one that runs Python and one that writes to sockets. Where they share a
    core, each event woke the second in the middle of the first; as batch threads they take turns
    instead, and one turn writes for many streams. No privilege is needed, and with a core to
    spare nothing changes.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container's seccomp profile may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _share_metrics(settings: Settings) -> str | None:
    """Several processes write their metrics to one directory, from which any of them can sum up.

    Returns the directory if it is ours to remove. Raises ``SystemExit`` saying what to do when there
    is no place to write to, as in a container with a read-only root and no tmpfs.
    """
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    alone = settings.server.workers == 1 and settings.server.admin_port is None
    if not settings.server.metrics or (alone and not given):
        return None
    try:
        if given:
            Path(given).mkdir(parents=True, exist_ok=True)
            for stale in Path(given).glob("*.db"):  # or the last run's counts would be added
                stale.unlink()
            return None
        directory = tempfile.mkdtemp(prefix="gateway-metrics-")
    except OSError as error:
        sys.exit(
            f"gw: the workers' metrics cannot be written ({error}): mount a tmpfs on /tmp, set TMPDIR to a "
            "writable directory, or switch them off with PROMETHEUS_ENABLED=0."
        )
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    return directory


def log_config(level: str) -> dict[str, Any]:
    """Access lines (JSON already) to stdout, everything else to stderr; Granian only when it matters."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "bare": {"format": "%(message)s"},
            "plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        },
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "formatter": "bare", "stream": "ext://sys.stdout"},
            "stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"},
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "gateway": {"level": level.upper(), "handlers": ["stderr"], "propagate": False},
            "gateway.access": {"level": level.upper(), "handlers": ["stdout"], "propagate": False},
            "_granian": {
                "level": "DEBUG" if level == "debug" else "WARNING",
                "handlers": ["stderr"],
                "propagate": False,
            },
        },
    }
