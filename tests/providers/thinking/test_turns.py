"""When two prompts are one, and when two turns are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadRequest
from providers.thinking.turns import MAX_KEY, PromptDigest, calls_digest, kept_turn, turn_key

Json = dict[str, Any]
TOOLS: list[Json] = [{"name": "a", "input_schema": {}}]
SYSTEM: list[Json] = [{"type": "text", "text": "s"}]
MESSAGES: list[Json] = [
    {"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "3"}]},
    {"role": "user", "content": [{"type": "text", "text": "4"}]},
]


def digest(tools: list[Json] = TOOLS, system: list[Json] = SYSTEM, messages: list[Json] = MESSAGES) -> bytes:
    return PromptDigest(tools, system, messages).whole()


def test_a_prefix_has_the_digest_that_it_had_as_a_whole() -> None:
    for count in range(len(MESSAGES) + 1):
        assert PromptDigest(TOOLS, SYSTEM, MESSAGES).before(count) == digest(messages=MESSAGES[:count])
    step_by_step = PromptDigest(TOOLS, SYSTEM, MESSAGES)
    assert [step_by_step.before(count) for count in (0, 1, 3)] == [
        digest(messages=MESSAGES[:count]) for count in (0, 1, 3)
    ]


def test_markers_of_the_cache_are_not_part_of_it() -> None:
    tools, system, messages = (copy.deepcopy(part) for part in (TOOLS, SYSTEM, MESSAGES))
    for block in (tools[0], system[0], messages[0]["content"][1]):
        block["cache_control"] = {"type": "ephemeral"}
    assert digest(tools, system, messages) == digest()
    assert "cache_control" in tools[0]


def test_everything_else_is() -> None:
    others = [
        digest(tools=[]),
        digest(system=[]),
        digest(system=[{"type": "text", "text": "s "}]),
        digest(messages=MESSAGES[:2]),
        digest(messages=[{**MESSAGES[0], "role": "assistant"}, *MESSAGES[1:]]),
        digest(messages=[{**MESSAGES[0], "content": MESSAGES[0]["content"][::-1]}, *MESSAGES[1:]]),
        digest(tools=[*TOOLS, *TOOLS]),
    ]
    assert len({digest(), *others}) == len(others) + 1


def test_what_json_cannot_carry_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        digest(messages=[{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}])


def use(given: Any) -> list[Json]:
    return [{"type": "tool_use", "id": "t", "name": "n", "input": given}]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1.0}, {"a": 1}, True),  # JavaScript has only one kind of number
        ({"a": [{"b": 3.0}]}, {"a": [{"b": 3}]}, True),
        ({"a": 1.5}, {"a": 1}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({}, {"a": None}, False),
    ],
)
def test_arguments_that_were_written_anew_are_the_same(one: Json, other: Json, same: bool) -> None:
    assert (calls_digest(use(one)) == calls_digest(use(other))) is same


def test_arguments_of_any_depth_are_looked_at() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert calls_digest(use(deep)) == b""
    assert calls_digest(use({"a": 2**70})) == b""


TEXT = st.text(alphabet="ab \n", max_size=8)


@given(texts=st.lists(TEXT.filter(str.strip), max_size=3), edit=TEXT)
def test_a_turn_is_recognised_by_its_words(texts: list[str], edit: str) -> None:
    turn = kept_turn("m", b"", [*({"type": "text", "text": text} for text in texts), *use({})])
    joined = "".join(texts)
    for replayed in (joined, joined.strip(), " ".join(texts), f"<think>\nab</think>\n{joined}", ""):
        assert turn.is_said_in([{"type": "text", "text": replayed}, *use({})])
    words = "".join(edit.split())
    same = words in ("", "".join(joined.split()))
    assert turn.is_said_in([{"type": "text", "text": edit}, *use({})]) is same
    assert not turn.is_said_in([{"type": "text", "text": joined}])
    assert not turn.is_said_in([{"type": "text", "text": joined}, *use({"x": 1})])


def test_a_turn_is_kept_under_its_first_call() -> None:
    signed = {"type": "thinking", "thinking": "a", "signature": "s"}
    assert turn_key([signed, *use({}), {"type": "tool_use", "id": "u"}]) == "t"
    assert turn_key([signed]).startswith("thinking:")
    assert turn_key([signed]) != turn_key([{"type": "redacted_thinking", "data": "d"}])
    assert turn_key([{"type": "text", "text": "a"}]) == ""


@pytest.mark.parametrize(
    "content",
    [
        [1, None, "x"],
        [{}],
        [{"type": "tool_use"}],
        [{"type": "tool_use", "id": 5}],
        [{"type": ["tool_use"]}],
        [{"type": "tool_use", "id": "x" * (MAX_KEY + 1)}],
        [{"type": "thinking", "signature": 1}],
    ],
)
def test_content_without_sense_has_no_key(content: list[Any]) -> None:
    assert turn_key(content) == ""
