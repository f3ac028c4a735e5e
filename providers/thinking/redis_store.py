"""Turns shared by the workers and machines that use one Redis.

What a worker has kept itself it finds in its own memory; Redis is asked for the rest, and has it when another
worker has kept it. Redis may hang, be full or be gone: then a request waits for at most :data:`PATIENCE`, and
the next ones not at all until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError, ResponseError

from .stores import TTL, MemoryStore
from .turns import KeptTurn, size_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Seconds that a request waits for Redis.
PATIENCE = 0.1
#: The same where nobody waits: a write, the question whether Redis is back (a TLS handshake takes a while).
BACKGROUND_PATIENCE = 1.0
#: Seconds from a failure until Redis is asked again.
PAUSE = 5.0
#: Turns that are asked for at once, the last ones of a conversation.
MAX_ASKED = 512
#: Bytes of a turn that is worth sharing.
MAX_VALUE = 1024 * 1024
#: Writes that may be on their way at once: more than that means that Redis does not keep up.
MAX_WRITES = 256

#: The ``1`` is the version of the values.
_PREFIX = "gw:thinking:1:"
_CHECKSUM = 8
#: Kind of block -> its members.
_BLOCKS = {
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "text": {"type", "text"},
    "tool_use": {"type", "id"},
}
_log = logging.getLogger(__name__)


class RedisStore:
    """See :class:`~providers.thinking.stores.ThinkingStore`. ``client`` gives bytes (no
    ``decode_responses``) and retries nothing; it is closed by whoever made it. ``memory`` stands in front."""

    def __init__(
        self,
        client: Redis,
        *,
        memory: MemoryStore | None = None,
        ttl: float = TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._memory = MemoryStore() if memory is None else memory
        self._ttl_ms = int(ttl * 1000)
        self._clock = clock
        self._down = False
        self._refused = False  # it answers, and will not do what it is asked
        self._probe_at = 0.0
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, session: str, keys: Sequence[str]) -> Mapping[str, KeptTurn]:
        """See :class:`~providers.thinking.stores.ThinkingStore`."""
        found = self._memory.find(session, keys)
        missing = [key for key in dict.fromkeys(keys) if key not in found][-MAX_ASKED:]
        if not missing:
            return found
        if self._down:
            self._probe()
            return found
        values: list[Any] = []

        async def ask() -> None:
            values.extend(await self._client.mget([_name(session, key) for key in missing]))

        if await self._try(ask(), PATIENCE):
            answers = zip(missing, values, strict=True)
            shared = {key: turn for key, value in answers if value is not None and (turn := decoded(value))}
            self._memory.put(session, shared)
            found.update(shared)
        return found

    def put(self, session: str, turns: Mapping[str, KeptTurn]) -> None:
        """See :class:`~providers.thinking.stores.ThinkingStore`."""
        self._memory.put(session, turns)
        if self._down:
            self._probe()
        elif len(self._running) < MAX_WRITES:
            values = {_name(session, key): encoded(turn) for key, turn in turns.items()}
            self._start(self._write(values))

    async def aclose(self) -> None:
        """See :class:`~providers.thinking.stores.ThinkingStore`."""
        if self._running:
            await asyncio.wait(self._running, timeout=BACKGROUND_PATIENCE)

    async def _write(self, values: Mapping[str, bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name, value in values.items():
            if len(value) <= MAX_VALUE:
                pipeline.set(name, value, px=self._ttl_ms)
        await pipeline.execute()
        self._refused = False

    def _probe(self) -> None:
        """Ask in the background, now and then, whether Redis is back."""
        now = self._clock()
        if now >= self._probe_at:
            self._probe_at = now + PAUSE
            self._start(self._ping())

    async def _ping(self) -> None:
        await self._client.ping()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await self._try(work, BACKGROUND_PATIENCE)

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _try(self, work: Coroutine[Any, Any, None], patience: float) -> bool:
        """Whether ``work`` was done; one line in the log for each time that Redis goes or comes back."""
        try:
            async with asyncio.timeout(patience):
                await work
        except ResponseError as error:  # full, read-only, forbidden: no reason not to ask again
            if not self._refused:
                _log.warning("thinking is not shared, Redis refuses: %s", type(error).__name__)
            self._refused = True
            return False
        except (RedisError, OSError, TimeoutError) as error:
            if not self._down:
                # Its name only: messages of the driver quote hosts and values.
                _log.warning("thinking is shared no longer, Redis fails: %s", type(error).__name__)
            self._down = True
            self._probe_at = self._clock() + PAUSE
            return False
        if self._down:
            self._down = False
            _log.warning("thinking is shared again, Redis answers")
        return True


def encoded(turn: KeptTurn) -> bytes:
    """A turn as it stands in Redis: a checksum and JSON."""
    digests = [turn.prefix.hex(), turn.calls.hex()]
    value = orjson.dumps([turn.model, *digests, turn.blocks])
    return sha256(value).digest()[:_CHECKSUM] + value


def decoded(value: bytes) -> KeptTurn | None:
    """The turn; None for what is damaged or was never one."""
    checksum, value = value[:_CHECKSUM], value[_CHECKSUM:]
    if sha256(value).digest()[:_CHECKSUM] != checksum:
        return None
    try:
        model, prefix, calls, blocks = orjson.loads(value)
        digests = bytes.fromhex(prefix), bytes.fromhex(calls)
        if not (isinstance(model, str) and isinstance(blocks, list) and all(map(_is_block, blocks))):
            return None
    except (ValueError, TypeError):
        return None
    return KeptTurn(model, *digests, tuple(blocks), size_of(blocks))


def _is_block(block: object) -> bool:
    if not isinstance(block, dict) or block.keys() != _BLOCKS.get(str(block.get("type"))):
        return False
    return all(isinstance(text, str) for text in block.values())


def _name(session: str, key: str) -> str:
    """The braces keep a session on one node of a cluster, so that its turns can be had at once
    (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags)."""
    return f"{_PREFIX}{{{session}}}:{key}"
