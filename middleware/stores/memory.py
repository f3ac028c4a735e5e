"""State that one process keeps for itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

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
