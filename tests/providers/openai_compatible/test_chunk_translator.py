"""Chunks for a caller of another dialect: all that they say is told, however they are cut and whoever wrote
them."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadRequest, Overloaded, ProtocolError, ProviderError, RateLimited, UpstreamFailed
from providers.openai_compatible import chunk_translator
from providers.openai_compatible.chunk_translator import ChunkTranslator
from providers.openai_compatible.runs import Run, run_of
from providers.translate.chat_anthropic import ReplyShape
from providers.types import Usage

from .recorder import told, translated
from .streams import CALL, DONE, GOLDEN, ROLE, USED, arguments, chunk, delta, event, spaced, text
from .test_stream import STREAMS

STOP = delta(finish="stop")


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places) if start < end]


def verdict(translator: ChunkTranslator) -> Any:
    failure = translator.failure
    return (
        translator.done,
        translator.started,
        translator.upstream_model,
        translator.usage,
        translator.finish_reason,
        translator.first_token_at is not None,
        (type(failure), failure.message, failure.code) if failure else None,
    )


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_server_is_understood(name: str) -> None:
    writer, translator = translated([GOLDEN[name]])
    assert translator.failure is None
    assert writer.told[0] == ("start", "1", "x:m")
    assert translator.upstream_model == "m-2026"
    assert translator.first_token_at is not None
    calls = name in ("tools", "crlf")
    assert translator.finish_reason == ("tool_calls" if calls else "stop")
    assert writer.told[-1] == ("finish", translator.finish_reason)
    assert translator.usage == (Usage() if name == "no_usage" else Usage(30, 20, 60, 10, 0, 5))
    said = "".join(entry[1] for entry in writer.told if entry[0] == "text")
    whole_text = 'Hello, Grüße 日本 \\n "quoted" \\"error" "usage" "choices"!'
    assert said == {
        **dict.fromkeys(("tools", "crlf"), "I will look."),
        **dict.fromkeys(("reasoning", "spaced"), "Yes."),
        "two_choices": "ab",
        "padded": "a bc dée",
    }.get(name, whole_text)


def test_parallel_calls_are_told_as_they_arrive() -> None:
    assert told(GOLDEN["tools"]) == [
        ("text", "I will look."),
        ("call", 0, "call_1", "look"),
        ("arguments", 0, '{"ci'),
        ("arguments", 0, "ty"),
        ("arguments", 0, '":"Ulm"}'),
        ("call", 1, "call_2", "look"),
        ("arguments", 1, "{}"),
        ("finish", "tool_calls"),
    ]


@given(name=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(min_value=0), max_size=12))
def test_how_the_bytes_are_cut_does_not_matter(name: str, cuts: list[int]) -> None:
    stream = STREAMS[name]
    writer, translator = translated([stream])
    other, cut = translated(pieces_of(stream, cuts))
    assert other.told == writer.told
    assert verdict(cut) == verdict(translator)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_byte_by_byte_is_the_same(name: str) -> None:
    stream = STREAMS[name]
    writer, translator = translated([stream])
    other, cut = translated(stream[at : at + 1] for at in range(len(stream)))
    assert other.told == writer.told
    assert verdict(cut) == verdict(translator)


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
SAID = st.tuples(st.sampled_from(["content", "reasoning_content", "reasoning"]), WORDS)


@given(said=st.lists(SAID, min_size=1, max_size=30), python=st.booleans(), every=st.integers(1, 400))
def test_runs_of_words_say_what_was_written(said: list[tuple[str, str]], python: bool, every: int) -> None:
    stream = ROLE + b"".join(delta(0, None, **{field: words}) for field, words in said) + STOP + USED + DONE
    stream = spaced(stream) if python else stream
    writer, translator = translated(stream[at : at + every] for at in range(0, len(stream), every))
    kinds = [("text" if field == "content" else "reasoning", words) for field, words in said]
    assert writer.told[1:-1] == kinds
    assert translator.done


def test_words_alone_in_a_read_are_told_at_once() -> None:
    writer, translator = translated([ROLE])
    translator = ChunkTranslator(model="m", shape=ReplyShape(), streaming=True, writer=lambda **_: writer)
    for piece in (ROLE, text("one"), text("two"), delta(reasoning_content="hm"), text("three")):
        translator.feed(piece)
    assert writer.told[-4:] == [
        ("text", "one"),
        ("text", "two"),
        ("reasoning", "hm"),
        ("text", "three"),
    ]


def test_runs_that_never_come_are_not_looked_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def counted(raw: bytes, field: str, said: str) -> Run | None:
        tried.append(said)
        return run_of(raw, field, said)

    monkeypatch.setattr(chunk_translator, "run_of", counted)
    changing = [
        chunk({"index": 0, "delta": {"content": f"word {n}"}, "finish_reason": None}, created=n)
        for n in range(1, 200)
    ]
    writer, _ = translated([ROLE, *changing, STOP, DONE])
    assert [entry[1] for entry in writer.told if entry[0] == "text"] == [f"word {n}" for n in range(1, 200)]
    assert len(tried) < 20


# -- what servers make of it ---------------------------------------------------------------------------------


def said_by(*fields: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a writer is told of deltas with these fields."""
    stream = ROLE + b"".join(delta(**field) for field in fields) + STOP + DONE
    return told(stream)[:-1]


