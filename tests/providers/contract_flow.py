"""How bytes and connections flow: cancelling, closing, reuse, many at a time, cuts anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from providers.errors import ProviderError
from providers.http import Header, HttpClient, HttpResponse, Timeouts

from .contract import Theme
from .contract_stage import Answer, Stage, read_chunks, read_stream, until
from .contract_tools import CLOCK, TWO, WEATHER

theme = Theme("Flow")

#: Bytes between two cuts of a recorded answer: less than any event has.
STRIDE = 37


async def _stopped(stage: Stage) -> None:
    """The upstream has noticed, and no connection is left in use."""
    await until(lambda: stage.asked() and stage.asked()[-1].closed_by_client_at is not None)
    assert all(pool["open"] == pool["idle"] for pool in stage.client.stats().values())


@theme(scripted=True)
async def close_stops_the_upstream(stage: Stage) -> None:
    """Closing a reply stops the upstream at once, before the first piece was read and after it."""
    for read in (0, 1, 3):
        stage.script(tokens=500, delay_ms=20)
        reply = await stage.chat(stream=True)
        pieces = reply.sse()
        for _ in range(read):
            assert await anext(pieces)
        await reply.aclose()
        await _stopped(stage)
        assert stage.asked()[-1].events_written < 400
        await pieces.aclose()  # type: ignore[attr-defined]


@theme(scripted=True)
async def leaving_a_stream_stops_the_upstream(stage: Stage) -> None:
    """Whoever closes the stream itself (a client that went away) stops the upstream too."""
    stage.script(tokens=500, delay_ms=20)
    reply = await stage.chat(stream=True)
    pieces = reply.sse()
    assert await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]
    await _stopped(stage)


@theme(scripted=True)
async def cancel_before_the_first_byte(stage: Stage) -> None:
    """Cancelling the task that waits for an answer stops the upstream at once."""
    for stream in (False, True):
        stage.sim.reset()
        stage.script(fault="hang")
        await _cancel(asyncio.create_task(stage.chat(stream=stream)), stage)


@theme(scripted=True)
async def cancel_after_the_first_byte(stage: Stage) -> None:
    """Cancelling the task that reads an answer, streamed or whole, stops the upstream at once."""
    for ask in (stage.whole, stage.streamed):
        stage.sim.reset()
        stage.script(text="I am about to say something and then fall silent.", fault="stall")
        reading: asyncio.Task[Any] = asyncio.create_task(ask())
        await until(lambda: stage.asked() and stage.asked()[-1].bytes_written)
        await asyncio.sleep(0.02)
        await _cancel(reading, stage)


async def _cancel(task: asyncio.Task[Any], stage: Stage) -> None:
    await until(lambda: stage.asked())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _stopped(stage)


@theme()
async def close_twice(stage: Stage) -> None:
    """Closing is idempotent: at once, twice, and after the end."""
    unread = await stage.chat(stream=True)
    await unread.aclose()
    await unread.aclose()
    read = await stage.chat()
    await read.completion()
    await read.aclose()
    await read.aclose()
    assert (await stage.whole()).text


@theme(scripted=True)
async def one_connection(stage: Stage) -> None:
    """Chats one after the other share a connection: each is given back when its answer is complete."""
    stage.script()
    await stage.whole()
    (first,) = stage.client.stats().values()
    for ask in (stage.streamed, stage.whole, stage.streamed):
        await ask()
        (now,) = stage.client.stats().values()
        assert now == first == {"open": stage.sim.connections, "idle": stage.sim.connections, "waiting": 0}


@theme()
async def twenty_at_once(stage: Stage) -> None:
    """Twenty chats at a time do not mix."""

    async def ask(number: int) -> str:
        answer = await (stage.streamed if number % 2 else stage.whole)(f"I am number {number:02}.")
        return answer.text

    texts = await asyncio.gather(*map(ask, range(20)))
    for number, text in enumerate(texts):
        assert f"number {number:02}" in text
        assert text.count("number") == 1


@theme(scripted=True)
async def chunks_of_any_size(stage: Stage) -> None:
    """The answer does not depend on how its bytes travel: in HTTP chunks of 1 to 7 bytes."""
    question = {"said": "Grüß Gott, 日本 👩‍🚀.", "stream_options": {"include_usage": True}}
    for ask in (stage.streamed, stage.whole):
        expected = await ask(**question)
        for size in range(1, 8):
            stage.script(split=size)
            assert await ask(**question) == expected


@theme(scripted=True)
async def cut_at_every_byte(stage: Stage) -> None:
    """The answer does not depend on where its bytes are cut, at any byte or at every one."""
    async with _recorded(stage) as (tape, provider):
        stage.script(text='Zum Wohl, 乾杯 🍻!\n\n\\"', split=1)
        call = stage.call(TWO, tools=[WEATHER, CLOCK], stream=True, stream_options={"include_usage": True})
        said, called = [await _read(provider, call) for _ in range(2)]
        for expected in (said, called):
            body = tape.bodies[-2 if expected is said else -1]
            cuts = [range(first, len(body), STRIDE) for first in range(1, STRIDE + 1)]  # each byte once
            for inner in (*cuts, range(1, len(body))):
                tape.replayed = [body[start:end] for start, end in pairwise((0, *inner, len(body)))]
                assert await _read(provider, call) == expected, inner
    assert said.text
    assert len(called.calls) == (2 if "tools" in stage.provider.features else 0)


@theme(scripted=True)
async def cut_off_at_every_byte(stage: Stage) -> None:
    """An answer that ends after any of its bytes is never taken for one that was whole."""
    async with _recorded(stage) as (tape, provider):
        stage.script(text="Zum Wohl, 乾杯 🍻!")
        call = stage.call(stream=True)
        expected = await _read(provider, call)
        body = tape.bodies[-1]
        broken = 0
        for end in range(len(body)):
            tape.replayed = [body[:end]]
            said, whole = await _read_broken(provider, call)
            assert said == expected if whole else expected.text.startswith(said.text), end
            broken += not whole
        assert broken > len(body) * 0.7  # what follows the finish may be missing, where servers forget it


@theme(scripted=True)
async def broken_bytes(stage: Stage) -> None:
    """An answer with a broken byte fails clearly or still makes sense: the caller gets valid chunks alone."""
    async with _recorded(stage) as (tape, provider):
        stage.script()
        call = stage.call(TWO, tools=[WEATHER, CLOCK], stream=True)
        await _read(provider, call)
        body = tape.bodies[-1]
        for at in range(0, len(body), 11):
            tape.replayed = [body[:at] + (b"\xff", b'"', b"\n")[at % 3] + body[at + 1 :]]
            await _read_broken(provider, call)


async def _read_broken(provider: Any, call: Any) -> tuple[Answer, bool]:
    """What a stream says as far as it goes, and whether it claims to be whole. Checks every chunk."""
    said = bytearray()
    try:
        async for piece in (await provider.chat(call)).sse():
            said += piece
    except ProviderError:
        return read_chunks(bytes(said)), False
    return read_stream(bytes(said)), True


async def _read(provider: Any, call: Any) -> Any:
    reply = await provider.chat(call)
    return read_stream(b"".join([piece async for piece in reply.sse()]))


@asynccontextmanager
async def _recorded(stage: Stage) -> AsyncIterator[tuple[Tape, Any]]:
    tape = Tape(stage.client)
    provider = stage.make(client=tape)
    yield tape, provider
    await provider.aclose()


class Tape:
    """An HTTP client that records the bodies of chats, and plays ``replayed`` instead once there is one.
    Whatever else a provider asks on its way goes to the upstream."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.bodies: list[bytes] = []
        self.replayed: Sequence[bytes] = ()
        self._headers: Sequence[Header] = ()
        self._url = ""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> HttpResponse:
        if self.replayed and url == self._url:
            return _Played(self._headers, list(self.replayed))
        response = await self._client.request(method, url, headers=headers, body=body, timeouts=timeouts)
        if method == "GET" or b'"stream":true' not in body:
            return response
        self._headers, self._url = tuple(response.headers), url
        self.bodies.append(await response.read())
        await response.aclose()
        return _Played(self._headers, [self.bodies[-1]])

    async def aclose(self) -> None:
        """The client belongs to the stage."""


class _Played:
    """A recorded response, one piece for each read."""

    status = 200
    attempts = 1

    def __init__(self, headers: Sequence[Header], pieces: list[bytes]) -> None:
        self.headers = headers
        self._pieces = pieces

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def ended(self) -> bool:
        return not self._pieces

    async def read_some(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        rest, self._pieces = b"".join(self._pieces), []
        return rest

    async def aclose(self) -> None:
        self._pieces = []

    async def __aenter__(self) -> _Played:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
