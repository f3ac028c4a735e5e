"""What callers are allowed per minute and at the same time: the words, and the arithmetic of the minute.

GCRA, a leaky bucket that is kept as one number: the time at which everything taken will have drained. A
bucket of ``capacity`` units drains ``capacity`` per ``period``, so whoever has taken nothing for a while may
take all of it at once and goes on at the steady rate. In any ``t`` seconds no more is taken than
``capacity * (1 + t / period)``.

What is given back is what has not drained yet, first in, first out: of allowance that has passed unused
nothing comes back. Given back in the middle of others' taking it may be a little too much, which is bounded:
what is really *used* in any ``t`` seconds, by requests that use no more than they took, is at most
``capacity * (2 + t / period)``.

Times are seconds of any clock that a store keeps to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from .bucket import Verdict

PERIOD = 60.0
#: Seconds of draining that are remembered at most, so that neither a clock that jumps nor an upstream that
#: counts nonsense closes an account for long. (Debt beyond nine minutes' allowance is forgiven.)
LONGEST = 600.0
#: Units by which a full bucket may seem too full: what is lost in the last places of doubles. Less than
#: one, so never one request more.
_SLACK = 0.1


class Rate(NamedTuple):
    """``limit`` units a minute (above 0), counted under ``key``, of which a request takes ``amount``.

    More than the whole limit is taken when nothing else is in the bucket, and becomes debt.
    """

    key: str
    limit: float
    amount: float = 1.0


class Slots(NamedTuple):
    """``limit`` requests at the same time (above 0), counted under ``key``."""

    key: str
    limit: int


class Grant(NamedTuple):
    """A store's decision about one request, and what it needs to know to settle it.

    ``rates`` and ``slots`` say how each limit stands after the decision, in the order in which they were
    asked for; if one does not allow the request, nothing was taken of any. The ``retry_seconds`` of slots
    are 0: nobody knows when one will be free.
    """

    allowed: bool
    rates: Sequence[Verdict]
    slots: Sequence[Verdict]
    keeper: Store
    group: str
    asked: Sequence[Rate] = ()
    held: Sequence[Slots] = ()
    #: For each rate when what was taken will have drained, in the keeper's own time.
    drained: Sequence[float] = ()
    lease: str = ""


class Store(Protocol):
    """Counts what callers take: in memory (``stores/memory.py``), or for all processes (``stores/redis.py``).

    A store deals with its own failures: what it raises ends the request.
    """

    async def take(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots] = ()) -> Grant:
        """Take from all of ``rates`` and ``slots``, or from none of them if one does not allow it.

        ``group`` is whose they all are, for example a project. Slots are held until :meth:`settle`.
        """
        ...

    def settle(self, grant: Grant, used: float | None = None) -> None:
        """The request has ended: free its slots, and charge each rate ``used`` units in place of what was
        taken (None: leave it at that). Once for each grant that allows; never waits."""
        ...


@lru_cache(maxsize=1024)
def drain_of(limit: float, share: float) -> Drain:
    """The :class:`Drain` of a limit; projects have a few and ask with each request."""
    return Drain(limit, share)


class Drain:
    """The arithmetic of one limit. ``share`` of it is this store's to give, but one unit at least."""

    __slots__ = ("capacity", "each", "longest", "room")

    def __init__(self, limit: float, share: float = 1.0) -> None:
        own = limit * share
        #: Units that may be in the bucket.
        self.capacity = own if own > 1 else 1.0
        #: Seconds in which one unit drains.
        self.each = PERIOD / own
        #: Seconds in which a full bucket drains.
        self.room = self.capacity * self.each
        #: Seconds of draining that are remembered.
        self.longest = max(LONGEST, 2 * self.room)

    def level(self, drained: float, now: float) -> float:
        """Seconds until the bucket is empty that will be at ``drained``."""
        level = drained - now
        return 0.0 if level < 0 else min(level, self.longest)

    def fits(self, level: float, amount: float) -> bool:
        if amount > self.capacity:
            amount = self.capacity
        return level + (amount - _SLACK) * self.each <= self.room

    def returned(self, drained: float, taken_until: float, now: float, units: float) -> float:
        """``drained`` after ``units`` are given back of what would have drained at ``taken_until``."""
        back = min(units * self.each, max(taken_until - now, 0.0))
        return max(drained - back, now)

    def verdict(self, level: float, amount: float, *, allowed: bool) -> Verdict:
        """How the limit stands at ``level`` (after the decision), for a request of ``amount``."""
        left = min((self.room - level) / self.each + _SLACK, self.capacity)
        wanted = 1.0 if allowed else min(amount, self.capacity)
        wait = level + wanted * self.each - self.room
        return Verdict(
            allowed,
            int(self.capacity),
            int(left) if left > 0 else 0,
            level,
            wait if wait > _SLACK * self.each else 0.0,
        )
