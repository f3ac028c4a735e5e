"""Where turns are kept. A store may forget at any time: what is lost is thinking, never correctness."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Protocol

from .turns import KeptTurn

#: Bytes of thinking that a process keeps. A turn has about 3 KB: some 10,000 of them.
MAX_BYTES = 32 * 1024 * 1024
MAX_TURNS = 50_000
#: Seconds for which a turn is kept after it was last asked for: people come back to a session the next day.
TTL = 36 * 3600.0


class ThinkingStore(Protocol):
    """Turns by (session, key). Nothing here raises."""

    async def get(self, session: str, keys: Sequence[str]) -> Mapping[str, KeptTurn]:
        """Those of ``keys`` that are known."""
        ...

    def put(self, session: str, turns: Mapping[str, KeptTurn]) -> None:
        """Keep ``turns``, in place of what was kept under their keys. Never waits."""
        ...

    async def aclose(self) -> None:
        """Finish what is being written."""
        ...


class MemoryStore:
    """In this process; what was not asked for the longest goes first. May be shared by threads."""

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_turns: int = MAX_TURNS,
        ttl: float = TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_turns = max_turns
        self._ttl = ttl
        self._clock = clock
        # In the order of their last use, which is also the order in which they expire.
        self._turns: OrderedDict[tuple[str, str], tuple[float, KeptTurn]] = OrderedDict()
        self._lock = Lock()
        #: About how many bytes are kept.
        self.size = 0

    def __len__(self) -> int:
        return len(self._turns)

    async def get(self, session: str, keys: Sequence[str]) -> Mapping[str, KeptTurn]:
        """See :class:`ThinkingStore`."""
        return self.find(session, keys)

    def find(self, session: str, keys: Sequence[str]) -> dict[str, KeptTurn]:
        """As :meth:`get`, at once."""
        now = self._clock()
        found: dict[str, KeptTurn] = {}
        turns = self._turns
        with self._lock:
            for key in keys:
                place = (session, key)
                entry = turns.get(place)
                if entry is not None and entry[0] > now:
                    turns[place] = (now + self._ttl, entry[1])
                    turns.move_to_end(place)
                    found[key] = entry[1]
        return found

    def put(self, session: str, turns: Mapping[str, KeptTurn]) -> None:
        """See :class:`ThinkingStore`."""
        now = self._clock()
        with self._lock:
            for key, turn in turns.items():
                self._drop((session, key))
                self._turns[session, key] = (now + self._ttl, turn)
                self.size += turn.size
            while self._turns:
                oldest, (expires, _) = next(iter(self._turns.items()))
                if expires > now and self.size <= self._max_bytes and len(self._turns) <= self._max_turns:
                    break
                self._drop(oldest)

    async def aclose(self) -> None:
        """See :class:`ThinkingStore`."""

    def _drop(self, place: tuple[str, str]) -> None:
        entry = self._turns.pop(place, None)
        if entry is not None:
            self.size -= entry[1].size