def test_thinking_is_read_under_all_its_names() -> None:
    assert said_by(
        {"reasoning_content": "deepseek"},
        {"reasoning": "vllm", "reasoning_content": "vllm"},
        {
            "content": "",
            "reasoning": "openrouter",
            "reasoning_details": [{"type": "reasoning.text", "text": "x"}],
        },
        {"reasoning_details": [{"type": "reasoning.text", "text": "detailed"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "in short"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "AAAA"}]},
        {"content": None, "reasoning_content": None, "reasoning": ""},
    ) == [
        ("reasoning", "deepseek"),
        ("reasoning", "vllm"),
        ("reasoning", "openrouter"),
        ("reasoning", "detailed"),
        ("reasoning", "in short"),
    ]


def test_a_delta_may_think_and_speak_and_call() -> None:
    assert said_by(
        {
            "content": "said",
            "reasoning_content": "thought",
            "tool_calls": [{**CALL, "function": {"name": "look", "arguments": "{}"}}],
        }
    ) == [
        ("reasoning", "thought"),
        ("text", "said"),
        ("call", 0, "call_1", "look"),
        ("arguments", 0, "{}"),
    ]


def test_content_may_come_in_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}
    assert said_by(
        {"content": [thinking]},
        {"content": [{"type": "text", "text": "well"}, {"type": "image_url", "image_url": {}}]},
        {"content": [{"type": "thinking", "thinking": "flat"}]},
    ) == [("reasoning", "hm"), ("text", "well"), ("reasoning", "flat")]


def test_a_refusal_is_told_as_one() -> None:
    assert said_by({"refusal": "No"}, {"refusal": "."}) == [("refusal", "No"), ("refusal", ".")]


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),  # Gemini
        ("tool_calls", True, "tool_calls"),
        ("tool_calls", False, "stop"),
        ("function_call", True, "tool_calls"),
        ("length", True, "length"),
        ("model_length", False, "length"),
        ("content_filter", False, "content_filter"),
        ("SAFETY", False, "content_filter"),
        ("something_new", False, "stop"),
    ],
)
def test_the_reason_is_openais(reason: str, calls: bool, expected: str) -> None:
    asked = delta(tool_calls=[CALL]) + arguments("{}") if calls else text("hi")
    assert told(ROLE + asked + delta(finish=reason) + DONE)[-1] == ("finish", expected)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (STOP + USED + DONE, Usage(30, 20, 60, 10, 0, 5)),
        (
            chunk({"index": 0, "delta": {}, "finish_reason": "stop"}, usage={"prompt_tokens": 7}) + DONE,
            Usage(7),
        ),
        (
            chunk({"index": 0, "delta": {}, "finish_reason": "stop"}, x_groq={"usage": {"prompt_tokens": 7}})
            + DONE,
            Usage(7),
        ),
        (STOP + DONE, Usage()),
        (STOP, Usage()),
        (STOP + USED, Usage(30, 20, 60, 10, 0, 5)),
        (STOP + USED + b"data: [DONE]", Usage(30, 20, 60, 10, 0, 5)),
    ],
)
def test_the_usage_is_known_wherever_it_comes(behind: bytes, expected: Usage) -> None:
    _, translator = translated([ROLE + text("hi") + behind])
    assert translator.done
    assert translator.usage == expected


