"""What key policies are made of: patterns, repeated keys, the names of tools, bounds and prefixes."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.policy.json_keys import repeated_key
from middleware.policy.patterns import matcher
from middleware.policy.rewrites import WrongType, bounded, prefixed
from middleware.policy.tools import Tool, WrongShape, refusing, tools_of

# ---- patterns


@pytest.mark.parametrize(
    ("patterns", "name", "matches"),
    [
        (["sonnet"], "sonnet", True),
        (["sonnet"], "sonnets", False),
        (["claude-haiku-*"], "claude-haiku-5-5", True),
        (["claude-haiku-*"], "claude-haiku", False),
        (["claude-haiku-*"], "xclaude-haiku-5", False),
        (["*"], "anything:at/all", True),
        (["local:*", "groq:*70b"], "groq:llama-70b", True),
        (["a?c"], "abc", False),
        (["a?*"], "a?c", True),
        (["a[b]*"], "abc", False),
        (["a[b]*"], "a[b]c", True),
        (["a*"], "a\nb", True),
        (["A*"], "ab", False),
        ([], "a", False),
        ([], "", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_is_special(
    patterns: list[str], name: str, matches: bool
) -> None:
    assert matcher(patterns)(name) is matches


@given(st.lists(st.text(alphabet="ab*[?", max_size=5), max_size=3), st.text(alphabet="ab[?", max_size=6))
def test_patterns_mean_what_they_say(patterns: list[str], name: str) -> None:
    def means(pattern: str, rest: str) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "*":
            return any(means(pattern[1:], rest[at:]) for at in range(len(rest) + 1))
        return rest[:1] == pattern[0] and means(pattern[1:], rest[1:])

    assert matcher(patterns)(name) == any(means(pattern, name) for pattern in patterns)


def test_no_pattern_takes_forever() -> None:
    began = time.process_time()
    assert not matcher(["a*" * 40 + "b"])("a" * 256)
    assert time.process_time() - began < 5  # exponential would be the age of the universe


# ---- repeated keys


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{ "model" : "a" , "x" : { "model" : 1 } }', None),
        (b'{ "x" : { "model" : 1 }, "model":2, "y":[{"model":3}] }', None),
        (b'{"mod\\u0065l":"a","model":"b"}', "model"),
        (b'{"model":"a","\\u006d\\u006f\\u0064\\u0065\\u006c":"b"}', "model"),
        (b'{"a":"\\"model\\":{}[],","model":"}"}', None),
        (b'\n{\t"a":1.50,"b":[],"c":{},"a":null}\r\n', "a"),
        (b'{"a":true,"b":' + b"7" * 300 + b',"a":1}', "a"),
        (b'{"\xc3\xa9":1,"\\u00e9":2}', "\u00e9"),
        (b"{}", None),
        (b" { } ", None),
    ],
)
def test_a_key_that_stands_twice_is_found_however_it_is_written(raw: bytes, key: str | None) -> None:
    assert repeated_key(raw, orjson.loads(raw)) == key


_keys = st.text(alphabet='ab"\\{}\u00e9 ', max_size=3)
_values = st.recursive(
    st.none() | st.integers(-9, 9) | st.floats(-9, 9) | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@given(pairs=st.lists(st.tuples(_keys, _values), max_size=5), ascii_only=st.booleans(), spaces=st.booleans())
def test_any_object_has_a_repeated_key_or_has_not(
    pairs: list[tuple[str, Any]], ascii_only: bool, spaces: bool
) -> None:
    between, colon = (" ,\n ", " : ") if spaces else (",", ":")
    parts = (
        json.dumps(k, ensure_ascii=ascii_only) + colon + json.dumps(v, ensure_ascii=True) for k, v in pairs
    )
    raw = ("{" + between.join(parts) + "}").encode()
    found = repeated_key(raw, orjson.loads(raw))
    names = [key for key, _ in pairs]
    assert (found is None) == (len(set(names)) == len(names))
    assert found is None or names.count(found) > 1


# ---- tools


def names(body: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tool.names for tool in tools_of(body)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [{"type": "function", "function": {"name": "read"}}]}, [("read",)]),
        ({"tools": [{"type": "function", "name": "read"}]}, [("read",)]),
        ({"tools": [{"type": "custom", "custom": {"name": "patch"}}]}, [("patch",)]),
        ({"tools": [{"name": "Bash", "input_schema": {}}]}, [("Bash",)]),
        ({"tools": [{"type": None, "name": "Bash"}]}, [("Bash",)]),
        ({"functions": [{"name": "old"}]}, [("old",)]),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            [("web_search_20250305", "web_search")],
        ),
        ({"tools": [{"type": "file_search"}]}, [("file_search", "file_search")]),
        ({"web_search_options": {}}, [("web_search", "web_search")]),
        ({"plugins": [{"id": "web"}]}, [("web", "web")]),
        (
            {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://m/"}]},
            [("mcp", "mcp:https://m/")],
        ),
        (
            {"mcp_servers": [{"name": "x", "url": "https://m/"}], "tools": [{"type": "mcp_toolset"}]},
            [("mcp", "mcp:https://m/")],
        ),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]},
            [("f",)],
        ),
        (
            {"input": [{"type": "additional_tools", "tools": [{"type": "function", "name": "late"}]}]},
            [("late",)],
        ),
        ({"tools": None, "functions": None}, []),
        ({"tools": []}, []),
    ],
)
def test_tools_are_known_in_every_dialect(body: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    assert names(body) == expected


def test_a_tool_with_several_names_has_to_be_allowed_under_each() -> None:
    tool = {"type": "custom", "name": "a", "function": {"name": "b"}, "custom": {"name": "c"}}
    assert names({"tools": [tool]}) == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    "body",
    [
        {"tools": "all"},
        {"tools": {"name": "x"}},
        {"tools": ["x"]},
        {"tools": [{"type": 5}]},
        {"functions": [None]},
        {"tools": [{"type": "namespace", "tools": 1}]},
    ],
)
def test_what_cannot_be_read_as_tools_cannot_be_allowed(body: dict[str, Any]) -> None:
    with pytest.raises(WrongShape):
        list(tools_of(body))


def test_a_provider_ran_tool_is_not_allowed_by_the_name_that_the_caller_gave_it() -> None:
    refuses = refusing(["read"], [])
    assert refuses is not None
    (spoofed,) = tools_of({"tools": [{"type": "web_search_20250305", "name": "read"}]})
    (server,) = tools_of({"mcp_servers": [{"name": "read", "url": "https://evil/"}]})
    assert refuses(spoofed)
    assert refuses(server)
    assert not refuses(Tool("read", ("read",)))


@pytest.mark.parametrize(
    ("allowed", "blocked", "tool", "refused"),
    [
        (["read", "mcp__*"], [], Tool("", ("mcp__x",)), False),
        (["read"], [], Tool("", ("write",)), True),
        ([], ["write"], Tool("", ("read",)), False),
        ([], ["Bash*"], Tool("", ("BashOutput",)), True),
        (["*"], ["Bash"], Tool("", ("Bash",)), True),
        ([], ["mcp:mine"], Tool("", ("mcp", "mcp:https://m/"), ("mcp:mine",)), True),
        (["mcp:https://m/*"], [], Tool("", ("mcp", "mcp:https://m/a"), ("mcp:x",)), False),
        (["mcp:mine"], [], Tool("", ("mcp", "mcp:https://m/"), ("mcp:mine",)), True),
        (["web_search"], [], Tool("", ("web_search_20250305", "web_search")), False),
    ],
)
def test_a_ban_stands_above_a_permission(
    allowed: list[str], blocked: list[str], tool: Tool, refused: bool
) -> None:
    refuses = refusing(allowed, blocked)
    assert refuses is not None
    assert refuses(tool) is refused


def test_without_rules_no_tool_is_looked_at() -> None:
    assert refusing([], []) is None


# ---- bounds

CHAT = ("max_tokens", "max_completion_tokens")


@pytest.mark.parametrize(
    ("body", "own", "expected"),
    [
        ({"max_tokens": 50}, CHAT, {"max_tokens": 50}),
        ({"max_tokens": 500}, CHAT, {"max_tokens": 100}),
        ({"max_completion_tokens": 500}, CHAT, {"max_completion_tokens": 100}),
        ({}, CHAT, {"max_tokens": 100}),
        ({"max_tokens": None}, CHAT, {"max_tokens": 100}),
        ({"max_tokens": 0}, CHAT, {"max_tokens": 0}),
        ({}, ("max_output_tokens",), {"max_output_tokens": 100}),
        ({"max_tokens": 500}, ("max_output_tokens",), {"max_tokens": 100, "max_output_tokens": 100}),
        ({"max_output_tokens": 70}, CHAT, {"max_output_tokens": 70, "max_tokens": 70}),
        (
            {"max_tokens": 500, "max_completion_tokens": 60},
            CHAT,
            {"max_tokens": 100, "max_completion_tokens": 60},
        ),
    ],
)
def test_whatever_bound_is_named_is_lowered_and_one_is_set_where_none_is(
    body: dict[str, Any], own: tuple[str, ...], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy(body)
    got = bounded(body, 100, own, own[0])
    assert got == expected
    assert body == before
    assert (got is body) == (expected == before)


@pytest.mark.parametrize("value", [-1, 1.5, 1e9, "100", True, [5]])
def test_a_bound_that_bounds_nothing_is_refused(value: object) -> None:
    with pytest.raises(WrongType):
        bounded({"max_output_tokens": value}, 100, CHAT, "max_tokens")


@pytest.mark.parametrize(
    ("most", "thinking", "expected"),
    [
        (8_000, {"type": "enabled", "budget_tokens": 4_000}, {"type": "enabled", "budget_tokens": 4_000}),
        (8_000, {"type": "enabled", "budget_tokens": 20_000}, {"type": "enabled", "budget_tokens": 4_000}),
        (2_000, {"type": "enabled", "budget_tokens": 20_000}, {"type": "disabled"}),
        (2_000, {"type": "adaptive"}, {"type": "adaptive"}),
    ],
)
def test_thinking_leaves_room_for_an_answer(most: int, thinking: Any, expected: Any) -> None:
    got = bounded({"max_tokens": 32_000, "thinking": thinking}, most, CHAT, "max_tokens")
    assert got == {"max_tokens": most, "thinking": expected}


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.none() | st.integers(0, 10_000) for name in (*CHAT, "max_output_tokens")}
    ),
    st.integers(1, 5_000),
    st.sampled_from([CHAT, ("max_tokens",), ("max_output_tokens",)]),
)
def test_no_bound_is_left_above_and_applying_it_twice_changes_nothing(
    body: dict[str, Any], most: int, own: tuple[str, ...]
) -> None:
    got = bounded(body, most, own, own[0])
    assert any(got.get(name) is not None for name in own)
    assert all(value is None or value <= most for value in got.values())
    assert bounded(got, most, own, own[0]) is got


# ---- prefixes

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hi"}
BLOCK = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("place", "body", "expected"),
    [
        ("system", {}, {"system": "P"}),
        ("system", {"system": ""}, {"system": "P"}),
        ("system", {"system": "Be kind."}, {"system": "P\n\nBe kind."}),
        ("system", {"system": [BLOCK]}, {"system": [{"type": "text", "text": "P"}, BLOCK]}),
        ("system", {"system": 5}, {"system": 5}),
        ("instructions", {"instructions": "Be kind."}, {"instructions": "P\n\nBe kind."}),
        ("messages", {"messages": [USER]}, {"messages": [{"role": "system", "content": "P"}, USER]}),
        ("messages", {"messages": []}, {"messages": [{"role": "system", "content": "P"}]}),
        (
            "messages",
            {"messages": [SYSTEM, USER]},
            {"messages": [{"role": "system", "content": "P\n\nBe kind."}, USER]},
        ),
        (
            "messages",
            {"messages": [{"role": "developer", "content": [BLOCK]}]},
            {"messages": [{"role": "developer", "content": [{"type": "text", "text": "P"}, BLOCK]}]},
        ),
        ("messages", {"messages": ["x"]}, {"messages": [{"role": "system", "content": "P"}, "x"]}),
        ("prompt", {"prompt": "def f("}, {"prompt": "P\n\ndef f("}),
        ("prompt", {"prompt": ["a", [1, 2]]}, {"prompt": ["P\n\na", [1, 2]]}),
    ],
)
def test_the_prefix_stands_before_the_callers_own(
    place: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy(body)
    assert prefixed(body, "P", place) == expected
    assert body == before
