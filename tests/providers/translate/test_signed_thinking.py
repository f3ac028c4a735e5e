"""Signed thinking that a caller replays: back in its place, byte for byte, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from providers.anthropic.models import ModelTable
from providers.translate.chat_anthropic import to_anthropic
from providers.translate.unsigned import UNSIGNED

Json = dict[str, Any]
GO: Json = {"role": "user", "content": "go"}
A: Json = {"type": "thinking", "thinking": "a\n", "signature": "c2ln"}
B: Json = {"type": "thinking", "thinking": "", "signature": "Yg=="}
HIDDEN: Json = {"type": "redacted_thinking", "data": "xyz"}
TEXT: Json = {"type": "text", "text": "Looking."}
USE: Json = {"type": "tool_use", "id": "t1", "name": "run", "input": {"a": 1}}
RESULT: Json = {"role": "tool", "tool_call_id": "t1", "content": "ok"}


def sent(*messages: Json, model: str = "claude-opus-5-5", **more: Any) -> list[Json]:
    body = {"messages": [GO, *messages], **more}
    request = to_anthropic(body, model=model, info=ModelTable().get(model))
    found: list[Json] = request.body["messages"]
    return found


def said(*parts: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": list(parts), **more}


def test_thinking_stays_in_order_with_texts_and_calls() -> None:
    turn = [A, HIDDEN, TEXT, B, USE]
    assert sent(said(*turn), RESULT)[1] == {"role": "assistant", "content": turn}


def test_only_what_the_api_knows_of_a_block_is_sent() -> None:
    marked = {**A, "cache_control": {"type": "ephemeral"}, "index": 0}
    assert sent(said(marked, {**HIDDEN, "id": 1}, USE), RESULT)[1]["content"] == [A, HIDDEN, USE]


def test_calls_beside_the_content_follow_it() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "run", "arguments": '{"a":1}'}}
    assert sent(said(A, TEXT, tool_calls=[call]), RESULT)[1]["content"] == [A, TEXT, USE]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": "x"},
        {"type": "thinking", "thinking": "x", "signature": ""},
        {"type": "thinking", "thinking": "x", "signature": UNSIGNED},
        {"type": "thinking", "thinking": None, "signature": "c2ln"},
        {"type": "thinking", "thinking": "x", "signature": {}},
        {"type": "redacted_thinking"},
        {"type": "redacted_thinking", "data": ""},
        {"type": "reasoning", "text": "x"},
    ],
)
def test_thinking_that_claude_has_not_signed_is_left_out(part: Json) -> None:
    assert sent(said(part, TEXT))[1]["content"] == [TEXT]
    beside = {"role": "assistant", "content": "Looking.", "thinking_blocks": [part, "x"]}
    assert sent(beside)[1]["content"] == [TEXT]


def test_thinking_beside_the_content_comes_first_unless_it_is_in_the_content_too() -> None:
    beside = {"role": "assistant", "content": "Looking.", "thinking_blocks": [A, HIDDEN]}
    assert sent(beside)[1]["content"] == [A, HIDDEN, TEXT]
    assert sent(said(A, TEXT, thinking_blocks=[A]))[1]["content"] == [A, TEXT]
    assert sent({**beside, "thinking_blocks": "no list"})[1]["content"] == [TEXT]


def test_thinking_in_a_message_of_its_own_belongs_to_the_turn_that_follows() -> None:
    """As items of the Responses API come, one by one."""
    assert sent(said(A), said(HIDDEN), said(TEXT), said(USE), RESULT)[1]["content"] == [A, HIDDEN, TEXT, USE]


def test_thinking_that_leads_to_nothing_is_left_out() -> None:
    assert sent(said(TEXT, A), {"role": "user", "content": "on"})[1]["content"] == [TEXT]
    assert sent(said(A), {"role": "user", "content": "on"}) == [
        {"role": "user", "content": [{"type": "text", "text": "go"}, {"type": "text", "text": "on"}]}
    ]
    later = sent(said(A), {"role": "user", "content": [TEXT]}, said(TEXT))
    assert [turn["content"] for turn in later[1:2]] == [[TEXT]]
    assert sent(said(TEXT, A))[1]["content"] == [TEXT]


def test_a_marker_of_the_message_never_stands_on_thinking() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    assert sent(said(A, TEXT, B, **mark))[1]["content"] == [A, {**TEXT, **mark}]
    assert sent(said(A, **mark), said(TEXT))[1]["content"] == [A, TEXT]


@pytest.mark.parametrize(
    ("begin", "thinks"), [([A], True), ([HIDDEN], True), ([TEXT, A], False), ([], False)]
)
def test_a_budget_needs_a_loop_that_begins_with_thinking(begin: list[Json], thinks: bool) -> None:
    model = "claude-haiku-4-5"
    second = {**USE, "id": "t2"}
    # The second answer of the loop goes on without thinking, as these models do.
    loop = [GO, said(*begin, USE), RESULT, said(second), {**RESULT, "tool_call_id": "t2"}]
    body = {"messages": loop, "reasoning_effort": "high", "max_tokens": 32_000}
    request = to_anthropic(body, model=model, info=ModelTable().get(model))
    assert (request.body.get("thinking", {}).get("type") == "enabled") is thinks
    assert ("reasoning_effort" in request.dropped) is not thinks
    # What was thought in an earlier loop does not help this one.
    later = [said(TEXT), GO, said(USE | {"id": "t3"}), {**RESULT, "tool_call_id": "t3"}]
    request = to_anthropic({**body, "messages": [*loop, *later]}, model=model, info=ModelTable().get(model))
    assert "thinking" not in request.body
