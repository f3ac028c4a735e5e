"""What a conversation says is what Claude is told, and what a chat is told of what Claude was told.

What no target can express, and what is therefore not asked for, is listed in ``said.py``.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import BadRequest
from providers.translate import messages_chat, responses_chat
from providers.translate.chat_anthropic import AnthropicRequest, to_anthropic
from providers.translate.messages import END_TURN, MISSING_RESULT

from .conversations import Call, Conversation, Text, Turn, says
from .render import SIGNER, as_chat, as_messages, as_responses
from .said import said_by, said_in_chat, said_in_messages
from .talks import CLAUDE, fitting, talks

Json = dict[str, Any]


def claude_of_chat(talk: Conversation) -> AnthropicRequest:
    return to_anthropic(as_chat(talk), model=SIGNER, info=CLAUDE)


def claude_of_responses(talk: Conversation) -> tuple[AnthropicRequest, dict[str, str]]:
    """The request, and the caller's names of the tools in it."""
    asked = responses_chat.to_chat(as_responses(talk), model=SIGNER, signed=True)
    request = to_anthropic(asked.body, model=SIGNER, info=CLAUDE)
    called = asked.writer.keywords["tools"]  # type: ignore[attr-defined]  # a partial
    names = {}
    for block in _blocks(request.body, "tool_use"):
        name = request.reply.tool_names.get(block["name"], block["name"])
        if (known := called.get(name)) is not None:
            name = "__".join(filter(None, (known.namespace, known.name)))
        names[block["name"]] = name
    return request, names


def _blocks(body: Json, kind: str) -> list[Json]:
    return [block for turn in body["messages"] for block in turn["content"] if block["type"] == kind]


@settings(max_examples=300)
@given(talk=talks("chat"))
def test_claude_is_told_all_that_a_chat_says(talk: Conversation) -> None:
    request = claude_of_chat(talk)
    assert said_in_messages(request.body, dict(request.reply.tool_names)) == said_by(talk)


@settings(max_examples=300)
@given(talk=talks("chat"))
def test_a_chat_is_told_all_that_claude_was_told(talk: Conversation) -> None:
    body = claude_of_chat(talk).body
    back = messages_chat.to_chat(body).body
    assert said_in_chat(back).for_chats() == said_in_messages(body).for_chats()


@settings(max_examples=300)
@given(talk=talks("responses"))
def test_claude_is_told_all_that_responses_say_with_its_own_thinking(talk: Conversation) -> None:
    talk = fitting("anthropic", "responses", talk)
    request, names = claude_of_responses(talk)
    assert said_in_messages(request.body, names) == said_by(talk)


@settings(max_examples=300)
@given(talk=talks("messages"))
def test_other_models_are_told_all_that_a_client_of_claude_says(talk: Conversation) -> None:
    chat = messages_chat.to_chat(as_messages(talk)).body
    assert said_in_chat(chat).for_chats() == said_by(talk).for_chats()


_ID = re.compile(r"[a-zA-Z0-9_-]+")


@settings(max_examples=300)
@given(talk=talks("chat"))
def test_tool_ids_map_bijectively(talk: Conversation) -> None:
    """One id for each call and one result for each id; what the API takes and nobody has used stays."""
    body = claude_of_chat(talk).body
    original = [part.id for turn in talk.turns for part in turn.parts if isinstance(part, Call)]
    wire = [block["id"] for block in _blocks(body, "tool_use")]
    assert len(set(wire)) == len(wire) == len(original)
    assert all(map(_ID.fullmatch, wire))
    assert sorted(block["tool_use_id"] for block in _blocks(body, "tool_result")) == sorted(wire)
    for index, (before, after) in enumerate(zip(original, wire, strict=True)):
        if _ID.fullmatch(before) and before not in wire[:index]:
            assert after == before


@settings(max_examples=300)
@given(talk=talks("chat"))
def test_consecutive_results_are_one_user_turn_and_come_first(talk: Conversation) -> None:
    messages = claude_of_chat(talk).body["messages"]
    for before, turn in zip([{"role": "", "content": []}, *messages], messages, strict=False):
        asked = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        assert [block["tool_use_id"] for block in turn["content"][: len(asked)]] == asked
        kinds = [block["type"] for block in turn["content"][len(asked) :]]
        assert "tool_result" not in kinds
        assert before["role"] != turn["role"]


@settings(max_examples=200)
@given(talk=talks("responses"), cut=st.integers(0, 40))
def test_a_longer_conversation_of_responses_begins_as_the_shorter_one(talk: Conversation, cut: int) -> None:
    """As a client has it: asked behind something of the user's, answered, asked again."""
    short = _begun(talk, cut)
    first, second = claude_of_responses(short)[0].body, claude_of_responses(talk)[0].body
    _begins_with(first, second)
    chats = [responses_chat.to_chat(as_responses(t), model="m", signed=False).body for t in (short, talk)]
    assert chats[1]["messages"][: len(chats[0]["messages"])] == chats[0]["messages"]


@settings(max_examples=200)
@given(talk=talks("messages"), cut=st.integers(0, 40))
def test_a_longer_conversation_of_messages_begins_as_the_shorter_one(talk: Conversation, cut: int) -> None:
    first, second = (messages_chat.to_chat(as_messages(t)).body for t in (_begun(talk, cut), talk))
    assert first["tools" if "tools" in first else "model"] == second["tools" if "tools" in first else "model"]
    assert second["messages"][: len(first["messages"])] == first["messages"]


def _begun(talk: Conversation, cut: int) -> Conversation:
    """``talk`` as far as it went when a model was asked before: up to an assistant's turn, behind something
    that the user has said. (Of an answer that says nothing an upstream cannot be told.)"""
    ends = [
        index + 1
        for index, (turn, answer) in enumerate(pairwise(talk.turns))
        if answer.role == "assistant" and any(map(says, answer.parts))
        if turn.role == "user" and any(map(says, turn.parts))
    ]
    end = ends[cut % len(ends)] if ends else len(talk.turns)
    return Conversation(talk.tools, talk.turns[:end])


def _begins_with(first: Json, second: Json) -> None:
    """Byte for byte, unless the shorter one ends with what the API demanded and nobody had said."""
    added = [
        block.get("text") == END_TURN or block.get("content") == MISSING_RESULT
        for block in first["messages"][-1]["content"]
    ]
    end = -1 if any(added) else None
    settled = orjson.dumps(first["messages"][:end])[:-1]
    assert orjson.dumps(second["messages"]).startswith(settled)
    assert first.get("system") == second.get("system")


@pytest.mark.parametrize("words", ["\ud83d", "\ude00\ud83d", "a\udfffb"])
def test_half_a_character_is_refused_and_never_an_error_of_the_gateway(words: str) -> None:
    """JSON that is read here cannot hold one; whatever calls the translation otherwise is told."""
    talk = Conversation((), (Turn("user", (Text(words),)),))
    with pytest.raises(BadRequest):
        claude_of_chat(talk).encode()
    with pytest.raises(BadRequest):
        claude_of_responses(talk)[0].encode()