@pytest.mark.parametrize(
    ("answer_id", "shown"),
    [
        ("chatcmpl-abc", "abc"),
        ("gen-1.2/3", "gen-123"),
        ("", None),
        (None, None),
        ("é", None),
        ("x" * 99, "x" * 64),
    ],
)
def test_the_id_is_one_that_every_dialect_takes(answer_id: object, shown: str | None) -> None:
    first = event({"id": answer_id, "choices": [{"index": 0, "delta": {"content": "hi"}}]})
    writer, _ = translated([first + STOP + DONE])
    kind, found, model = writer.told[0]
    assert (kind, model) == ("start", "x:m")
    assert found == shown or (shown is None and len(found) == 32)


def test_a_time_that_is_none_is_now() -> None:
    begun: list[int] = []
    writer, _ = translated([])
    writer.start = lambda answer_id, created, model: begun.append(created)  # type: ignore[method-assign]
    for created in (0, None, "x", True, 17):
        translator = ChunkTranslator(model="m", shape=ReplyShape(), streaming=True, writer=lambda **_: writer)
        translator.feed(event({"created": created, "choices": []}))
    assert begun[-1] == 17
    assert all(abs(time.time() - seconds) < 60 for seconds in begun[:-1])


# -- what goes wrong -----------------------------------------------------------------------------------------


NAMELESS = {"index": 0, "id": "a", "function": {"arguments": "{}"}}


def error(**fields: Any) -> bytes:
    return event({"error": {"message": "no", **fields}})


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (error(type="server_error"), UpstreamFailed),
        (error(code=429), RateLimited),
        (error(code="overloaded_error"), Overloaded),
        (event({"error": "text"}), UpstreamFailed),
        (b'event: error\ndata: {"message": "no"}\n\n', UpstreamFailed),
        (b'error: {"message": "no", "code": 503}\n\n', Overloaded),
        (event([{"error": {"message": "no", "code": 503}}]), Overloaded),
        (chunk({"index": 0, "delta": {}, "error": {"message": "no", "code": 503}}), Overloaded),
        (chunk({"index": 0, "delta": {}, "finish_reason": "error"}), UpstreamFailed),
        (delta(finish="insufficient_system_resource"), Overloaded),
        (event({"x_groq": {"error": "over capacity"}}), UpstreamFailed),
        (b"data: {\n\n", ProtocolError),
        (b"data: 5\n\n", ProtocolError),
        (delta(content=5), ProtocolError),
        (text("x").replace(b'"x"', b'"\xff"'), ProtocolError),
        (delta(tool_calls=[5]), ProtocolError),
        (delta(tool_calls=[NAMELESS]) + STOP + DONE, ProtocolError),
        (delta(tool_calls=[{**CALL, "function": {"name": "look", "arguments": 5}}]), ProtocolError),
    ],
)
@pytest.mark.parametrize("lines", [b"\n", b"\r\n"])
def test_a_failure_in_mid_stream_stands_behind_what_came_before(
    broken: bytes, kind: type[ProviderError], lines: bytes
) -> None:
    stream = (ROLE + text("one", "two") + broken).replace(b"\n", lines)
    writer, translator = translated([stream, text("never")])
    assert type(translator.failure) is kind, translator.failure
    assert not translator.done
    assert [entry[1] for entry in writer.told if entry[0] == "text"] == ["one", "two"]
    assert ("finish", "stop") not in writer.told


@pytest.mark.parametrize(
    "name", ["truncated", "no_finish", "half_an_event", "half_of_done", "empty", "only_comments"]
)
def test_a_truncated_stream_is_never_success(name: str) -> None:
    writer, translator = translated([STREAMS[name]])
    assert isinstance(translator.failure, ProtocolError)
    assert translator.failure.code == "upstream_truncated"
    assert not translator.done
    assert translator.finish_reason is None
    assert all(entry[0] != "finish" for entry in writer.told)


def test_an_end_before_the_beginning_is_none() -> None:
    _, translator = translated([DONE])
    assert isinstance(translator.failure, ProtocolError)


def test_an_event_without_an_end_is_given_up() -> None:
    _, translator = translated([ROLE, b"data: {" + b" " * 9_000_000])
    assert translator.failure is not None
    assert translator.failure.code == "upstream_event_too_large"
    _, translator = translated([ROLE + text("x" * 9_000_000)])
    assert translator.failure is not None
    assert translator.failure.code == "upstream_event_too_large"


def test_a_refusal_of_the_request_is_one_before_the_first_word() -> None:
    _, translator = translated([error(code=400, type="invalid_request_error")])
    assert isinstance(translator.failure, BadRequest)
    assert translator.first_token_at is None
    assert not translator.started
