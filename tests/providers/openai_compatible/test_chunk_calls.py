"""Tool calls as servers send them in pieces: each is told once, with its id, its name and all of its
arguments."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.translate.chat_anthropic import ReplyShape
from tests.providers.openai_compatible.recorder import told
from tests.providers.openai_compatible.streams import DONE, ROLE, delta

Piece = dict[str, Any]


def piece(
    index: int | None = 0, call_id: str | None = None, name: str | None = None, given: Any = None
) -> Piece:
    """A piece of a call with nothing in it but what is said."""
    function = {key: value for key, value in (("name", name), ("arguments", given)) if value is not None}
    made = {"index": index, "id": call_id, "type": "function" if call_id else None, "function": function}
    return {key: value for key, value in made.items() if value is not None}


def calls(*deltas: list[Piece], shape: ReplyShape | None = None) -> list[tuple[str, str, str, str]]:
    """``(kind, id, name, arguments)`` of each call that is told, in order."""
    stream = (
        ROLE + b"".join(delta(tool_calls=pieces) for pieces in deltas) + delta(finish="tool_calls") + DONE
    )
    found: list[list[str]] = []
    for kind, *rest in told(stream, shape):
        if kind in ("call", "custom"):
            index, call_id, name = rest
            assert index == len(found)
            found.append([kind, call_id, name, ""])
        elif kind in ("arguments", "input"):
            assert (kind == "input") == (found[rest[0]][0] == "custom")
            found[rest[0]][3] += rest[1]
    return [(kind, call_id, name, given) for kind, call_id, name, given in found]


ONE = ("call", "a", "look", '{"x":1}')
TWO = ("call", "b", "read", "{}")
#: What different servers make of the calls ONE, or ONE and TWO.
SERVERS: dict[str, tuple[list[list[Piece]], list[tuple[str, ...]]]] = {
    "openai": (
        [
            [piece(0, "a", "look", "")],
            [piece(0, given='{"x"')],
            [piece(0, given=":1}")],
            [piece(1, "b", "read", "")],
            [piece(1, given="{}")],
        ],
        [ONE, TWO],
    ),
    "interleaved": (
        [
            [piece(0, "a", "look", ""), piece(1, "b", "read", "")],
            [piece(1, given="{"), piece(0, given='{"x"')],
            [piece(0, given=":1}"), piece(1, given="}")],
        ],
        [ONE, TWO],
    ),
    "the second index first": (
        [[piece(1, "b", "read", "{}")], [piece(0, "a", "look", '{"x":1}')]],
        [TWO, ONE],
    ),
    "whole": ([[piece(0, "a", "look", '{"x":1}'), piece(1, "b", "read", "{}")]], [ONE, TWO]),
    "no arguments": ([[piece(0, "a", "look", '{"x":1}')], [piece(1, "b", "read")]], [ONE, TWO]),
    "empty and null arguments": (
        [[piece(0, "b", "read", "")], [{"index": 0, "function": {"arguments": None, "name": None}}]],
        [TWO],
    ),
    "an object": ([[piece(0, "a", "look", {"x": 1})]], [ONE]),
    "no index": ([[piece(None, "a", "look", '{"x":1}')], [piece(None, "b", "read", "{}")]], [ONE, TWO]),
    "no index, in pieces": (
        [[piece(None, "a", "look", '{"x"')], [piece(None, given=":1}")], [piece(None, "b", "read", "{}")]],
        [ONE, TWO],
    ),
    "no index, id in each piece": (
        [
            [piece(None, "a", "look", '{"x"')],
            [piece(None, "b", "read", "{")],
            [piece(None, "a", None, ":1}")],
            [piece(None, "b", None, "}")],
        ],
        [ONE, TWO],
    ),
    "one index for all": ([[piece(0, "a", "look", '{"x":1}')], [piece(0, "b", "read", "{}")]], [ONE, TWO]),
    "one index for all at once": (
        [[piece(0, "a", "look", '{"x":1}'), piece(0, "b", "read", "{}")]],
        [ONE, TWO],
    ),
    "id and name in each piece": (
        [[piece(0, "a", "look", '{"x"')], [piece(0, "a", "look", ":1}")]],
        [ONE],
    ),
    "another id in each piece": (
        [[piece(0, "a", "look", "")], [piece(0, "z1", None, '{"x"')], [piece(0, "z2", None, ":1}")]],
        [ONE],
    ),
    "a name in pieces": (
        [[piece(0, "a", "lo", "")], [piece(0, "a", "ok")], [piece(0, given='{"x":1}')]],
        [ONE],
    ),
    "a late id": ([[piece(0, None, "look", '{"x"')], [piece(0, "a", None, ":1}")]], [ONE]),
    "a late name": ([[piece(0, "a", None, '{"x"')], [piece(0, None, "look", ":1}")]], [ONE]),
    "an empty id behind it": (
        [[piece(0, "a", "look", "")], [{"index": 0, "id": "", "function": {"arguments": '{"x":1}'}}]],
        [ONE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_the_pieces_of_every_server_make_the_same_calls(server: str) -> None:
    deltas, expected = SERVERS[server]
    assert calls(*deltas) == expected


@pytest.mark.parametrize(
    "deltas",
    [
        [[piece(0, None, "look", '{"x":1}')], [piece(1, None, "read", "{}")]],
        [[piece(None, None, "look", '{"x":1}')], [piece(None, None, "read", "{}")]],
        [[piece(0, None, "look", '{"x":1}'), piece(0, None, "read", "{}")]],
        [[piece(0, "", "look", '{"x":1}')], [piece(1, "", "read", "{}")]],
    ],
)
def test_calls_without_ids_get_some(deltas: list[list[Piece]]) -> None:
    (_, one, *first), (_, two, *second) = calls(*deltas)
    assert (first, second) == (["look", '{"x":1}'], ["read", "{}"])
    assert one != two
    assert one.startswith("call_")


def test_two_calls_never_share_an_id() -> None:
    (_, one, *_), (_, two, *_) = calls([piece(0, "a", "look", "{}")], [piece(1, "a", "read", "{}")])
    assert one == "a"
    assert two not in ("", "a")


def test_a_function_call_from_before_tools_is_one_too() -> None:
    stream = (
        ROLE
        + delta(function_call={"name": "look", "arguments": ""})
        + delta(function_call={"arguments": '{"x"'})
        + delta(function_call={"arguments": ":1}"})
        + delta(finish="function_call")
        + DONE
    )
    (kind, index, call_id, name), *given, last = told(stream)
    assert (kind, index, name) == ("call", 0, "look")
    assert call_id.startswith("call_")
    assert given == [("arguments", 0, '{"x"'), ("arguments", 0, ":1}")]
    assert last == ("finish", "tool_calls")


def test_a_custom_tool_of_openais_is_free_text() -> None:
    opening = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}
    more = [{"index": 0, "custom": {"input": part}} for part in ("*** ", 'Be"gin\n', "é")]
    assert calls([opening], *([part] for part in more)) == [("custom", "a", "patch", '*** Be"gin\né')]
    assert calls([opening]) == [("custom", "a", "patch", "")]


CARRIED = ReplyShape(custom_tools=frozenset({"patch"}), tool_names={"lk": "look"})


@given(text=st.text(st.characters(codec="utf-8")), every=st.integers(1, 9), python=st.booleans())
def test_a_custom_tool_that_was_carried_as_a_function_is_free_text_again(
    text: str, every: int, python: bool
) -> None:
    given_json = orjson.dumps({"input": text}).decode()
    if python:
        given_json = given_json.replace('{"input":', '{ "input" : ')
    parts = [given_json[at : at + every] for at in range(0, len(given_json), every)]
    found = calls([piece(0, "a", "patch", "")], *([piece(0, given=part)] for part in parts), shape=CARRIED)
    assert found == [("custom", "a", "patch", text)]


def test_other_shapes_of_a_carried_input_are_not_lost() -> None:
    for given_json, expected in (
        ({"input": "x"}, "x"),
        ("{}", ""),
        ("", ""),
        ("just text", "just text"),
        ('{"patch":"x"}', '{"patch":"x"}'),
    ):
        assert calls([piece(0, "a", "patch", given_json)], shape=CARRIED) == [
            ("custom", "a", "patch", expected)
        ]


def test_names_are_the_callers() -> None:
    assert calls([piece(0, "a", "lk", "{}")], shape=CARRIED) == [("call", "a", "look", "{}")]


IDS = st.lists(st.text("ab1_-", min_size=1, max_size=4), unique=True, min_size=1, max_size=4)


@given(ids=IDS, order=st.lists(st.integers(0, 3), max_size=30))
def test_arguments_of_calls_in_any_turns_come_together(ids: list[str], order: list[int]) -> None:
    turns = [which % len(ids) for which in order]
    opening = [[piece(index, call_id, f"tool_{index}", "")] for index, call_id in enumerate(ids)]
    rest = [[piece(which, given=f"<{number}>")] for number, which in enumerate(turns)]
    expected = {
        call_id: "".join(f"<{number}>" for number, which in enumerate(turns) if which == index) or "{}"
        for index, call_id in enumerate(ids)
    }
    assert {call_id: given for _, call_id, _, given in calls(*opening, *rest)} == expected
