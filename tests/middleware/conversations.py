"""Hypothesis strategies for conversations, and their three dialects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


@dataclass
class Call:
    id: str
    name: str
    arguments: str
    result: list[str]


@dataclass
class Turn:
    """What a user says, what the assistant thinks, says and calls, and what the calls return."""

    user: list[str]
    thinking: str
    assistant: list[str]
    calls: list[Call]


@dataclass
class Conversation:
    system: list[str]
    turns: list[Turn]


def texts(longest: int) -> st.SearchStrategy[str]:
    """Texts of up to ``longest`` characters, mostly long runs of lines: those that get clipped."""
    return st.builds(
        lambda line, times: (line * (times // len(line) + 1))[: max(times, 1)],
        st.sampled_from(["line\n", "é", "👍🏽", "x", "a\r\nb", "🇩🇪", "e\u0301"]),
        st.integers(1, longest),
    )


def conversations(longest: int = 300) -> st.SearchStrategy[Conversation]:
    text = texts(longest)
    some = st.lists(text, min_size=1, max_size=3)
    call = st.builds(
        Call,
        st.uuids().map(lambda u: f"call_{u.hex[:8]}"),
        st.sampled_from(["read", "bash"]),
        st.just('{"path":"a.py"}'),
        some,
    )
    turn = st.builds(
        Turn, some, st.sampled_from(["", "hm"]), st.lists(text, max_size=2), st.lists(call, max_size=2)
    )
    return st.builds(Conversation, st.lists(text, max_size=3), st.lists(turn, min_size=1, max_size=4))


def chat(talk: Conversation) -> Json:
    messages: list[Json] = [{"role": "system", "content": text} for text in talk.system]
    for turn in talk.turns:
        messages.append({"role": "user", "content": [_part("text", t) for t in turn.user]})
        if turn.assistant or turn.calls or turn.thinking:
            said: Json = {"role": "assistant", "content": [_part("text", t) for t in turn.assistant]}
            if turn.thinking:
                said["reasoning_content"] = turn.thinking
            if turn.calls:
                said["tool_calls"] = [
                    {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                    for c in turn.calls
                ]
            messages.append(said)
        messages += [
            {"role": "tool", "tool_call_id": c.id, "content": [_part("text", t) for t in c.result]}
            for c in turn.calls
        ]
    return {"model": "m", "messages": messages}


def anthropic(talk: Conversation) -> Json:
    messages: list[Json] = []
    for turn in talk.turns:
        user = [_part("text", t) for t in turn.user]
        if messages and messages[-1]["role"] == "user":
            messages[-1]["content"] += user
        else:
            messages.append({"role": "user", "content": user})
        said: list[Json] = []
        if turn.thinking:
            said.append({"type": "thinking", "thinking": turn.thinking, "signature": "s"})
        said += [_part("text", t) for t in turn.assistant]
        said += [
            {"type": "tool_use", "id": c.id, "name": c.name, "input": {"path": "a.py"}} for c in turn.calls
        ]
        if said:
            messages.append({"role": "assistant", "content": said})
        results = [
            {"type": "tool_result", "tool_use_id": c.id, "content": [_part("text", t) for t in c.result]}
            for c in turn.calls
        ]
        if results:
            messages.append({"role": "user", "content": results})
    return {"model": "m", "system": [_part("text", t) for t in talk.system], "messages": messages}


def responses(talk: Conversation) -> Json:
    items: list[Json] = [
        {"type": "message", "role": "developer", "content": [_part("input_text", t)]} for t in talk.system
    ]
    for turn in talk.turns:
        items.append({"role": "user", "content": [_part("input_text", t) for t in turn.user]})
        if turn.thinking:
            items.append({"type": "reasoning", "summary": [], "encrypted_content": turn.thinking})
        if turn.assistant:
            content = [_part("output_text", t) for t in turn.assistant]
            items.append({"type": "message", "role": "assistant", "content": content})
        items += [
            {"type": "function_call", "call_id": c.id, "name": c.name, "arguments": c.arguments}
            for c in turn.calls
        ]
        items += [
            {
                "type": "function_call_output",
                "call_id": c.id,
                "output": [_part("input_text", t) for t in c.result],
            }
            for c in turn.calls
        ]
    return {"model": "m", "input": items}


DIALECTS = {"chat": chat, "anthropic": anthropic, "responses": responses}


def _part(kind: str, text: str) -> Json:
    return {"type": kind, "text": text, "cache_control": {"type": "ephemeral"}}


_KEYS = st.sampled_from(
    [
        "messages",
        "input",
        "system",
        "instructions",
        "role",
        "content",
        "type",
        "text",
        "tool_calls",
        "function_call",
        "function",
        "custom",
        "name",
        "id",
        "tool_call_id",
        "tool_use_id",
        "call_id",
        "output",
        "source",
        "data",
        "file",
        "filename",
        "title",
        "refusal",
        "reasoning_content",
    ]
)
_WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "system",
        "developer",
        "tool",
        "function",
        "text",
        "input_text",
        "output_text",
        "refusal",
        "tool_result",
        "tool_use",
        "thinking",
        "image",
        "document",
        "file",
        "input_file",
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "base64",
    ]
)

#: JSON that looks like a request and is wrong in every way.
NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | _WORDS | st.just(""),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=40,
)
WRONG_BODIES = NONSENSE | st.builds(
    lambda key, items, rest: {**rest, key: items},
    st.sampled_from(["messages", "input"]),
    st.lists(st.dictionaries(_KEYS, NONSENSE, max_size=6), max_size=4),
    st.dictionaries(_KEYS, NONSENSE, max_size=3),
)
