"""State that processes share, in Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Any

from ..policy.allowance import Grant, Rate, Slots, drain_of
from ..policy.bucket import Verdict
from ._batches import Batches
from ._limits_script import SCRIPT, SHA
from .memory import MemoryStore

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger(__name__)

_MICROS = 1e6
#: Seconds between two looks whether Redis is there again.
PAUSE = 1.0
_MAX_UNTOLD = 4_096


class RedisStore:
    """A :class:`~..policy.allowance.Store` for any number of processes, counted by Redis' own clock.

    One script call for each request, which all of its limits pass or none. ``timeout``: seconds that a
    request waits for Redis. When Redis is away, slow or full, requests are counted in this process
    instead, by ``share`` of every limit (one of four processes: 0.25), until it answers again; the log
    has one line for each outage and ``on_degraded`` is called for each request that was counted so.

    ``lease_seconds``: slots of a process that died are free again after that long; this process renews
    those of its requests. ``prefix`` begins every key; keys of one group are in one slot of a cluster.
    Whoever makes the store closes it with :meth:`aclose`, and the client after it.

    Raises ``ModuleNotFoundError`` naming the extra when redis is not installed.
    """

    def __init__(
        self,
        client: Redis,
        *,
        share: float = 1.0,
        timeout: float = 0.05,
        lease_seconds: float = 60.0,
        prefix: str = "gw:limit:",
        on_degraded: Callable[[], object] | None = None,
    ) -> None:
        try:
            self._script = Batches(client, SCRIPT, SHA, timeout=timeout, on_failure=self._give_way)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "limits in Redis need its driver: pip install 'gw-middleware[redis]'"
            ) from error
        self._lease = lease_seconds
        self._prefix = prefix
        self._on_degraded = on_degraded
        self._local = MemoryStore(share=share)
        self._ids = count(1)
        self._boot = secrets.token_hex(8)
        #: Lease -> its keys, of the requests that hold slots now.
        self._held: dict[str, list[str]] = {}
        #: Requests that have ended while Redis was away. What it is never told drains, or lapses.
        self._untold: deque[tuple[Grant, float | None]] = deque(maxlen=_MAX_UNTOLD)
        self._recovering: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether requests are counted in this process at the moment."""
        return self._recovering is not None

    async def start(self) -> None:
        """Connect before the first request has to; a Redis that is away is noticed, and not raised."""
        try:
            await self._probe()
        except self._script.failures as error:
            self._give_way(error)

    async def take(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots] = ()) -> Grant:
        """See :meth:`~..policy.allowance.Store.take`."""
        if self._recovering is not None:
            return self._take_here(group, rates, slots)
        lease = f"{self._boot}{next(self._ids):x}" if slots else ""
        keys = self._keys(group, rates, slots)
        arguments: list[Any] = ["take", len(rates), lease, ceil(self._lease * _MICROS)]
        for rate in rates:
            drain = drain_of(rate.limit, 1.0)
            needed = min(rate.amount, drain.capacity)
            arguments += (drain.each * _MICROS, drain.room * _MICROS, drain.longest * _MICROS)
            arguments += (rate.amount, needed)
        arguments += [slot.limit for slot in slots]
        if slots:
            self._hold(lease, keys[len(rates) :])
        granted = partial(self._granted, group, rates, slots, lease)
        grant: Grant | None = None
        try:
            grant = granted(await self._script.ask(keys, arguments, lambda late: self._undo(granted(late))))
        except self._script.failures as error:
            self._give_way(error)
        finally:
            if grant is None or not grant.allowed:
                self._held.pop(lease, None)
        return self._take_here(group, rates, slots) if grant is None else grant

    def settle(self, grant: Grant, used: float | None = None) -> None:
        """See :meth:`~..policy.allowance.Store.settle`."""
        if grant.keeper is not self:
            grant.keeper.settle(grant, used)
            return
        self._held.pop(grant.lease, None)
        if used is None and not grant.held:
            return
        if self.degraded:
            self._untold.append((grant, used))
        else:
            self._charge(grant, used)

    def _charge(self, grant: Grant, used: float | None) -> None:
        rates = grant.asked if used is not None else ()
        arguments: list[Any] = ["settle", len(rates), grant.lease]
        for rate, until in zip(rates, grant.drained, strict=False):
            drain = drain_of(rate.limit, 1.0)
            more = (used or 0.0) - rate.amount
            arguments += (drain.each * _MICROS, drain.longest * _MICROS, more, until)
        self._script.tell(self._keys(grant.group, rates, grant.held), arguments)

    async def settled(self) -> None:
        """Wait until Redis has been told of all requests that have ended."""
        await self._script.idle()

    async def aclose(self) -> None:
        """Tell Redis what it has not been told yet and stop. The client stays open."""
        await self.settled()
        tasks = [task for task in (self._recovering, self._renewing) if task is not None]
        self._recovering = self._renewing = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ---- Redis

    def _keys(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots]) -> list[str]:
        # What stands in braces decides the slot of a cluster (https://redis.io/docs/latest/operate/oss_and_stack/
        # reference/cluster-spec/, "Hash tags"): the keys of a script have to share it.
        head = f"{self._prefix}{{{group}}}:"
        return [f"{head}rate:{rate.key}" for rate in rates] + [f"{head}slots:{slot.key}" for slot in slots]

    def _granted(
        self, group: str, rates: Sequence[Rate], slots: Sequence[Slots], lease: str, answer: list[Any]
    ) -> Grant:
        allowed, now = answer[0] == 1, float(answer[1])
        standing: list[Verdict] = []
        drained: list[float] = []
        for rate, got in zip(rates, answer[2:], strict=False):
            drain = drain_of(rate.limit, 1.0)
            level = float(got) / _MICROS
            fits = allowed or drain.fits(level, rate.amount)
            if allowed:
                level = min(level + rate.amount * drain.each, drain.longest)
            standing.append(drain.verdict(level, rate.amount, allowed=fits))
            drained.append(now + level * _MICROS)
        places = []
        for slot, used in zip(slots, answer[2 + len(rates) :], strict=True):
            left = slot.limit - used
            places.append(Verdict(left > 0, slot.limit, max(left - allowed, 0), 0.0))
        return Grant(allowed, standing, places, self, group, rates, slots, drained, lease)

    def _undo(self, grant: Grant) -> None:
        """What was granted to somebody who had stopped waiting."""
        if grant.allowed:  # and it does answer, whatever we think of it
            self._charge(grant, 0.0)

    # ---- without Redis

    def _take_here(self, group: str, rates: Sequence[Rate], slots: Sequence[Slots]) -> Grant:
        if self._on_degraded is not None:
            self._on_degraded()
        return self._local.take_now(group, rates, slots)

    def _give_way(self, error: BaseException) -> None:
        if self._recovering is None:
            _log.warning(
                "Redis does not answer (%s): limits are counted in each process until it does",
                type(error).__name__,
            )
            self._recovering = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Ask until the script runs again. No request waits for that, so there is time to connect."""
        while True:
            await asyncio.sleep(PAUSE)
            try:
                await self._probe()
            except self._script.failures:
                continue
            if not self._script.busy:  # with a journey that is lost
                break
        self._recovering = None
        while self._untold:
            self._charge(*self._untold.popleft())
        _log.warning("Redis answers again: limits are shared by all processes")

    async def _probe(self) -> None:
        # Something is written: a ping would succeed in a Redis that has no memory left for that.
        key = f"{self._prefix}{{probe}}:{self._boot}"
        await self._script.probe([key], ["settle", 1, "", 1, _MICROS, 1, 0])

    # ---- leases

    def _hold(self, lease: str, keys: list[str]) -> None:
        self._held[lease] = keys
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        """Keep the slots of requests that run for long, also through a restart of Redis."""
        while self._held:
            before = set(self._held)
            await asyncio.sleep(self._lease / 3)
            for lease in before & self._held.keys():
                if self.degraded or (keys := self._held.get(lease)) is None:
                    continue
                self._script.tell(keys, ["renew", 0, lease, ceil(self._lease * _MICROS)])
        self._renewing = None
