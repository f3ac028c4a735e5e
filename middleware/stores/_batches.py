"""Calls of one script, as few journeys to Redis as they take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

Arguments = Sequence[str | float]
#: Given the answer to a call that nobody waits for any more.
Late = Callable[[Any], None]

#: Calls of one journey: a few milliseconds of Redis' time, which is everybody's.
_MOST = 64
#: Calls that wait for the next journeys at most; what is beyond them is not made.
_MAX_WAITING = 4_096
#: Seconds after which a journey is given up, whatever time-outs the client has.
_LOST = 2.0
_NO_ANSWER = "Redis does not answer"


class _Call:
    __slots__ = ("answer", "arguments", "keys", "late")

    def __init__(
        self, keys: Sequence[str], arguments: Arguments, answer: asyncio.Future[Any] | None, late: Late | None
    ) -> None:
        self.keys = keys
        self.arguments = arguments
        self.answer = answer
        self.late = late


class Batches:
    """Runs a script in one Redis, in the order in which it is asked to.

    While one journey is under way the calls for the next one gather, so there is never more than one
    connection in use, however many requests come at once. When a journey takes longer than ``timeout``
    seconds, whoever waits for it or for the next one is told so. It goes on without them, since connecting
    may take longer; what it brings in the end is for ``late``.
    """

    def __init__(
        self, client: Redis, script: str, sha: str, *, timeout: float, on_failure: Callable[[Exception], None]
    ) -> None:
        from redis.exceptions import NoScriptError, RedisError

        self._client = client
        self._script = script
        self._sha = sha
        self._timeout = timeout
        self._on_failure = on_failure
        self._unknown = NoScriptError
        self.failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._waiting: list[_Call] = []
        self._under_way: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None
        self._overdue = False
        self._timer: asyncio.TimerHandle

    @property
    def busy(self) -> bool:
        return self._sending is not None

    async def ask(self, keys: Sequence[str], arguments: Arguments, late: Late) -> Any:
        """The script's answer; ``late`` is given one that comes when the caller has gone.

        Raises ``TimeoutError``, and the ``RedisError`` or ``OSError`` that the driver has raised.
        """
        if self._overdue:
            raise TimeoutError(_NO_ANSWER)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._add(_Call(keys, arguments, answer, late))
        return await answer

    def tell(self, keys: Sequence[str], arguments: Arguments) -> None:
        """Have the script run some time soon, and do without its answer."""
        self._add(_Call(keys, arguments, None, None))

    async def idle(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._sending is not None:
            await asyncio.wait({self._sending})

    async def probe(self, keys: Sequence[str], arguments: Arguments) -> None:
        """Run the script apart from the rest. Raises as :meth:`ask` does."""
        async with asyncio.timeout(_LOST):
            await self._client.eval(self._script, len(keys), *keys, *arguments)

    def _add(self, call: _Call) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            if call.answer is not None:
                call.answer.set_exception(TimeoutError(_NO_ANSWER))
            return
        self._waiting.append(call)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                calls = self._under_way = self._waiting[:_MOST]
                del self._waiting[:_MOST]
                due = loop.time() + self._timeout
                self._timer = loop.call_at(due, self._late, due)
                try:
                    await self._travel(calls)
                finally:
                    self._overdue = False
                    self._timer.cancel()
        finally:
            self._sending = None
            self._fail()  # nobody, if all went well

    def _fail(self) -> None:
        """Whoever waits need not wait any longer."""
        calls, self._waiting = [*self._under_way, *self._waiting], []
        for call in calls:
            if call.answer is not None and not call.answer.done():
                call.answer.set_exception(TimeoutError(_NO_ANSWER))

    def _late(self, due: float) -> None:
        """A journey has taken too long; unless it is this loop that was late: then the answers may be there,
        and nobody has looked at them."""
        loop = asyncio.get_running_loop()
        if loop.time() - due > self._timeout / 2:
            again = loop.time() + self._timeout
            self._timer = loop.call_at(again, self._late, again)
            return
        self._overdue = True
        self._fail()
        self._on_failure(TimeoutError(_NO_ANSWER))

    async def _travel(self, calls: list[_Call]) -> None:
        try:
            async with asyncio.timeout(_LOST):
                answers = await self._journey(calls)
                missing = [i for i, answer in enumerate(answers) if isinstance(answer, self._unknown)]
                if missing:  # a Redis that was started afresh
                    await self._client.script_load(self._script)
                    again = await self._journey([calls[i] for i in missing])
                    for index, answer in zip(missing, again, strict=True):
                        answers[index] = answer
        except self.failures as error:
            answers = [error] * len(calls)
        failure: Exception | None = None
        for call, answer in zip(calls, answers, strict=True):
            waits = None if call.answer is None or call.answer.done() else call.answer
            if isinstance(answer, Exception):
                failure = answer
                if waits is not None:
                    waits.set_exception(answer)
            elif waits is not None:
                waits.set_result(answer)
            elif call.late is not None:
                call.late(answer)
        if failure is not None:
            self._on_failure(failure)

    async def _journey(self, calls: list[_Call]) -> list[Any]:
        if len(calls) == 1:  # the driver's pipeline costs as much again
            call = calls[0]
            try:
                return [await self._client.evalsha(self._sha, len(call.keys), *call.keys, *call.arguments)]
            except self._unknown as error:
                return [error]
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.evalsha(self._sha, len(call.keys), *call.keys, *call.arguments)
            return list(await pipeline.execute(raise_on_error=False))
