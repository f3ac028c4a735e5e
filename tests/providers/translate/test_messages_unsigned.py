"""Thinking that is not Claude's never reaches Claude, and nothing else of a request is touched."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadRequest
from providers.translate.unsigned import UNSIGNED, without_unsigned

from .strategies import JSON

OURS = {"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED}
CLAUDES = {"type": "thinking", "thinking": "So.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}
TEXT = {"type": "text", "text": "ok"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {"n": 1.0}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
HI = {"role": "user", "content": "hi"}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def spared(*messages: dict[str, Any], **more: Any) -> dict[str, Any] | None:
    body = {"model": "claude", "messages": list(messages), **more}
    encoded = orjson.dumps(body)
    found = without_unsigned(encoded, body)
    assert orjson.dumps(body) == encoded
    return None if found is None else orjson.loads(found)


def test_the_mark_is_no_signature_of_claude() -> None:
    """Those are base64; and every encoder of JSON writes the mark as it is."""
    assert not set(UNSIGNED) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_")
    assert orjson.dumps(UNSIGNED) == f'"{UNSIGNED}"'.encode()
    assert not set(UNSIGNED) & set("/<>&'\\\"")


def test_a_request_without_such_thinking_is_not_even_read() -> None:
    assert without_unsigned(b'{"messages":[', {}) is None
    assert spared(HI, assistant(CLAUDES, TEXT), HI) is None


def test_only_thinking_with_the_mark_is_left_out() -> None:
    body = {"model": "claude", "max_tokens": 9, "system": "Be.", "messages": [], "tools": [{"n": 1.0}]}
    talk = [
        HI,
        assistant(OURS, TEXT, USE),
        {"role": "user", "content": [RESULT]},
        assistant(CLAUDES, OURS, TEXT),
    ]
    value = {**body, "messages": talk}
    expected = {**body, "messages": [HI, assistant(TEXT, USE), talk[2], assistant(CLAUDES, TEXT)]}
    assert without_unsigned(orjson.dumps(value), value) == orjson.dumps(expected)


def test_the_mark_elsewhere_is_only_a_word() -> None:
    said = {"type": "text", "text": f"signature: {UNSIGNED}"}
    assert spared(HI, assistant(said), {"role": "user", "content": UNSIGNED}) is None


def test_a_turn_of_nothing_else_is_left_out() -> None:
    found = spared(HI, assistant(OURS), HI)
    assert found is not None
    assert found["messages"] == [HI, HI]


def test_a_turn_that_a_system_turn_needs_behind_it_says_that_there_was_nothing() -> None:
    system = {"role": "system", "content": "Be quick."}
    found = spared(HI, system, assistant(OURS), HI)
    assert found is not None
    assert [turn["role"] for turn in found["messages"]] == ["user", "system", "assistant", "user"]
    assert found["messages"][2]["content"][0]["text"]
    found = spared(HI, system, assistant(OURS))
    assert found is not None
    assert found["messages"] == [HI, system]


@pytest.mark.parametrize(
    ("thinking", "turn", "kept"),
    [
        ({"type": "enabled", "budget_tokens": 2048}, assistant(OURS, USE), False),
        ({"type": "enabled", "budget_tokens": 2048}, assistant(CLAUDES, OURS, USE), True),
        ({"type": "enabled", "budget_tokens": 2048}, assistant(REDACTED, OURS, USE), True),
        ({"type": "adaptive"}, assistant(OURS, USE), True),
    ],
)
def test_a_budget_is_not_asked_for_where_the_last_turn_has_lost_its_thinking(
    thinking: dict[str, Any], turn: dict[str, Any], kept: bool
) -> None:
    found = spared(HI, turn, {"role": "user", "content": [RESULT]}, thinking=thinking)
    assert found is not None
    assert ("thinking" in found) is kept


def test_an_earlier_turn_that_has_lost_its_thinking_costs_no_budget() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    found = spared(HI, assistant(OURS, TEXT), HI, assistant(CLAUDES, USE), thinking=thinking)
    assert found is not None
    assert found["thinking"] == thinking


def test_what_json_cannot_carry_is_a_400() -> None:
    value = {"messages": [HI, assistant(OURS, {"type": "text", "text": "\ud800"})]}
    with pytest.raises(BadRequest):
        without_unsigned(UNSIGNED.encode(), value)


@given(
    messages=st.one_of(
        JSON, st.lists(st.one_of(JSON, st.fixed_dictionaries({"role": JSON, "content": JSON})))
    )
)
def test_whatever_a_request_holds_nothing_breaks(messages: Any) -> None:
    assert without_unsigned(UNSIGNED.encode(), {"messages": messages}) is None
