"""Whatever an upstream writes, Anthropic's own SDK reads it as it was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.message_writer import MessageWriter
from providers.translate.ollama_chat import OllamaTranslator

from . import events
from .message_answers import Sdk, Step, arguments, call, check, parsed, sequential, text, thought
from .ollama_answers import GOLDEN


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    client = Sdk()
    yield client
    client.close()


SAID = st.one_of(
    st.sampled_from([" word", '"}}\n\n', "\\", "{", "\u2028", "👋"]), st.text(min_size=1, max_size=6)
)
OBJECTS = st.dictionaries(
    st.text(max_size=4), st.one_of(st.integers(-99, 99), st.booleans(), st.none(), SAID), max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> list[Step]:
    """Texts, thoughts and calls whose arguments come in pieces, in turns."""
    queues: list[list[Step]] = []
    for index in range(draw(st.integers(0, 3))):
        given = orjson.dumps(draw(OBJECTS)).decode()
        if given == "{}" and draw(st.booleans()):
            given = ""
        cuts = sorted(draw(st.sets(st.integers(1, max(len(given) - 1, 1)), max_size=3)))
        pieces = [given[a:b] for a, b in zip([0, *cuts], [*cuts, len(given)], strict=True) if given[a:b]]
        queues.append([call(index, "f"), *(arguments(index, piece) for piece in pieces)])
    queues += ([make(said) for said in draw(st.lists(SAID, max_size=4))] for make in (text, thought))
    steps: list[Step] = []
    while queues := [queue for queue in queues if queue]:
        queue = draw(st.sampled_from(queues))
        count = draw(st.integers(1, len(queue)))
        steps += queue[:count]
        del queue[:count]
    return steps


@given(steps=answers(), reason=st.sampled_from(["stop", "tool_calls", "length", "content_filter"]))
def test_the_sdk_makes_of_the_stream_what_is_said_whole(sdk: Sdk, steps: list[Step], reason: str) -> None:
    check(sdk, *steps, reason=reason)


@given(data=st.data(), name=st.sampled_from(sorted(GOLDEN)))
def test_an_answer_of_ollama_does_not_depend_on_how_the_bytes_are_cut(data: st.DataObject, name: str) -> None:
    source = GOLDEN[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(source)), max_size=12)))
    pieces = [source[a:b] for a, b in zip([0, *cuts], [*cuts, len(source)], strict=True)]
    for streaming in (True, False):
        read = parsed if streaming else orjson.loads  # a "<" may be written in two ways
        expected = read(of_ollama([source], streaming=streaming))
        assert read(of_ollama(pieces, streaming=streaming)) == expected


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_an_answer_of_ollama_is_the_same_streamed_and_whole(sdk: Sdk, name: str) -> None:
    body = of_ollama([GOLDEN[name]], streaming=True)
    sequential(body)
    expected = Message.model_validate(orjson.loads(of_ollama([GOLDEN[name]], streaming=False)))
    assert sdk.read(body).to_dict(exclude_none=True) == expected.to_dict(exclude_none=True)


def of_ollama(pieces: list[bytes], *, streaming: bool) -> bytes:
    made = OllamaTranslator(model="m", shape=ReplyShape(), streaming=streaming, writer=MessageWriter)
    out = b"".join(map(made.feed, pieces))
    assert made.failure is None
    assert made.done
    if not streaming:
        assert out == b""
        out = orjson.dumps(made.completion())
    return out.replace(made._id.encode(), b"id")


def test_claudes_own_events_come_out_as_they_went_in() -> None:
    body = events.stream(
        events.start(),
        *events.thinking(0, "Hm", "."),
        *events.text(1, "I ", "look."),
        *events.text(2, "Really."),
        *events.tool(3, "toolu_1", "read", '{"a":', "1}"),
        *events.tool(4, "toolu_2", "now"),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    )
    made = ChatTranslator(model="m", shape=ReplyShape(), streaming=True, writer=MessageWriter)
    found = parsed(made.feed(body))
    assert made.failure is None

    def blocks(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            event for event in told if "index" in event and event.get("delta", {}).get("partial_json") != ""
        ]

    given = blocks(parsed(body))
    # A chat client wants JSON to parse for a tool without arguments, and gets it from the translator.
    given.insert(-1, events.delta(4, "input_json_delta", partial_json="{}"))
    assert blocks(found) == given
