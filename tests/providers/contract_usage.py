"""What is known of the usage of answers that are left, that break off, that never come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from providers.base import ChatReply, RawReply, SpeaksMessages
from providers.errors import ProviderError
from providers.types import MessagesCall, Usage

from .contract import Theme
from .contract_stage import Stage, until, until_it_breaks

theme = Theme("Usage")

#: Tokens that are said before an answer breaks off, and the events before the first of them, at most.
SAID, BEFORE = 30, 4
BOTH, NEITHER = frozenset(("input", "output")), frozenset[str]()


def _broken_off(stage: Stage, usage: Usage, *, said: int) -> None:
    """Input is exact where the upstream begins with it; output is about what has been said."""
    told = stage.subject.tells_input
    assert usage.estimated == (frozenset(("output",)) if told else BOTH)
    if told:
        assert (usage.input_tokens, usage.cache_read_tokens) == (70, 50)
        assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (0, 0)
    assert usage.prompt_tokens > 0
    assert abs(usage.output_tokens - said) <= 1 + said // 5


def _script(stage: Stage, **fields: Any) -> None:
    stage.script(tokens=200, usage=stage.subject.usage(120, 50, 200), **fields)


@theme(scripted=True)
async def broken_usage(stage: Stage) -> None:
    """Usage of a stream that breaks off: input exact where the upstream has told it, what nobody has told is
    estimated and named."""
    _script(stage, fault="reset", after=SAID + BEFORE)
    reply = await stage.chat(stream=True)
    await until_it_breaks(reply)
    _broken_off(stage, reply.usage, said=SAID)
    assert reply.attempts == 1


@theme(scripted=True)
async def left_usage(stage: Stage) -> None:
    """Usage of a stream that its caller leaves: the same."""
    _script(stage, delay_ms=3)
    reply = await stage.chat(stream=True)
    said = await _read_words(reply.sse(), SAID)
    await reply.aclose()
    _broken_off(stage, reply.usage, said=said)


@theme(scripted=True)
async def left_whole_usage(stage: Stage) -> None:
    """Usage of a whole answer that its caller leaves while it is being written: the same."""
    _script(stage, fault="stall")
    call = stage.call()
    asking = asyncio.create_task(_completed(stage, call))
    await until(lambda: stage.asked() and stage.asked()[-1].bytes_written)
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    usage = stage.replies[-1].usage if stage.replies else call.exchange.usage
    assert usage.estimated == (frozenset(("output",)) if stage.subject.tells_input else BOTH)
    assert usage.prompt_tokens > 0


@theme()
async def complete_usage(stage: Stage) -> None:
    """Usage of a complete answer is what the upstream has reported, and nothing of it is estimated."""
    for stream in (False, True):
        reply = await stage.chat(stream=stream)
        await (_read(reply) if stream else reply.completion())
        assert reply.usage.estimated == NEITHER
        assert reply.usage.prompt_tokens > 0 < reply.usage.output_tokens
        assert reply.attempts == 1


@theme(scripted=True)
async def unanswered_usage(stage: Stage) -> None:
    """A call that its caller leaves before there is an answer has read its input, by an estimate."""
    for stream in (False, True):
        stage.sim.reset()
        stage.script(fault="hang")
        call = stage.call("word " * 300, stream=stream)
        asking = asyncio.create_task(stage.provider.chat(call))
        await until(lambda: stage.asked())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        found = call.exchange.usage
        assert (found.estimated, found.output_tokens, call.exchange.attempts) == (BOTH, 0, 1)
        assert 150 < found.input_tokens < 1_200


@theme(scripted=True)
async def refused_usage(stage: Stage) -> None:
    """A call that the upstream refuses, by a status or an error in place of an answer, has used nothing."""
    for fields in ({"status": 400}, {"status": 429}, {"status": 500}, {"fault": "error", "after": 0}):
        for stream in (False, True):
            stage.script(**fields)
            call = stage.call(stream=stream)
            with pytest.raises(ProviderError):
                await stage.provider.chat(call)
            assert call.exchange.usage == Usage()
            assert call.exchange.attempts == 1


@theme(scripted=True)
async def repeated_usage(stage: Stage) -> None:
    """A request that is sent again on a fresh connection counts as two attempts."""
    await stage.whole()  # leaves a connection behind
    stage.script(fault="drop")
    reply = await stage.chat()
    await reply.completion()
    assert (reply.attempts, reply.usage.estimated) == (2, NEITHER)
    for _ in range(2):
        stage.script(fault="drop")
    call = stage.call()
    with pytest.raises(ProviderError):
        await stage.provider.chat(call)
    assert call.exchange.attempts == 2


@theme(needs="messages", scripted=True)
async def passed_usage(stage: Stage) -> None:
    """Usage of a stream that passes in Anthropic's dialect and is left or breaks off: the same."""
    _script(stage, fault="reset", after=SAID + BEFORE)
    reply = await _passed(stage)
    with pytest.raises(ProviderError):
        await _read(reply)
    _broken_off(stage, reply.usage, said=SAID)
    _script(stage, delay_ms=3)
    reply = await _passed(stage)
    said = await _read_words(reply.chunks(), SAID)
    await reply.aclose()
    _broken_off(stage, reply.usage, said=said)
    reply = await _passed(stage)
    await _read(reply)
    assert (reply.usage.estimated, reply.attempts) == (NEITHER, 1)
    stage.script(fault="error", after=0)
    call = _messages_call(stage)
    assert isinstance(stage.provider, SpeaksMessages)
    with pytest.raises(ProviderError):
        await stage.provider.messages(call)
    assert call.exchange.usage == Usage()


async def _completed(stage: Stage, call: Any) -> None:
    reply = await stage.provider.chat(call)
    stage.replies.append(reply)
    await reply.completion()


async def _read(reply: ChatReply | RawReply) -> None:
    async for _ in reply.sse() if hasattr(reply, "sse") else reply.chunks():
        pass


async def _read_words(pieces: AsyncIterator[bytes], words: int) -> int:
    """Read until so many words have come; how many it really were."""
    said = 0
    while said < words:
        said += (await anext(pieces)).count(b" word")
    return said


async def _passed(stage: Stage) -> RawReply:
    assert isinstance(stage.provider, SpeaksMessages)
    return await stage.provider.messages(_messages_call(stage))


def _messages_call(stage: Stage) -> MessagesCall:
    messages = [{"role": "user", "content": "Say something."}]
    body = {"model": stage.models.plain, "max_tokens": 1000, "messages": messages, "stream": True}
    return MessagesCall(orjson.dumps(body), stage.models.plain)
