"""Listening to an answer changes nothing of it, and hears the same however the bytes arrive."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.thinking.recording import Part, RecordingWriter, blocks_of
from providers.thinking.stores import MemoryStore
from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.chunks import chat_writer
from providers.types import ChatCall, Writer
from tests.providers.translate.events import (
    GOLDEN,
    closed,
    delta,
    finish,
    opened,
    start,
    stream,
    text,
    thinking,
    tool,
)

from .stage import Client, said, thought, use

Json = dict[str, Any]

MIXED = stream(
    start(),
    *thinking(0, "pl", "an ö", '"\n'),
    opened(1, type="redacted_thinking", data="xyz"),
    closed(1),
    *text(2, "Loo", "king. "),
    opened(3, type="thinking", thinking="all at ", signature=""),
    delta(3, "thinking_delta", thinking="once"),
    delta(3, "signature_delta", signature="c2ln"),
    closed(3),
    *text(4, "\n"),
    *tool(5, "toolu_1", "run", '{"a": ', "[1]}"),
    *tool(6, "toolu_2", "patch", '{"input": "x', 'y"}'),
    *tool(7, "toolu_3", "now"),
    *finish("tool_use"),
)
HEARD = [
    {"type": "thinking", "thinking": 'plan ö"\n', "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "xyz"},
    {"type": "text", "text": "Looking. "},
    {"type": "thinking", "thinking": "all at once", "signature": "c2ln"},
    # The API would refuse the blank text.
    {"type": "tool_use", "id": "toolu_1", "name": "run_x", "input": {"a": [1]}},
    {"type": "tool_use", "id": "toolu_2", "name": "patch", "input": {"input": "xy"}},
    {"type": "tool_use", "id": "toolu_3", "name": "now", "input": {}},
]
SHAPE = ReplyShape(tool_names={"run_x": "run"}, custom_tools=frozenset({"patch"}))


def translated(
    pieces: list[bytes], streaming: bool, heard: list[list[Part]] | None, shape: ReplyShape = SHAPE
) -> bytes:
    def writer(**options: bool) -> Writer:
        inner = chat_writer(**options)
        return inner if heard is None else RecordingWriter(inner, heard.append)

    translator = ChatTranslator(model="m", shape=shape, streaming=streaming, writer=writer)
    out = b"".join([translator.feed(piece) for piece in pieces])
    assert translator.done
    if not streaming:
        out = orjson.dumps(translator.completion())
    return out.partition(b'"created":')[0] + out.partition(b'"model":')[2]  # without the time


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % len(data) for place in at)})
    return [data[a:b] for a, b in pairwise(marks)]


@settings(max_examples=200)
@given(
    answer=st.sampled_from([*GOLDEN.values(), MIXED]),
    at=st.lists(st.integers(0, 10_000), max_size=12),
    streaming=st.booleans(),
)
def test_a_recorded_answer_is_the_same_answer(answer: bytes, at: list[int], streaming: bool) -> None:
    pieces = cut(answer, at)
    assert translated(pieces, streaming, []) == translated(pieces, streaming, None)


@settings(max_examples=200)
@given(at=st.lists(st.integers(0, len(MIXED)), max_size=40), streaming=st.booleans())
def test_what_is_heard_does_not_depend_on_how_the_bytes_arrive(at: list[int], streaming: bool) -> None:
    heard: list[list[Part]] = []
    translated(cut(MIXED, at), streaming, heard)
    assert [blocks_of(parts, {"run": "run_x"}) for parts in heard] == [HEARD]


UNHEARD = {
    "no thinking": stream(start(), *tool(0, "toolu_1", "run"), *finish("tool_use")),
    "no call": stream(start(), *thinking(0, "a"), *text(1, "b"), *finish("end_turn")),
    "cut short": stream(start(), *thinking(0, "a"), *tool(1, "toolu_1", "run"), *finish("max_tokens")),
}


@pytest.mark.parametrize("name", UNHEARD)
def test_only_thinking_that_leads_to_calls_is_kept(name: str) -> None:
    heard: list[list[Part]] = []
    translated([UNHEARD[name]], True, heard)
    assert heard == []


def test_thinking_that_nobody_has_signed_is_not_kept() -> None:
    heard: list[list[Part]] = []
    unsigned = [opened(0, type="thinking", thinking="a", signature=""), closed(0)]
    translated([stream(start(), *unsigned, *tool(1, "toolu_1", "run"), *finish("tool_use"))], True, heard)
    assert [blocks_of(parts, {}) for parts in heard] == [[]]


def test_a_text_that_is_no_unicode_is_not_kept() -> None:
    part = Part("thinking")
    part.tokens.append(b"\\ud800")
    assert blocks_of([part], {}) == []


@pytest.mark.anyio
async def test_tools_with_names_that_the_api_refuses_are_found_again() -> None:
    client = Client()
    client.tools[0]["function"]["name"] = "files.read"
    await client.ask("go")
    wire = client.upstream.sent[-1]["tools"][0]["name"]
    assert wire != "files.read"
    await client.ask("on", thought("a"), said("Looking."), use("toolu_1", wire, path="x"))
    assert client.history[-1]["tool_calls"][0]["function"]["name"] == "files.read"
    await client.results()
    assert client.sent_turns[-1] == client.upstream.said[1]


@pytest.mark.anyio
async def test_custom_tools_are_found_again() -> None:
    client = Client(stream=False)
    client.tools = [{"type": "custom", "custom": {"name": "patch"}}]
    await client.ask("go", thought("a"), use("toolu_1", "patch", input="*** Begin"))
    assert client.history[-1]["tool_calls"][0]["custom"] == {"name": "patch", "input": "*** Begin"}
    await client.results()
    assert client.sent_turns == client.upstream.said[:1]


@pytest.mark.anyio
async def test_nothing_is_kept_for_callers_without_ids() -> None:
    """``functions`` know no ids, so the turn could not be found again."""
    store = MemoryStore()
    client = Client(store=store)
    body = {
        "messages": [{"role": "user", "content": "go"}],
        "functions": [{"name": "read", "parameters": {"type": "object", "properties": {}}}],
        "stream": True,
    }
    client.upstream.script = [[thought("a"), use("toolu_1")]]
    call = ChatCall(body, client.model, client.model, session=partial(str, "s"))
    async for _ in (await client.provider.chat(call)).sse():
        pass
    assert len(store) == 0
