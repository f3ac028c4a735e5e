"""The recorder as a process beside the workers: started, kept alive and stopped by their parent."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import time

logger = logging.getLogger("gateway")

#: Exit codes. A process without rights cannot become less nice again: where too much waits, the recorder
#: ends, to be started again in a hurry, and later at its ease.
HURRY, EASE = 75, 76
#: Seconds for the recorder to write what is left when the gateway stops (it takes 5 at most), and to end.
STOP_SECONDS = 8.0
#: Seconds before a recorder that ended is started again: the first time, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds after which one that ended had run well.
_RAN_WELL = 60.0


class RecorderProcess:
    """Start it before the workers, stop it when they are gone.

    It is told to stop by the end of its standard input, too. The workers inherit the other end of that pipe:
    where the parent is killed, the recorder ends when the last of them has drained and ended.
    """

    def __init__(self, *, first_pause: float = FIRST_PAUSE) -> None:
        self._first_pause = first_pause
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        #: Too much waits: the next one is as quick as the workers.
        self._hurry = False
        self._lock = threading.Lock()  # nobody starts one while it is being stopped
        self._thread = threading.Thread(target=self._watch, name="recorder", daemon=True)

    @property
    def pid(self) -> int | None:
        """None while none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        self._process = self._spawn()
        self._thread.start()

    def stop(self) -> None:
        """Let it write what is left, for some seconds at most."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            self._release(process)
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(1.0)

    def _watch(self) -> None:
        pause = self._first_pause
        while True:
            started = time.monotonic()
            if self._process is not None:
                code = self._process.wait()
                self._release(self._process)
                self._hurry = code == HURRY
                if code not in (HURRY, EASE) and not self._stopping.is_set():
                    logger.warning("the recorder of usage ended (%d) and is started again", code)
            if time.monotonic() - started > _RAN_WELL:
                pause = self._first_pause
            if self._stopping.wait(0.0 if self._hurry else pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)
            with self._lock:
                if not self._stopping.is_set():
                    self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        try:
            command = [sys.executable, "-m", "gw.ledger"]  # it reads the environment, as the workers do
            if self._hurry:
                command.append("hurry")
            return subprocess.Popen(  # noqa: S603 - all of it is written here
                command,
                stdin=subprocess.PIPE,
                # Ctrl-C in a terminal is not for it: the workers have rows to write until they have drained.
                process_group=0,
            )
        except OSError as error:  # no memory, or no process more: the rows wait in the spool
            logger.warning("the recorder of usage cannot be started: %s", error.strerror)
            return None

    @staticmethod
    def _release(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
