"""However the upstream's bytes are cut, the answer is the same; and the official SDK can read it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import ReplyShape

from . import events as e
from .events import GOLDEN, chunks

#: Complete streams, and ones that end in every way in which they should not.
STREAMS = {
    **GOLDEN,
    "error": e.stream(
        e.start(),
        *e.text(0, "half"),
        {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
    ),
    "truncated": GOLDEN["parallel_tools"][:-40],
    "bad_json": GOLDEN["text"].replace(b'"text":"lo"', b'"text":'),
    "bad_utf8": GOLDEN["text"].replace("ö".encode(), b"\xff"),
    "crlf": GOLDEN["thinking_and_tool"].replace(b"\n", b"\r\n"),
    "cr": GOLDEN["usage"].replace(b"\n", b"\r"),
    "bom_and_comments": b"\xef\xbb\xbf: hello\n\n" + GOLDEN["text"].replace(b"\n\n", b"\n: ping\n\n"),
}
SHAPE = ReplyShape(include_usage=True, custom_tools=frozenset({"run"}), json_object=True)


def run(pieces: list[bytes], *, streaming: bool) -> tuple[bytes, Any, ChatTranslator]:
    translator = ChatTranslator(model="opus", shape=SHAPE, streaming=streaming)
    out = b"".join(map(translator.feed, pieces))
    translator.end()
    failure = translator.failure
    ended = (type(failure), failure.message) if failure else None
    return out, ended if ended or streaming else translator.completion(), translator


def without_time(data: bytes) -> list[Any]:
    return [c if c == "[DONE]" else {**c, "created": 0} for c in chunks(data)]


@settings(max_examples=150)
@given(data=st.data(), name=st.sampled_from(sorted(STREAMS)))
def test_the_answer_does_not_depend_on_how_the_bytes_are_cut(data: st.DataObject, name: str) -> None:
    whole = STREAMS[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    out, ended, _ = run([whole], streaming=True)
    cut_out, cut_ended, translator = run(pieces, streaming=True)
    assert without_time(cut_out) == without_time(out)
    assert cut_ended == ended
    _, result, _ = run([whole], streaming=False)
    _, cut_result, assembler = run(pieces, streaming=False)
    if isinstance(result, dict):
        result["created"] = cut_result["created"] = 0
    assert cut_result == result
    assert assembler.usage == translator.usage


@pytest.mark.parametrize("name", STREAMS)
def test_one_byte_at_a_time_makes_no_difference(name: str) -> None:
    whole = STREAMS[name]
    pieces = [whole[i : i + 1] for i in range(len(whole))]
    out, ended, _ = run([whole], streaming=True)
    cut_out, cut_ended, _ = run(pieces, streaming=True)
    assert (without_time(cut_out), cut_ended) == (without_time(out), ended)


@given(pieces=st.lists(st.text(max_size=20), max_size=20))
def test_what_is_streamed_is_what_is_assembled_is_what_was_said(pieces: list[str]) -> None:
    data = e.stream(e.start(), *e.text(0, *pieces), *e.thinking(1, *pieces), *e.finish("end_turn"))
    shape = ReplyShape()
    streamer = ChatTranslator(model="m", shape=shape, streaming=True)
    found = [c["choices"][0]["delta"] for c in chunks(streamer.feed(data)) if c != "[DONE]"]
    assembler = ChatTranslator(model="m", shape=shape, streaming=False)
    assembler.feed(data)
    message = assembler.completion()["choices"][0]["message"]
    said = "".join(pieces)
    assert "".join(d.get("content", "") for d in found) == message["content"] == said
    assert (
        "".join(d.get("reasoning_content", "") for d in found) == message.get("reasoning_content", "") == said
    )


@settings(max_examples=60)
@given(said=st.text(max_size=60), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_a_custom_tools_text_survives_every_way_of_cutting_its_json(said: str, sizes: list[int]) -> None:
    for json in (orjson.dumps({"input": said}).decode(), _ascii_json(said)):
        pieces, at = [], 0
        for size in [*sizes, len(json)]:
            pieces.append(json[at : at + size])
            at += size
        data = e.stream(e.start(), *e.tool(0, "toolu_1", "run", *pieces), *e.finish("tool_use"))
        translator = ChatTranslator(model="m", shape=SHAPE, streaming=False)
        translator.feed(data)
        call = translator.completion()["choices"][0]["message"]["tool_calls"][0]
        assert call["custom"]["input"] == said


def _ascii_json(said: str) -> str:
    import json

    return json.dumps({"input": said})


@settings(max_examples=100)
@given(
    garbage=st.one_of(st.binary(max_size=80), st.sampled_from(sorted(STREAMS.values()))),
    cut=st.integers(0, 400),
)
def test_whatever_an_upstream_sends_ends_in_success_or_in_a_provider_error(garbage: bytes, cut: int) -> None:
    for data in (garbage, GOLDEN["text"][:cut] + garbage):
        for streaming in (True, False):
            translator = ChatTranslator(model="m", shape=SHAPE, streaming=streaming)
            translator.feed(data)
            translator.end()
            assert translator.done != (translator.failure is not None)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_openai_sdk_reads_every_answer(name: str) -> None:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    for shape in (ReplyShape(include_usage=True), ReplyShape(legacy_functions=True)):
        translator = ChatTranslator(model="opus", shape=shape, streaming=True)
        found = chunks(translator.feed(GOLDEN[name]))
        parsed = [ChatCompletionChunk.model_validate(chunk) for chunk in found if chunk != "[DONE]"]
        assert parsed[0].choices[0].delta.role == "assistant"
        assembler = ChatTranslator(model="opus", shape=shape, streaming=False)
        assembler.feed(GOLDEN[name])
        completion = ChatCompletion.model_validate(assembler.completion())
        finishes = [c.choices[0].finish_reason for c in parsed if c.choices]
        assert completion.choices[0].finish_reason == finishes[-1] is not None
        assert finishes[:-1] == [None] * (len(finishes) - 1)
