"""Leaky-bucket arithmetic: what is left, when the next one fits, when the bucket is empty again."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """One limiter's decision about one request.

    ``limit`` and ``remaining`` are whole requests; ``reset_seconds`` is the time until the whole
    limit is available again; ``retry_seconds`` the time until the next request is admitted
    (0 when one would be now).
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float
    retry_seconds: float = 0.0


class Limiter(Protocol):
    """Counts requests per key. In memory (``stores/memory.py``), or shared between processes.

    Never waits for capacity, and deals with its own store's failures: what it raises ends the request.
    """

    async def take(self, key: str) -> Verdict:
        """Take one request from ``key``'s allowance if there is one left."""
        ...


class Bucket:
    """A bucket of ``capacity`` that leaks ``rate`` per second. Times are any monotonic seconds."""

    __slots__ = ("_level", "_updated", "capacity", "rate")

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = capacity
        self.rate = rate
        self._level = 0.0
        self._updated = 0.0

    def level(self, now: float) -> float:
        """What is in the bucket at ``now``. Time that goes backwards leaks nothing, then or later."""
        elapsed = now - self._updated
        if elapsed > 0:
            self._level = max(self._level - elapsed * self.rate, 0.0)
            self._updated = now
        return self._level

    def add(self, now: float, amount: float = 1.0) -> None:
        """Pour in what has been admitted."""
        self._level = self.level(now) + amount

    def verdict(self, now: float, *, allowed: bool) -> Verdict:
        """Describe the bucket as it is at ``now``, after the decision."""
        level = self.level(now)
        room = self.capacity - level
        return Verdict(
            allowed,
            int(self.capacity),
            int(room) if room > 0 else 0,
            level / self.rate,
            0.0 if room >= 1 else (1.0 - room) / self.rate,
        )
