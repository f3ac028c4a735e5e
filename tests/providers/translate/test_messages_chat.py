"""Parameters of a Messages request as those of a chat: kept, translated, or left out and named."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from providers.errors import BadRequest
from providers.translate.messages_chat import BILLING_HEADER, ChatRequest, to_chat

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
TOOL = {"name": "read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}


def chat(**body: Any) -> ChatRequest:
    given = {"model": "local:m", "max_tokens": 100, "messages": HI, **body}
    before = copy.deepcopy(given)
    found = to_chat(given)
    assert given == before, "a request is read, never changed"
    return found


def refused(param: str, **body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        chat(**body)
    assert caught.value.param == param
    assert caught.value.status == 400
    return caught.value


def test_a_plain_question_is_a_plain_chat() -> None:
    assert chat() == ({"model": "local:m", "messages": HI, "max_tokens": 100}, ())


def test_a_count_of_tokens_needs_no_limit() -> None:
    assert to_chat({"model": "m", "messages": HI}).body == {"model": "m", "messages": HI}


@pytest.mark.parametrize(
    ("system", "content"),
    [
        ("Be brief.", "Be brief."),
        ([{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}], "Be\n\nbrief."),
        (
            [
                {"type": "text", "text": f"{BILLING_HEADER} cc_version=2; cch=1f;"},
                {"type": "text", "text": "Be."},
            ],
            "Be.",
        ),
        (f"{BILLING_HEADER} cch=1f;\nBe brief.", "Be brief."),
        (
            [
                {"type": "text", "text": f"{BILLING_HEADER} cch=2;"},
                {"type": "text", "text": "You are."},
                {
                    "type": "text",
                    "text": "Be.",
                    "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"},
                },
            ],
            [
                {"type": "text", "text": "You are."},
                {"type": "text", "text": "Be.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ],
        ),
    ],
)
def test_the_system_prompt_is_the_first_message_without_what_is_for_the_bill(
    system: Any, content: Any
) -> None:
    assert chat(system=system).body["messages"] == [{"role": "system", "content": content}, *HI]


@pytest.mark.parametrize("system", [None, "", [], [{"type": "text", "text": ""}], f"{BILLING_HEADER} x"])
def test_a_system_prompt_that_says_nothing_is_no_message(system: Any) -> None:
    assert chat(system=system).body["messages"] == HI


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
            "max",
        ),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "none"),
        ({"thinking": {"type": "between_tools"}}, "low"),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9}, "output_config": {"effort": "medium"}},
            "medium",
        ),
    ],
)
def test_thinking_and_effort_are_the_reasoning_effort(given: dict[str, Any], expected: str | None) -> None:
    found = chat(**given)
    assert found.body.get("reasoning_effort") == expected
    assert found.dropped == ()


def test_a_way_to_think_and_an_effort_of_tomorrow_are_left_out_and_named() -> None:
    found = chat(
        thinking={"type": "dreaming"}, output_config={"effort": "heroic", "task_budget": {"total": 9}}
    )
    assert "reasoning_effort" not in found.body
    assert found.dropped == ("thinking", "output_config.task_budget", "output_config.effort")


SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}
LOOSE = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("place", ["output_config", "output_format"])
@pytest.mark.parametrize(("schema", "strict"), [(SCHEMA, {"strict": True}), (LOOSE, {})])
def test_a_schema_for_the_answer_is_the_response_format(
    place: str, schema: dict[str, Any], strict: dict[str, Any]
) -> None:
    shape = {"type": "json_schema", "schema": schema}
    found = chat(**{place: {"format": shape} if place == "output_config" else shape})
    assert found.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, **strict},
    }
    assert found.dropped == ()


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body = chat(stream=True).body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert "stream" not in chat(stream=False).body


def test_sampling_and_stops_keep_their_values() -> None:
    body = chat(temperature=0, top_p=0.5, top_k=20, stop_sequences=["END", "", "\n\n"]).body
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0, 0.5, 20)
    assert body["stop"] == ["END", "\n\n"]
    assert "stop" not in chat(stop_sequences=[]).body


def test_a_prompt_that_is_only_to_be_cached_writes_one_token() -> None:
    assert chat(max_tokens=0).body["max_tokens"] == 1


def test_what_a_chat_has_no_place_for_is_left_out_and_named() -> None:
    unknown = {
        "metadata": {"user_id": "user_1"},
        "safeguards": {"level": 2},
        "context_management": {"edits": []},
        "mcp_servers": [{"type": "url"}],
        "container": "c",
        "betas": ["x"],
        "cache_control": {"type": "ephemeral"},
        "service_tier": "auto",
        "speed": "fast",
        "diagnostics": {},
        "something_of_tomorrow": [1],
    }
    found = chat(**unknown, inference_geo=None)
    assert found.dropped == tuple(unknown)
    assert found.body == chat().body


def test_a_name_that_is_no_name_does_not_get_into_a_header() -> None:
    assert chat(**{"a\r\nb: c": 1, "x" * 65: 1, "ok": 1}).dropped == ("ok",)


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("messages", {"messages": []}),
        ("messages", {"messages": "hi"}),
        ("messages", {"messages": None}),
        ("messages.0", {"messages": ["hi"]}),
        ("messages.0.role", {"messages": [{"content": "x"}]}),
        ("messages.0.role", {"messages": [{"role": "tool", "content": "x"}]}),
        ("messages.0.content", {"messages": [{"role": "user"}]}),
        ("messages.1.content", {"messages": [*HI, {"role": "assistant", "content": 5}]}),
        ("messages.0.content.0", {"messages": [{"role": "user", "content": ["x"]}]}),
        ("messages.0.content.0.type", {"messages": [{"role": "user", "content": [{}]}]}),
        ("messages.0.content.0.text", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        ("model", {"model": 5}),
        ("max_tokens", {"max_tokens": -1}),
        ("max_tokens", {"max_tokens": "9"}),
        ("max_tokens", {"max_tokens": False}),
        ("stream", {"stream": "yes"}),
        ("temperature", {"temperature": "0"}),
        ("top_k", {"top_k": 0.5}),
        ("stop_sequences", {"stop_sequences": "END"}),
        ("stop_sequences.1", {"stop_sequences": ["a", 5]}),
        ("system", {"system": 5}),
        ("system.0.type", {"system": [{"type": "image"}]}),
        (
            "system.0.cache_control.ttl",
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]},
        ),
        ("thinking", {"thinking": "on"}),
        ("thinking.type", {"thinking": {"type": 5}}),
        ("thinking.budget_tokens", {"thinking": {"type": "enabled"}}),
        ("output_config", {"output_config": []}),
        ("output_config.effort", {"output_config": {"effort": 5}}),
        ("output_config.format.type", {"output_config": {"format": {"type": "text"}}}),
        ("output_config.format.schema", {"output_config": {"format": {"type": "json_schema"}}}),
        ("output_format", {"output_format": "json"}),
    ],
)
def test_what_is_wrong_is_named_by_its_place(param: str, body: dict[str, Any]) -> None:
    assert f"`{param}`" in str(refused(param, **body)) or param.endswith(".type")


@pytest.mark.parametrize(
    "thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}, "continue"]
)
def test_a_thread_that_nobody_keeps_is_refused_in_the_words_that_the_sdk_acts_on(thread: object) -> None:
    error = refused("thread", thread=thread)
    assert error.upstream_error is not None
    assert error.upstream_error["details"] == {"error_code": "thread_unsupported_request"}
    assert chat(thread=None) == chat()
