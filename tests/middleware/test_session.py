"""A conversation keeps its name, and two conversations have two."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._session import HEADERS, MAX_NAME, session_of

Json = dict[str, Any]


def session(body: Any, *headers: tuple[bytes, bytes], key: str = "k") -> str:
    return session_of({"type": "http", "headers": list(headers)}, body, key)


def chat(*turns: str, system: str = "Be brief.") -> Json:
    roles = ["user", "assistant"]
    said = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"messages": [{"role": "system", "content": system}, *said]}


def messages(*turns: str, system: str = "Be brief.") -> Json:
    body = chat(*turns)
    billing = {"type": "text", "text": f"x-anthropic-billing-header: cch={len(turns)};"}
    mark = {"cache_control": {"type": "ephemeral"}} if len(turns) % 2 else {}
    return {
        "system": [billing, {"type": "text", "text": system, **mark}],
        "messages": [
            {**m, "content": [{"type": "text", "text": m["content"], **mark}]} for m in body["messages"][1:]
        ],
    }


def responses(*turns: str, system: str = "Be brief.") -> Json:
    items: list[Json] = []
    for i, turn in enumerate(turns):
        role, kind = ("assistant", "output_text") if i % 2 else ("user", "input_text")
        items.append({"type": "message", "role": role, "content": [{"type": kind, "text": turn}]})
        items.append({"type": "function_call_output", "call_id": "c", "output": turn})
    return {"instructions": system, "input": items}


SHAPES = {"chat": chat, "messages": messages, "responses": responses}
Shape = Callable[..., Json]
WORDS = st.text(min_size=1, max_size=20)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(turns=st.lists(WORDS, min_size=1, max_size=6), more=st.lists(WORDS, max_size=6), system=WORDS)
def test_a_conversation_keeps_its_name_as_it_grows(
    shape: Shape, turns: list[str], more: list[str], system: str
) -> None:
    assert session(shape(*turns, system=system)) == session(shape(*turns, *more, system=system))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(one=st.tuples(WORDS, WORDS), other=st.tuples(WORDS, WORDS))
def test_other_first_words_or_another_system_prompt_are_another_conversation(
    shape: Shape, one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = (session(shape(text, system=system)) for text, system in (one, other))
    assert (first == second) == (one == other)


@given(name=st.binary(min_size=1, max_size=60).filter(lambda n: n.strip() != b""), turns=st.lists(WORDS))
def test_a_name_of_the_clients_own_outlives_every_change_of_the_body(name: bytes, turns: list[str]) -> None:
    for header in HEADERS:
        named = session(chat(*turns), (header, name))
        assert named == session(None, (b"host", b"x"), (header, b" " + name + b" "))
        assert named != session(chat(*turns))
        assert named != session(chat(*turns), (header, name + b"1"))


NAMED: dict[str, Json] = {
    "prompt_cache_key": {"prompt_cache_key": "abc"},
    "metadata.session_id": {"metadata": {"session_id": "abc"}},
    "Claude Code": {"metadata": {"user_id": "user_0f_account_1-2_session_abc"}},
    "Claude Code, newer": {"metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"abc"}'}},
}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_in_the_body_is_the_conversations(name: str) -> None:
    named = session({**chat("hi"), **NAMED[name]})
    assert named == session({**chat("something else"), **NAMED[name]})
    assert named == session({"prompt_cache_key": "abc"})
    assert named != session({"prompt_cache_key": "abd"})


def test_the_header_comes_before_the_body_and_claude_code_before_all() -> None:
    body = NAMED["prompt_cache_key"]
    both = session(body, (b"session-id", b"codex"), (b"x-claude-code-session-id", b"cc"))
    assert both == session({}, (b"x-claude-code-session-id", b"cc"))
    assert session(body, (b"session-id", b"codex")) == session({}, (b"session-id", b"codex"))


def test_a_session_belongs_to_one_key() -> None:
    for body in (chat("hi"), NAMED["prompt_cache_key"]):
        assert session(body, key="one") != session(body, key="two")
    named = (b"x-session-id", b"abc")
    assert session({}, named, key="one") != session({}, named, key="two")


def test_a_fingerprint_is_never_a_name() -> None:
    """Or a client could name the beginning of another's conversation."""
    assert session({"prompt_cache_key": "hi"}) != session({"message": "hi"})


def test_the_same_text_is_the_same_however_it_is_written() -> None:
    """Clients put a text into an array when they want to mark it for the cache."""
    plain = chat("hi", "ho", "more")
    marked = copy.deepcopy(plain)
    for message in marked["messages"][:2]:
        part = {"type": "text", "text": message["content"], "cache_control": {"type": "ephemeral"}}
        message["content"] = [part]
    assert session(plain) == session(marked)


def test_where_one_text_ends_is_part_of_the_name() -> None:
    assert session(chat("bc", system="a")) != session(chat("c", system="ab"))


@pytest.mark.parametrize(
    "name", [b"", b"  ", b"x" * (MAX_NAME + 1)], ids=["empty", "blank", "too long to be a name"]
)
def test_what_is_no_name_is_not_taken_for_one(name: bytes) -> None:
    body = chat("hi")
    assert session(body, (b"x-session-id", name)) == session(body)
    given = {"prompt_cache_key": name.decode().strip(), "metadata": {"user_id": name.decode()}}
    assert session({**body, **given}) == session(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["user", '{"', "{}"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "input",
                    "system",
                    "instructions",
                    "role",
                    "content",
                    "text",
                    "type",
                    "message",
                    "prompt_cache_key",
                    "metadata",
                    "user_id",
                    "session_id",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(body=JSON)
def test_every_json_has_a_name_and_stays_as_it_was(body: Any) -> None:
    before = copy.deepcopy(body)
    name = session(body)
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
    assert name == session(body)
    assert body == before


def test_a_lone_surrogate_is_no_failure() -> None:
    assert session({"message": "\ud800"}) != session({"message": "\ud801"})
    assert session({"metadata": {"user_id": '{"\ud800'}})
