"""Installs the locked clients: ``python -m tests.clients.install [name …]``; tests do it by themselves.

Each has a folder below ``locks/`` with npm's lock file, or a requirements file with hashes. It is installed
once, into ``.installed/<name>-<digest of the lock>``, and without a lifecycle script of npm: which of those
run depends on npm's version and settings, so that the one a client needs is named here and run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LOCKS = HERE / "locks"
INSTALLED = HERE / ".installed"

#: Seconds for one client: the largest unpacks 400 MB.
_PATIENCE = 900


class NotInstalledError(Exception):
    """A client cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Package:
    """``lock``: a folder (npm) or a file (PyPI) below ``locks/``. ``script``: of npm's lifecycle, to be run.

    ``program``: what shows that it is complete, below the folder that it is installed into.
    """

    lock: str
    program: str
    script: str | None = None

    @property
    def is_python(self) -> bool:
        return self.lock.endswith(".txt")

    @property
    def name(self) -> str:
        return self.lock.removesuffix(".txt")

    @property
    def source(self) -> Path:
        return LOCKS / self.lock

    @property
    def folder(self) -> Path:
        lock = self.source if self.is_python else self.source / "package-lock.json"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        return INSTALLED / f"{self.name}-{digest[:10]}"


AIDER = Package("aider.txt", "bin/aider")
CLAUDE_CODE = Package(
    "claude-code", "node_modules/.bin/claude", "node_modules/@anthropic-ai/claude-code/install.cjs"
)
CLINE = Package("cline", "node_modules/.bin/cline", "node_modules/cline/postinstall.mjs")
CODEX = Package("codex", "node_modules/.bin/codex")
CONTINUE = Package("continue", "node_modules/.bin/cn")
LANGCHAIN = Package("langchain.txt", "bin/python")
LLM = Package("llm.txt", "bin/llm")
NODE_SDKS = Package("node-sdks", "node_modules/ai/package.json")
OPENCODE = Package("opencode", "node_modules/.bin/opencode", "node_modules/opencode-ai/postinstall.mjs")

#: The largest first.
PACKAGES = (CODEX, CLAUDE_CODE, OPENCODE, CLINE, AIDER, CONTINUE, LANGCHAIN, NODE_SDKS, LLM)


def install(package: Package, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the installed package. Raises :class:`NotInstalledError`."""
    folder = package.folder
    complete = folder / ".complete"
    if complete.exists():
        return folder
    for stale in (folder, *INSTALLED.glob(f"{package.name}-{'?' * 10}")):
        shutil.rmtree(stale, ignore_errors=True)
    folder.mkdir(parents=True)
    (_install_python if package.is_python else _install_node)(package, folder, environment)
    if not (folder / package.program).exists():
        raise NotInstalledError(f"{package.name} was installed without its {package.program}")
    complete.touch()
    return folder


def _install_node(package: Package, folder: Path, environment: Mapping[str, str]) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(package.source / name, folder)
    node, npm = _program("node", environment), _program("npm", environment)
    # Not `npm ci`: it wants the binaries of every platform in the lock, also of those that a registry's
    # mirror does not have. Versions and digests are taken from the lock all the same.
    command = [npm, "install", "--no-save", "--ignore-scripts", "--no-progress", "--loglevel=error"]
    _run(command, folder, environment, tries=2)  # a registry may be out of breath for a moment
    if package.script:
        _run([node, package.script], folder, environment)


def _install_python(package: Package, folder: Path, environment: Mapping[str, str]) -> None:
    python = folder / "bin" / "python"
    uv = shutil.which("uv", path=environment.get("PATH"))
    if uv is not None:
        _run([uv, "venv", "--quiet", "--python", sys.executable, "--clear", str(folder)], folder, environment)
        command = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        _run([sys.executable, "-m", "venv", str(folder)], folder, environment)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*command, "--require-hashes", "-r", str(package.source)], folder, environment, tries=2)


def _program(name: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        raise NotInstalledError(f"{name} is not on this machine")
    return found


def _run(command: list[str], folder: Path, environment: Mapping[str, str], tries: int = 1) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)) from None
    if done.returncode == 0:
        return
    if tries > 1:
        _run(command, folder, environment, tries - 1)
        return
    said = " ".join((done.stderr or done.stdout).split())
    what = " ".join(Path(command[0]).name if part == command[0] else part for part in command[:3])
    raise NotInstalledError(f"{what} failed: {said[-300:]}")


class Installer:
    """Installs several at a time, so that the first clients are tested while the last ones arrive."""

    def __init__(self, report: Callable[[str], None] = print) -> None:
        # Downloads wait for the network, unpacking for the disk: one more than there are cores.
        self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="install")
        self._report = report
        self._lock = threading.Lock()
        self._futures: dict[Package, Future[Path]] = {}

    def start(self, packages: Iterable[Package]) -> None:
        with self._lock:
            for package in packages:
                if package not in self._futures:
                    self._futures[package] = self._pool.submit(self._install, package)

    def folder(self, package: Package) -> Path:
        """Where the package is, as soon as it is there. Raises :class:`NotInstalledError`."""
        self.start([package])
        return self._futures[package].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _install(self, package: Package) -> Path:
        if (package.folder / ".complete").exists():
            return package.folder
        started = time.monotonic()
        try:
            folder = install(package)
        except NotInstalledError as error:
            self._report(f"{package.name} is not installed: {error}")
            raise
        self._report(f"{package.name} installed in {time.monotonic() - started:.0f} s")
        return folder


def main(names: list[str]) -> int:
    known = {package.name: package for package in PACKAGES}
    if unknown := [name for name in names if name not in known]:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in names] or list(PACKAGES)
    installer = Installer()
    installer.start(chosen)
    failed = 0
    for package in chosen:
        try:
            print(f"{package.name}: {installer.folder(package)}")
        except NotInstalledError:
            failed += 1
    installer.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
