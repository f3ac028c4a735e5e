"""The recorder as a process beside the workers: started, kept alive and stopped by their parent."""

from __future__ import annotations

from ..supervised import FIRST_PAUSE, Supervised

#: Exit codes. A process without rights cannot become less nice again: where too much waits, the recorder
#: ends, to be started again in a hurry, and later at its ease.
HURRY, EASE = 75, 76


class RecorderProcess(Supervised):
    """Start it before the workers, stop it when they are gone: it then writes what is left (for 5 seconds at
    most), and what remains waits in the spool.

    The workers inherit the other end of its pipe: where the parent is killed, the recorder ends when the last
    of them has drained and ended.
    """

    def __init__(self, *, first_pause: float = FIRST_PAUSE) -> None:
        super().__init__("the recorder of usage", "gw.ledger", first_pause=first_pause)

    def _was_meant(self, code: int) -> bool:
        self._arguments = ("hurry",) if code == HURRY else ()
        return code in (HURRY, EASE)
