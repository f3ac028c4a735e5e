"""What is posted to chat completions in another dialect's shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from providers.errors import BadRequest
from providers.translate.shapes import as_chat

from .strategies import requests

USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
MARK = {"type": "ephemeral"}


def chat(**body: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER], **body}


@given(requests())
def test_a_chat_is_the_same_object(body: dict[str, Any]) -> None:
    plain = [m for m in body["messages"] if not isinstance(m.get("content"), list)]
    tools = [tool for tool in body.get("tools") or [] if "function" in tool or "custom" in tool]
    body = {**body, "messages": plain, "tools": tools, "tool_choice": "auto"}
    assert as_chat(body) is body
    assert as_chat(body, signed=True) is body


@pytest.mark.parametrize(
    "body",
    [
        chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": MARK}]}]),
        chat(tools=[{"type": "function", "function": {"name": "f"}, "cache_control": MARK}]),
        chat(tool_choice={"type": "function", "function": {"name": "f"}}),
        chat(thinking={"type": "disabled"}),  # DeepSeek's, GLM's
        {"model": "m"},
        {"model": "m", "messages": "not a list"},
        {"model": "m", "messages": ["x"], "tools": ["x"]},
    ],
)
def test_what_is_a_chat_or_nothing_known_is_left_to_the_provider(body: dict[str, Any]) -> None:
    assert as_chat(body) is body


def test_a_responses_input_becomes_messages() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "x"}
    body = {
        "model": "gpt-5",
        "stream": True,
        "stream_options": {"include_usage": True},
        "store": False,
        "instructions": "Be brief.",
        "input": [
            {"role": "system", "content": "You are in an editor."},
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "text"},
        ],
        "tools": [
            {"type": "function", "name": "read", "parameters": SCHEMA, "strict": False},
            {"type": "custom", "name": "ApplyPatch", "format": grammar},
        ],
        "tool_choice": "auto",
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_object"}},
        "max_output_tokens": 9,
        "seed": 3,
    }
    assert as_chat(body) == {
        "model": "gpt-5",
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "You are in an editor."},
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "text"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "read", "parameters": SCHEMA, "strict": False}},
            {
                "type": "custom",
                "custom": {
                    "name": "ApplyPatch",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
                },
            },
        ],
        "tool_choice": "auto",
        "reasoning_effort": "high",
        "response_format": {"type": "json_object"},
        "max_tokens": 9,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": None},
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}},
        ),
        (
            {"name": "f", "input_schema": SCHEMA, "cache_control": MARK},
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}, "cache_control": MARK},
        ),
        (
            {"type": "custom", "name": "f", "input_schema": SCHEMA},
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
        ),
        ({"type": "custom", "name": "p"}, {"type": "custom", "custom": {"name": "p"}}),
        (
            {
                "type": "custom",
                "name": "p",
                "format": {"type": "grammar", "syntax": "regex", "definition": "a+"},
            },
            {
                "type": "custom",
                "custom": {
                    "name": "p",
                    "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}},
                },
            },
        ),
        (
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "web_search_20250305", "name": "web_search"},
        ),
    ],
)
def test_flat_and_anthropic_tools_are_nested(given: dict[str, Any], expected: dict[str, Any]) -> None:
    nested = {"type": "function", "function": {"name": "g"}}
    body = chat(tools=[nested, given])
    assert as_chat(body) == chat(tools=[nested, expected])
    assert body["tools"][1] is given


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "function", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"type": "custom", "name": "p"}, {"tool_choice": {"type": "custom", "custom": {"name": "p"}}}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"type": "any"}, {"tool_choice": "required"}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "f"}}],
                    },
                }
            },
        ),
    ],
)
def test_a_choice_of_another_dialect_is_a_chats(choice: Any, expected: dict[str, Any]) -> None:
    assert as_chat(chat(tool_choice=choice)) == chat(**expected)


CLAUDES = [
    {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]},
    {"role": "assistant", "content": [
        THINKING,
        {"type": "text", "text": "Look."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}, "cache_control": MARK},
    ]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": "ok", "cache_control": MARK},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"type": "text", "text": "And?"},
    ]},
]  # fmt: skip


def test_messages_of_anthropics_shape_are_plain_ones_for_a_plain_provider() -> None:
    assert as_chat(chat(messages=CLAUDES))["messages"] == [
        CLAUDES[0],
        {
            "role": "assistant",
            "content": "Look.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                    "cache_control": MARK,
                }
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "ok", "cache_control": MARK},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


def test_a_call_that_is_told_in_both_shapes_is_one_call() -> None:
    shaped = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    listed = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in "ab"]
    told = {"role": "assistant", "content": [shaped], "tool_calls": listed}
    turn = as_chat({"messages": [{"role": "user", "content": "q"}, told]})["messages"][1]
    assert [call["id"] for call in turn["tool_calls"]] == ["a", "b"]


@pytest.mark.parametrize("field", ["text", "reasoning"])
def test_a_part_that_is_called_reasoning_is_thinking(field: str) -> None:
    said = [{"type": "reasoning", field: "Hm."}, {"type": "text", "text": "Yes."}]
    turn = as_chat({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": said}]})
    assert turn["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


def test_for_a_provider_that_signs_they_stay_as_they_are() -> None:
    body = chat(messages=CLAUDES)
    assert as_chat(body, signed=True) is body


def test_messages_that_are_a_chats_are_kept_beside_others() -> None:
    mixed = [
        {"role": "user", "content": "Hi", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [], "reasoning_content": "Hm."},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
    ]
    for signed in (False, True):
        found = as_chat(chat(messages=mixed), signed=signed)["messages"]
        assert found[:2] == mixed[:2]
        assert [message["role"] for message in found[2:]] == ["assistant", "tool"]


def test_parameters_of_anthropics_have_their_names_in_a_chat() -> None:
    body = chat(
        system=[{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 2_048},
        max_tokens=9,
    )
    assert as_chat(body) == {
        "model": "m",
        "messages": [{"role": "system", "content": body["system"]}, USER],
        "stop": ["END"],
        "reasoning_effort": "low",
        "max_tokens": 9,
    }
    adaptive = chat(thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert as_chat(adaptive) == chat(reasoning_effort="high")


def test_a_chats_own_parameters_come_first() -> None:
    body = chat(stop=["A"], stop_sequences=["B"], max_tokens=1, max_output_tokens=2)
    assert as_chat(body) == chat(stop=["A"], max_tokens=1)


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input.0.role", {"input": [{"role": "x", "content": "y"}]}),
        ("previous_response_id", {"input": "x", "previous_response_id": "resp_1"}),
        (
            "messages.0.content.0.id",
            chat(messages=[{"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}]),
        ),
        ("messages.0.role", chat(messages=[{"content": "x"}])),
        ("tools.0.cache_control.type", chat(tools=[{"name": "f", "input_schema": {}, "cache_control": {}}])),
        ("stop_sequences", chat(stop_sequences="x")),
    ],
)
def test_what_is_wrong_is_a_400_that_names_its_place(param: str, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        as_chat(body)
    assert (caught.value.status, caught.value.param) == (400, param)
