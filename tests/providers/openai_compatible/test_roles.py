"""Messages as templates take them: nothing is lost, nothing moves to the front, and prefixes stay."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.openai_compatible.manner import Manner
from providers.openai_compatible.roles import HEARD, arranged

PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two", "cache_control": {}}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c", "type": "function", "function": {}}],
}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "r"}
REMINDER = "<system-reminder>\ns\n</system-reminder>"


@pytest.mark.parametrize(
    ("manner", "messages", "expected"),
    [
        (Manner(strings=True), [said("user", PARTS)], [said("user", "one\ntwo")]),
        (Manner(strings=True), [said("user", [*PARTS, IMAGE])], [said("user", [*PARTS, IMAGE])]),
        (Manner(strings=True), [said("assistant", None)], [said("assistant", None)]),
        (Manner(developer=False), [said("developer", "d")], [said("system", "d")]),
        (
            Manner(late_system=False),
            [said("system", "a"), said("developer", "b"), said("user", "u"), said("system", "s")],
            [said("system", "a\n\nb"), said("user", "u"), said("user", REMINDER)],
        ),
        (
            Manner(late_system=False),
            [said("user", "u"), said("system", "s")],
            [said("user", "u"), said("user", REMINDER)],
        ),
        (Manner(system=False), [said("system", "s"), said("user", "u")], [said("user", "s\n\nu")]),
        (
            Manner(system=False),
            [said("system", "s"), said("user", PARTS)],
            [said("user", [{"type": "text", "text": "s"}, *PARTS])],
        ),
        (Manner(system=False), [said("system", "s")], [said("user", "s")]),
        (Manner(any_order=False), [said("user", "a"), said("user", "b")], [said("user", "a\n\nb")]),
        (
            Manner(any_order=False),
            [said("user", "a"), said("assistant", "t"), CALLING, RESULT, said("user", "b")],
            [
                said("user", "a"),
                {**CALLING, "content": "t"},
                RESULT,
                said("assistant", HEARD),
                said("user", "b"),
            ],
        ),
        (
            Manner(any_order=False),
            [said("user", "u"), said("system", "s"), said("assistant", "a")],
            [said("user", f"u\n\n{REMINDER}"), said("assistant", "a")],
        ),
    ],
)
def test_messages_are_arranged(manner: Manner, messages: list[Any], expected: list[Any]) -> None:
    before = orjson.dumps(messages)
    assert arranged(messages, manner) == expected
    assert orjson.dumps(messages) == before
    assert arranged(messages, Manner()) is messages


@pytest.mark.parametrize("messages", [None, "hello", [5], [{}], [{"role": 5, "content": 5}]])
def test_what_are_no_messages_is_the_upstreams_to_refuse(messages: Any) -> None:
    strictest = Manner(strings=True, developer=False, system=False, late_system=False, any_order=False)
    arranged(messages, strictest)


TURNS = st.lists(
    st.tuples(
        st.sampled_from(["system", "developer", "user", "assistant"]), st.sampled_from("abc"), st.booleans()
    ),
    max_size=9,
)
FLAGS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("strings", "developer", "system", "late_system", "any_order")}
)


@given(turns=TURNS, flags=FLAGS)
def test_no_word_is_lost_or_moved_and_twice_is_once(turns: Any, flags: dict[str, bool]) -> None:
    messages = [
        said(role, [{"type": "text", "text": f"{word}{index}"}] if parts else f"{word}{index}")
        for index, (role, word, parts) in enumerate(turns)
    ]
    changes: dict[str, Any] = flags
    manner = replace(Manner(), **changes)
    told: Any = arranged(messages, manner)
    text = orjson.dumps(told).decode()
    places = [text.index(f"{word}{index}") for index, (_, word, _) in enumerate(turns)]
    assert places == sorted(places)
    assert arranged(told, manner) == told
    roles = [message["role"] for message in told]
    if not manner.any_order:
        assert all(one != other for one, other in pairwise(roles))
    if not (manner.late_system and manner.any_order and manner.system):
        assert not {"system", "developer"} & set(roles[1:])
    if not manner.system:
        assert not {"system", "developer"} & set(roles)
    if manner.strings:
        assert all(isinstance(message["content"], str) for message in told)
