"""Answers in Anthropic's dialect: each of its rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from providers.translate.chunks import escaped
from providers.translate.message_writer import MessageWriter
from providers.translate.unsigned import UNSIGNED
from providers.types import Writer

from .message_answers import (
    USAGE,
    Sdk,
    Step,
    answered,
    arguments,
    call,
    check,
    close,
    parsed,
    shape,
    streamed,
    text,
    thought,
    whole,
)


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    client = Sdk()
    yield client
    client.close()


def test_the_events_come_in_the_order_of_anthropic() -> None:
    steps = [
        thought("Hm"),
        thought("."),
        text("I "),
        text("look."),
        call(0, "read"),
        arguments(0, '{"a":', "1}"),
    ]
    assert shape(streamed(*steps, reason="tool_calls")) == [
        "message_start",
        "content_block_start 0 thinking",
        "content_block_delta 0 thinking_delta",
        "content_block_delta 0 thinking_delta",
        "content_block_delta 0 signature_delta",
        "content_block_stop 0",
        "content_block_start 1 text",
        "content_block_delta 1 text_delta",
        "content_block_delta 1 text_delta",
        "content_block_stop 1",
        "content_block_start 2 tool_use",
        "content_block_delta 2 input_json_delta",
        "content_block_delta 2 input_json_delta",
        "content_block_delta 2 input_json_delta",
        "content_block_stop 2",
        "message_delta",
        "message_stop",
    ]


def test_the_first_and_the_last_events_say_what_anthropics_say() -> None:
    first, *_, before, last = parsed(streamed(text("hi")))
    nothing = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    none = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
    assert first["message"] == {
        "id": "msg_1a",
        "type": "message",
        "role": "assistant",
        "model": "local:m",
        "content": [],
        **nothing,
        "usage": none,
    }
    assert before == {
        "type": "message_delta",
        "delta": {**nothing, "stop_reason": "end_turn"},
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 3,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 1},
        },
    }
    assert last == {"type": "message_stop"}


def test_thinking_that_nobody_signed_is_recognised(sdk: Sdk) -> None:
    assert check(sdk, thought("Hm."), text("ok"))["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED},
        {"type": "text", "text": "ok"},
    ]


def test_thinking_that_was_signed_keeps_its_signature_also_when_it_is_not_shown(sdk: Sdk) -> None:
    def sign(writer: Writer) -> None:
        writer.signature(b"c2ln")

    def redact(writer: Writer) -> None:
        writer.redacted('x"yz')

    assert check(sdk, thought("Hm."), sign, close, redact, sign, close, text("ok"))["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": 'x"yz'},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "ok"},
    ]
    assert UNSIGNED.encode() not in streamed(thought("Hm."), sign, close)


@pytest.mark.parametrize(
    ("reason", "steps", "expected"),
    [
        ("stop", [text("a")], "end_turn"),
        ("length", [text("a")], "max_tokens"),
        ("length", [call(0, "f"), arguments(0, '{"a":')], "max_tokens"),
        ("tool_calls", [call(0, "f")], "tool_use"),
        ("function_call", [call(0, "f")], "tool_use"),
        # Clients run tools when they are told to, and not every server says what it means.
        ("stop", [call(0, "f")], "tool_use"),
        ("tool_calls", [text("a")], "end_turn"),
        ("content_filter", [], "refusal"),
        ("something_of_tomorrow", [text("a")], "end_turn"),
    ],
)
def test_why_an_answer_ends_is_said_as_anthropic_says_it(
    sdk: Sdk, reason: str, steps: list[Step], expected: str
) -> None:
    assert whole(*steps, reason=reason)["stop_reason"] == expected
    assert sdk.read(streamed(*steps, reason=reason)).stop_reason == expected


def test_a_refusal_says_why(sdk: Sdk) -> None:
    def refuse(writer: Writer) -> None:
        writer.refusal(b"I ")
        writer.refusal(b'can\\"t.')

    details = {"type": "refusal", "category": None, "explanation": 'I can"t.'}
    for reason in ("content_filter", "stop"):  # OpenAI's own refusals end with the latter
        answer = check(sdk, refuse, reason=reason)
        assert (answer["stop_reason"], answer["stop_details"], answer["content"]) == ("refusal", details, [])
    assert check(sdk, text("a"), reason="content_filter")["stop_details"]["explanation"] is None


def test_a_tool_without_arguments_is_given_an_empty_object(sdk: Sdk) -> None:
    assert check(sdk, call(0, "now"))["content"][0]["input"] == {}
    assert check(sdk, call(0, "now"), arguments(0, "{}"))["content"][0]["input"] == {}


def test_calls_one_after_the_other_are_not_held_back() -> None:
    writer = MessageWriter(streaming=True)
    writer.start("1a", 1, "m")
    for index in range(2):
        call(index, "f")(writer)
        writer.take()
        for piece in ('{"a":', '"b', 'c"}'):
            arguments(index, piece)(writer)
            assert escaped(piece) in writer.take()


def test_arguments_that_come_in_turns_are_sorted_out(sdk: Sdk) -> None:
    steps = [
        call(0, "a"),
        arguments(0, '{"x"'),
        call(1, "b"),
        arguments(1, '{"y":'),
        text("and "),
        arguments(0, ":1"),
        call(2, "c"),
        arguments(1, "2}"),
        text("so"),
        arguments(0, "}"),
        arguments(2, '{"z":3}'),
    ]
    assert [
        (block["type"], block.get("input") or block.get("text")) for block in check(sdk, *steps)["content"]
    ] == [
        ("tool_use", {"x": 1}),
        ("tool_use", {"y": 2}),
        ("text", "and "),
        ("tool_use", {"z": 3}),
        ("text", "so"),
    ]


def test_white_space_behind_a_call_that_was_closed_is_passed_over(sdk: Sdk) -> None:
    steps = [call(0, "a"), arguments(0, "{}\n"), call(1, "b"), arguments(0, " \n"), arguments(1, "{}")]
    assert [block["input"] for block in check(sdk, *steps)["content"]] == [{}, {}]


def test_arguments_that_are_no_object_are_kept_in_one() -> None:
    steps = [call(0, "a"), arguments(0, '{"x": tru')]
    assert whole(*steps, reason="length")["content"][0]["input"] == {"_raw": '{"x": tru'}


def test_a_tool_of_plain_text_is_given_its_text_in_an_object(sdk: Sdk) -> None:
    patch = '*** "a"\n\\ö'
    steps = [call(0, "patch", custom=True), arguments(0, patch[:5], patch[5:], custom=True), call(1, "f")]
    assert check(sdk, *steps)["content"][0]["input"] == {"input": patch}


def test_ids_of_calls_are_ones_that_anthropic_takes_back(sdk: Sdk) -> None:
    def named(index: int, call_id: str) -> Step:
        return lambda writer: writer.call(index, call_id, "f", custom=False)

    given = ["call_1", "functions.read:0", "", "", "call_1", "größe"]
    steps = [named(index, call_id) for index, call_id in enumerate(given)]
    ids = [block["id"] for block in check(sdk, *steps)["content"]]
    assert ids[0] == "call_1"
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", call_id) for call_id in ids)


def test_tokens_that_come_alone_are_written_like_those_in_a_row() -> None:
    writer = MessageWriter(streaming=True)
    writer.start("1a", 1, "m")
    written = writer.take()
    writer.expect(reasoning=True)
    written += writer.token(b"Hm") + writer.token(b".")
    writer.expect(reasoning=False)
    written += writer.token(b"o") + writer.token(b"k")
    writer.close()
    written += writer.take() + writer.token(b"!")
    writer.finish("stop", USAGE)
    written += writer.take()
    steps = [thought("Hm"), thought("."), text("o"), text("k"), close, text("!")]
    assert written.replace(b'"m"', b'"local:m"') == streamed(*steps)


def test_tokens_that_come_alone_are_part_of_the_whole() -> None:
    writer = MessageWriter(streaming=False)
    writer.start("1a", 1, "m")
    writer.expect(reasoning=True)
    assert writer.token(b"Hm") == writer.token(b".") == b""
    writer.expect(reasoning=False)
    assert writer.token(b"ok") == b""
    writer.finish("stop", USAGE)
    assert [block.get("thinking", block.get("text")) for block in writer.whole()["content"]] == ["Hm.", "ok"]


def test_a_text_that_is_not_unicode_is_an_error_of_the_whole() -> None:
    with pytest.raises(ValueError):
        whole(lambda writer: writer.text((b"\\ud800",)))


def test_a_stream_is_not_kept_and_needs_no_event_for_its_failure() -> None:
    writer, _ = answered(text("a"), streaming=True)
    assert writer.failed("upstream_reset", "It broke.") == b""
    with pytest.raises(RuntimeError):
        writer.whole()
