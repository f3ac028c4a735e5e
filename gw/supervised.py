"""A process of the gateway's own beside its workers: started, kept alive and stopped by their parent."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time

logger = logging.getLogger("gateway")

#: Seconds to end after SIGTERM.
STOP_SECONDS = 8.0
#: Seconds before a process that ended is started again: the first time, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds after which one that ended had run well.
_RAN_WELL = 60.0


class Supervised:
    """Runs ``python -m module``, which reads the environment as the workers do. ``name`` is for the log.

    It is told to stop by SIGTERM, and by the end of its standard input (:func:`stop_with_pipe`), whose
    other end this process and those forked from it hold: so it outlives none of them.
    """

    def __init__(
        self, name: str, module: str, *, stop_seconds: float = STOP_SECONDS, first_pause: float = FIRST_PAUSE
    ) -> None:
        self._name = name
        self._module = module
        self._stop_seconds = stop_seconds
        self._first_pause = first_pause
        #: What follows the module on its command line.
        self._arguments: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # nobody starts one while it is being stopped
        self._thread = threading.Thread(target=self._watch, name=module, daemon=True)

    @property
    def pid(self) -> int | None:
        """None while none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        self._process = self._spawn()
        self._thread.start()

    def stop(self) -> None:
        """Let it finish, for ``stop_seconds`` at most."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join(1.0)

    def _watch(self) -> None:
        pause = self._first_pause
        while True:
            started = time.monotonic()
            if self._process is not None:
                code = self._process.wait()
                if self._process.stdin is not None:
                    self._process.stdin.close()
                at_once = self._was_meant(code)
                if not at_once and not self._stopping.is_set():
                    logger.warning("%s ended (%d) and is started again", self._name, code)
            else:
                at_once = False
            if time.monotonic() - started > _RAN_WELL:
                pause = self._first_pause
            if self._stopping.wait(0.0 if at_once else pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)
            with self._lock:
                if not self._stopping.is_set():
                    self._process = self._spawn()

    def _was_meant(self, code: int) -> bool:
        """Whether it has ended with ``code`` to be started again at once, and nothing is wrong."""
        return False

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        try:
            return subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-m", self._module, *self._arguments],
                stdin=subprocess.PIPE,
                process_group=0,  # Ctrl-C in a terminal is its parent's to answer
            )
        except OSError as error:  # no memory, or no process more
            logger.warning("%s cannot be started: %s", self._name, error.strerror)
            return None


def stop_with_pipe() -> None:
    """In the supervised process: end it, as by SIGTERM, when nobody holds its standard input any more."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 64):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
