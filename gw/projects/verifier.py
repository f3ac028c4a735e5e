"""From a credential to who is calling: a key is looked up once, and remembered until the directory changes.

What is remembered is asked again, all of it, as soon as the version of the directory is another one, which
is looked at once a second. So a request with a known key waits for nobody, and a revoked key is refused
within seconds by every worker. While the database is away, known keys go on working for five minutes and
unknown ones cannot be checked (503): nobody is told that his key is wrong because a database is.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2s
from importlib import import_module
from typing import TYPE_CHECKING

from middleware._state import Account, Principal
from middleware.auth import key_fingerprint

from ..store.engine import error_name
from .keys import Credential, digest, is_ours, parse
from .merge import principal_of_project
from .types import DEFAULT_PROJECT, T

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .records import Record

#: Keys that are remembered.
CAPACITY = 10_000
#: Seconds between two looks at the directory's version, give or take a quarter.
POLL_SECONDS = 1.0
#: Seconds after the start in which the tables may still be being made: it is looked more often, and nothing
#: is said. And the pause between two of those looks.
STARTING_SECONDS, _STARTING_POLL = 5.0, 0.2
#: Seconds for which known keys are good while the database is away.
STALE_SECONDS = 300.0
#: Seconds that a request waits for the look-up of its key.
LOOKUP_SECONDS = 2.0
#: Seconds for which a key is remembered as not there.
ABSENT_SECONDS = 1.0
#: Seconds for one look at the version, and for what has changed.
_REFRESH_SECONDS = 20.0
#: Look-ups at the same time, of which more wait; and keys that may be looked up or wait for it.
_AT_ONCE, _WAITING = 2, 1_000
#: Keys that are asked again with one question: a few milliseconds of work.
_BATCH = 100
#: Where the id stands in ``gw_<id>_<secret>``.
_ID = slice(3, 21)

_log = logging.getLogger(__name__)


class CannotTell(Exception):
    """Whether a key is valid is not known at the moment."""


@dataclass(slots=True)
class _Known:
    record: Record
    #: Keyed hash of the credential that was found right; b"" until one was.
    mark: bytes = b""


class Verifier:
    """Called with a credential: its :class:`Principal`, None for nobody's, or something to await for that.
    Raises (also when awaited) where it cannot be told.

    ``open_engine`` is called once, by :meth:`start`; the engine is the verifier's own and closed by
    :meth:`stop`. ``gateway_key`` is the one of the project ``default``: it is good whatever happens to the
    database. ``clock`` is Unix seconds, for keys that expire. ``on_look`` is told after each look at the
    directory whether it could be read.
    """

    def __init__(
        self,
        open_engine: Callable[[], AsyncEngine],
        pepper: bytes,
        gateway_key: str,
        *,
        capacity: int = CAPACITY,
        poll_seconds: float = POLL_SECONDS,
        stale_seconds: float = STALE_SECONDS,
        lookup_seconds: float = LOOKUP_SECONDS,
        absent_seconds: float = ABSENT_SECONDS,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_look: Callable[[bool], object] = lambda _: None,
    ) -> None:
        if not gateway_key:
            raise ValueError("there is no gateway key")
        self._open = open_engine
        self._pepper = pepper
        self._capacity = capacity
        self._poll_seconds = poll_seconds
        self._stale_seconds = stale_seconds
        self._lookup_seconds = lookup_seconds
        self._absent_seconds = absent_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._on_look = on_look
        # Credentials are remembered by a hash under a secret of this process: its memory holds none of them.
        self._salt = secrets.token_bytes(32)
        self._own_mark = self._mark(gateway_key)
        own_id = key_fingerprint(gateway_key)
        accounts = (Account(f"project:{DEFAULT_PROJECT}"), Account(f"key:{own_id}"))
        self._own = Principal(DEFAULT_PROJECT, own_id, accounts)
        self._has_looked = asyncio.Event()  # for the limits of that project, or in vain
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known | None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._version = -1
        self._changed = True  # what is remembered is older than `_version`
        self._good_until = float("-inf")  # of what is remembered
        self._away = False
        self._said = False  # that it is away
        self._stopped = False
        self._engine: AsyncEngine | None = None
        self._poller: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the database and begin to follow it; the event loop has to run. Raises what opening does,
        which is about settings and files, never about a database that is away."""
        import_module(f"{__package__}.records")  # loads SQLAlchemy now, and not in the first request

        self._engine = self._open()
        loop = asyncio.get_running_loop()
        self._poller = loop.create_task(self._follow(self._engine))
        loop.call_later(self._lookup_seconds, self._has_looked.set)

    async def stop(self) -> None:
        """Let go of the database. Waits for it a moment, and no longer."""
        self._stopped = True
        tasks = [*self._asking.values(), *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._lookup_seconds)
        engine, self._engine, self._poller = self._engine, None, None
        if engine is not None:
            try:
                async with asyncio.timeout(self._lookup_seconds):
                    await engine.dispose()
            except Exception as error:  # noqa: BLE001 - it is over either way
                _log.warning("the database of keys was not closed: %s", type(error).__name__)

    def __call__(self, credential: str) -> Principal | Awaitable[Principal | None] | None:
        mark = self._mark(credential)
        known = self._known.get(credential[_ID])
        if (
            known is not None
            and hmac.compare_digest(known.mark, mark)
            and self._monotonic() < self._good_until
        ):
            self._known.move_to_end(credential[_ID])
            record = known.record
            return record.principal if record.expires_at > self._clock() else None
        if hmac.compare_digest(mark, self._own_mark):
            return self._own if self._has_looked.is_set() or self._poller is None else self._own_soon()
        parsed = parse(credential)
        if parsed is None or not is_ours(self._pepper, parsed.id):
            return None
        if self._monotonic() < self._good_until:
            if known is not None:
                return self._compare(known, parsed, mark)
            if self._absent.get(parsed.id, 0.0) > self._monotonic():
                return self._compare(None, parsed, mark)
        return self._ask(parsed, mark)

    async def _own_soon(self) -> Principal:
        """The gateway's own project with its limits, which the first look brings."""
        await self._has_looked.wait()
        return self._own

    def _mark(self, credential: str) -> bytes:
        return blake2s(credential.encode("utf-8", "surrogatepass"), key=self._salt).digest()

    def _compare(self, known: _Known | None, parsed: Credential, mark: bytes) -> Principal | None:
        # The same work for a key that is not there, so that time does not tell which ids are.
        stored = "0" * 64 if known is None else known.record.digest
        if not hmac.compare_digest(stored, digest(self._pepper, parsed.secret)) or known is None:
            return None
        known.mark = mark
        record = known.record
        return record.principal if record.expires_at > self._clock() else None

    async def _ask(self, parsed: Credential, mark: bytes) -> Principal | None:
        """One question for all who ask for the same key. Its task outlives a caller who leaves."""
        task = self._asking.get(parsed.id)
        if task is None:
            if self._engine is None or self._away or len(self._asking) >= _WAITING:
                raise CannotTell("the database of keys is away or busy")
            task = self._asking[parsed.id] = asyncio.create_task(self._look_up(self._engine, parsed.id))
            task.add_done_callback(lambda done: self._done(parsed.id, done))
        await asyncio.wait([task], timeout=self._lookup_seconds)
        if not task.done():
            raise CannotTell("the database of keys does not answer")
        if task.cancelled():
            raise CannotTell("the gateway stops")
        return self._compare(task.result(), parsed, mark)

    def _done(self, id: str, task: asyncio.Task[_Known | None]) -> None:
        del self._asking[id]
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may wait any more

    async def _look_up(self, engine: AsyncEngine, id: str) -> _Known | None:
        from .records import read_records

        async with self._slots:
            found = await read_records(engine, [id])
        if id not in found:
            _remember(self._absent, id, self._monotonic() + self._absent_seconds, self._capacity)
            return None
        if (record := found[id]) is None:
            raise CannotTell("the key's row cannot be read")
        known = _Known(record)
        # Where the directory has changed since, what is remembered was asked again without this one.
        if record.version >= self._version:
            _remember(self._known, id, known, self._capacity)
        return known

    async def _follow(self, engine: AsyncEngine) -> None:
        quiet_until = self._monotonic() + STARTING_SECONDS
        while True:
            begun = self._monotonic()
            pause = self._poll_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads workers
            try:
                async with asyncio.timeout(_REFRESH_SECONDS):
                    await self._poll(engine)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
                self._away = True
                if begun < quiet_until:
                    pause = min(pause, _STARTING_POLL)
                elif not (self._said or self._stopped):
                    said = "keys cannot be checked, those known are good for a while: %s"
                    _log.error(said, error_name(error))
                    self._said = True
            else:
                if self._said:
                    _log.warning("keys can be checked again")
                self._away = self._said = False
                self._good_until = begun + self._stale_seconds
                quiet_until = begun
            self._on_look(not self._away)
            self._has_looked.set()
            if self._stopped:  # cancelled within a driver, a task may see another error instead
                return
            await asyncio.sleep(pause)

    async def _poll(self, engine: AsyncEngine) -> None:
        from .records import read_default, read_records, read_version

        version = await read_version(engine)
        if version != self._version:
            self._version, self._changed = version, True
        if not self._changed:
            return
        self._absent.clear()
        ids = list(self._known)
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            found = await read_records(engine, batch)
            for key_id in batch:
                self._replace(key_id, found.get(key_id))
        default = await read_default(engine)
        if default is not None:
            self._own = principal_of_project(default, self._own.key_id)
        self._changed = False

    def _replace(self, id: str, record: Record | None) -> None:
        known = self._known.get(id)
        if known is None:
            return
        if record is None:
            del self._known[id]
        elif record.digest != known.record.digest:
            self._known[id] = _Known(record)
        else:
            known.record = record


def _remember(memory: OrderedDict[str, T], id: str, value: T, capacity: int) -> None:
    memory[id] = value
    memory.move_to_end(id)
    if len(memory) > capacity:
        memory.popitem(last=False)
