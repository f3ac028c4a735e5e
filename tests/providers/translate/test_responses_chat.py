"""Requests of the Responses API as chats: parameters, and what a stateless gateway has to refuse."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response

from providers.errors import BadRequest
from providers.translate.responses_chat import ResponsesRequest, their_names, to_chat

from .responses_events import finished, writer


def asked(*, signed: bool = False, **body: Any) -> ResponsesRequest:
    return to_chat({"model": "opus", "input": "Hi", **body}, model="claude-opus-5-5", signed=signed)


def refused(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        asked(**body)
    return caught.value


def test_a_text_is_a_chat_with_one_user() -> None:
    request = asked()
    assert request.body == {"model": "opus", "messages": [{"role": "user", "content": "Hi"}]}
    assert request.dropped == ()


def test_instructions_come_first() -> None:
    body = asked(instructions="Be brief.", input=[{"role": "developer", "content": "And kind."}]).body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "And kind."},
    ]


def test_parameters_have_their_names_in_a_chat() -> None:
    request = asked(
        stream=True,
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low"},
        metadata={"a": "b"},
        include=["reasoning.encrypted_content"],
        store=False,
        truncation="disabled",
        background=False,
        previous_response_id=None,
        stream_options={"include_obfuscation": False},
    )
    del request.body["model"], request.body["messages"]
    assert request.body == {
        "stream": True,
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "verbosity": "low",
    }
    assert request.dropped == ()


def test_what_has_no_effect_is_named() -> None:
    request = asked(
        store=True,
        truncation="auto",
        include=["reasoning.encrypted_content", "file_search_call.results"],
        top_logprobs=3,
        client_metadata={"a": "b"},
        reasoning={"mode": "pro"},
        tools=[{"type": "web_search"}, {"type": "mcp", "server_label": "x"}],
        input=[{"role": "user", "content": "Hi"}, {"type": "web_search_call", "id": "ws_1"}],
    )
    assert request.dropped == (
        "store",
        "truncation",
        "include",
        "top_logprobs",
        "client_metadata",
        "reasoning.mode",
        "tools.web_search",
        "tools.mcp",
        "input.web_search_call",
    )
    assert "tools" not in request.body


def test_what_a_chat_leaves_out_is_named_as_the_caller_calls_it() -> None:
    names = ("reasoning_effort", "response_format", "temperature")
    assert their_names(names) == ("reasoning.effort", "text.format", "temperature")


def test_a_schema_moves_into_the_response_format() -> None:
    schema = {"type": "object", "properties": {}}
    shape = {"type": "json_schema", "name": "n", "strict": True, "schema": schema}
    assert asked(text={"format": shape}).body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": True, "schema": schema},
    }
    assert asked(text={"format": {"type": "json_object"}}).body["response_format"] == {"type": "json_object"}
    assert refused(text={"format": {"type": "json_schema"}}).param == "text.format.schema"
    assert refused(text={"format": {"type": "xml"}}).param == "text.format.type"


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "p"}}),
        ("background", {"background": True}),
        ("input.0", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("input.0", {"input": [{"id": "msg_1"}]}),
        ("input.1", {"input": [{"role": "user", "content": "x"}, {"type": "compaction_trigger"}]}),
    ],
)
def test_what_needs_a_memory_is_refused_with_a_word_on_what_to_do(param: str, body: dict[str, Any]) -> None:
    error = refused(**body)
    assert (error.status, error.param, error.code) == (400, param, "unsupported_value")
    assert any(word in error.message for word in ("store: false", "instructions", "stream", "summary"))


def test_a_reference_names_the_option_of_the_vercel_sdk() -> None:
    message = refused(input=[{"type": "item_reference", "id": "msg_1"}]).message
    assert "providerOptions: {openai: {store: false}}" in message


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input", {"input": None}),
        ("input", {"input": []}),
        ("input", {"input": 3}),
        ("input.0", {"input": ["x"]}),
        ("input.0.type", {"input": [{"type": 3}]}),
        ("input.0.role", {"input": [{"role": "critic", "content": "x"}]}),
        ("input.0.content", {"input": [{"role": "user"}]}),
        ("input.0.content.0.type", {"input": [{"role": "user", "content": [{}]}]}),
        ("input.0.content.0.type", {"input": [{"role": "user", "content": [{"type": "smell"}]}]}),
        ("input.0.content.0.text", {"input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
        (
            "input.0.content.0.file_id",
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        ),
        (
            "input.0.content.0.file_data",
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
        ),
        ("input.0.call_id", {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}),
        ("input.0.name", {"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}),
        ("input.0.input", {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "p"}]}),
        ("input.0.call_id", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("input.0.output", {"input": [{"type": "function_call_output", "call_id": "c"}]}),
        ("input.0.action", {"input": [{"type": "shell_call", "call_id": "c"}]}),
        ("input.0.summary", {"input": [{"type": "reasoning", "summary": "x"}]}),
        ("instructions", {"instructions": ["x"]}),
        ("max_output_tokens", {"max_output_tokens": 0}),
        ("reasoning", {"reasoning": "high"}),
        ("reasoning.effort", {"reasoning": {"effort": 3}}),
        ("text", {"text": "short"}),
        ("include", {"include": "x"}),
        ("background", {"background": "yes"}),
        ("tools", {"tools": {}}),
        ("tools.0", {"tools": ["x"]}),
        ("tools.0.name", {"tools": [{"type": "function"}]}),
        ("tools.0.parameters", {"tools": [{"type": "function", "name": "f", "parameters": []}]}),
        ("tools.0.tools.0.name", {"tools": [{"type": "namespace", "name": "n", "tools": [{}]}]}),
        ("tool_choice", {"tool_choice": "maybe"}),
        ("tool_choice.type", {"tool_choice": {}}),
        ("tool_choice.name", {"tool_choice": {"type": "function"}}),
        ("tool_choice.mode", {"tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}}),
    ],
)
def test_what_is_wrong_is_a_400_that_names_its_place(param: str, body: dict[str, Any]) -> None:
    error = refused(**body)
    assert (error.status, error.param) == (400, param)


def test_the_response_repeats_its_request_and_says_that_nothing_is_stored() -> None:
    tools = [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "custom", "name": "c"}]},
        {"type": "web_search"},
    ]
    request = asked(
        store=True,
        instructions="Be brief.",
        tools=tools,
        tool_choice={"type": "function", "name": "f"},
        metadata={"a": "b"},
        reasoning={"effort": "low"},
        text={"format": {"type": "json_object"}},
        max_output_tokens=5,
        stream=True,
    )
    found, response = finished(writer(request.writer))
    for event in (found[0], found[-1]):
        echo = event["response"]
        assert echo["store"] is False
        assert (echo["instructions"], echo["tools"], echo["metadata"]) == ("Be brief.", tools, {"a": "b"})
        assert (echo["max_output_tokens"], echo["text"]["format"]["type"]) == (5, "json_object")
        Response.model_validate(echo)
    assert response == found[-1]["response"]


def test_a_response_to_the_smallest_request_is_what_the_sdk_declares() -> None:
    _, response = finished(writer(asked().writer))
    assert Response.model_validate(response).tool_choice == "auto"
