"""State that one process keeps for itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from ..policy.allowance import Drain, Grant, Rate, Slots, drain_of
from ..policy.bucket import Bucket, Verdict

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter


class MemoryLimiter:
    """``rate`` requests per ``period`` seconds for each key, in this process (aiolimiter).

    A leaky bucket: a client that has been idle may send ``rate`` requests at once and go on at the
    steady rate, so the first period admits up to twice ``rate``, and no span of ``t`` seconds ever
    more than ``rate + t * rate / period``. Several workers each keep their own count: give each its
    share. The ``max_keys`` most recently seen keys are remembered; a forgotten one starts afresh.

    Raises ``ValueError`` for a rate below 1 (it would admit nobody) and ``ModuleNotFoundError``
    naming the extra when aiolimiter is not installed.
    """

    def __init__(self, rate: float, *, period: float = 60.0, max_keys: int = 10_000) -> None:
        if rate < 1:
            raise ValueError(f"a rate of {rate:g} per {period:g} s would admit nobody; give at least 1")
        try:
            from aiolimiter import AsyncLimiter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "rate limiting needs aiolimiter: pip install 'gw-middleware[ratelimit]'"
            ) from error
        self._new = AsyncLimiter
        self._rate = rate
        self._period = period
        self._max_keys = max_keys
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keys: OrderedDict[str, tuple[AsyncLimiter, Bucket]] = OrderedDict()

    async def take(self, key: str) -> Verdict:
        """See :meth:`~..policy.bucket.Limiter.take`. Never suspends, so nobody can slip in between."""
        limiter, bucket = self._entry(key)
        assert self._loop is not None
        # aiolimiter delays and does not refuse, so it is only asked for what it has; and it keeps
        # its level to itself, so the headers are worked out from a bucket filled in step with it.
        now = self._loop.time()
        allowed = limiter.has_capacity(1)
        if allowed:
            await limiter.acquire(1)
            bucket.add(now)
        return bucket.verdict(now, allowed=allowed)

    def _entry(self, key: str) -> tuple[AsyncLimiter, Bucket]:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a limiter belongs to one event loop
            self._loop = loop
            self._keys.clear()
        entry = self._keys.get(key)
        if entry is not None:
            self._keys.move_to_end(key)
            return entry
        entry = self._new(self._rate, self._period), Bucket(self._rate, self._rate / self._period)
        self._keys[key] = entry
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
        return entry


class MemoryStore:
    """A :class:`~..policy.allowance.Store` in this process.

    ``share``: the part of every limit that is this process' to give, for example one of four workers'
    0.25. A process always admits one request at a time, and one a minute's share of it: limits below the
    number of processes are exceeded at worst by that. The ``max_keys`` limits used last are remembered; a
    forgotten one starts afresh. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self, *, share: float = 1.0, max_keys: int = 10_000, clock: Callable[[], float] = monotonic
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"a share of {share:g} is not above 0 and up to 1")
        self._share = share
        self._max_keys = max_keys
        self._clock = clock
        #: Key -> when everything taken will have drained.
        self._drained: OrderedDict[str, float] = OrderedDict()
        #: Key -> slots in use. Entries go when none is, so there are no more than requests under way.
        self._used: dict[str, int] = {}

    async def take(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots] = ()) -> Grant:
        """See :meth:`~..policy.allowance.Store.take`. Never suspends, so nobody can slip in between."""
        return self.take_now(group, rates, slots)

    def take_now(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots] = ()) -> Grant:
        """:meth:`take` for callers that cannot wait."""
        now, share, drained = self._clock(), self._share, self._drained
        allowed = True
        found: list[tuple[Drain, float]] = []
        for rate in rates:
            drain = drain_of(rate.limit, share)
            at = drained.get(rate.key)
            level = 0.0 if at is None else drain.level(at, now)
            found.append((drain, level))
            allowed = allowed and drain.fits(level, rate.amount)
        free: list[tuple[int, int]] = []
        for slot in slots:
            limit = max(int(slot.limit * share), 1)
            left = limit - self._used.get(slot.key, 0)
            free.append((limit, left))
            allowed = allowed and left > 0
        verdicts: list[Verdict] = []
        until: list[float] = []
        for rate, (drain, level) in zip(rates, found, strict=True):
            if allowed:
                level = min(level + rate.amount * drain.each, drain.longest)
                self._remember(rate.key, now + level)
            fits = allowed or drain.fits(level, rate.amount)
            verdicts.append(drain.verdict(level, rate.amount, allowed=fits))
            until.append(now + level)
        if allowed:
            for slot in slots:
                self._used[slot.key] = self._used.get(slot.key, 0) + 1
        places = [Verdict(left > 0, limit, max(left - allowed, 0), 0.0) for limit, left in free]
        return Grant(allowed, verdicts, places, self, group, rates, slots, until)

    def settle(self, grant: Grant, used: float | None = None) -> None:
        """See :meth:`~..policy.allowance.Store.settle`."""
        for slot in grant.held:
            left = self._used.get(slot.key, 0) - 1
            if left > 0:
                self._used[slot.key] = left
            else:
                self._used.pop(slot.key, None)
        if used is None:
            return
        now = self._clock()
        for rate, taken_until in zip(grant.asked, grant.drained, strict=True):
            drain = drain_of(rate.limit, self._share)
            drained = self._drained.get(rate.key, now)
            more = used - rate.amount
            if more > 0:
                level = drain.level(drained, now) + more * drain.each
                self._remember(rate.key, now + min(level, drain.longest))
            elif more < 0:
                self._remember(rate.key, drain.returned(drained, taken_until, now, -more))

    def _remember(self, key: str, drained: float) -> None:
        self._drained[key] = drained
        self._drained.move_to_end(key)
        if len(self._drained) > self._max_keys:
            self._drained.popitem(last=False)
