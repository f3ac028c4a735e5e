"""Tools of a Messages request: functions, and what only Anthropic could run."""

from __future__ import annotations

from typing import Any

import pytest

from providers.translate.messages_tools import is_strict

from .test_messages_chat import HI, TOOL, chat, refused

READ = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "Reads.",
        "parameters": {"type": "object", "properties": {}},
    },
}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


def deferred(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}, "defer_loading": True}


def names(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def test_a_tool_is_a_function_under_its_own_name() -> None:
    long = {"type": "custom", "name": "mcp__server__do.it" + "x" * 80, "input_schema": {"type": "object"}}
    body = chat(tools=[TOOL, long]).body
    assert body["tools"][0] == READ
    assert names(body) == ["read", long["name"]]


def test_a_tool_without_a_schema_takes_any_object() -> None:
    tool = chat(tools=[{"name": "now"}]).body["tools"][0]
    assert tool["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}


def test_a_cache_marker_stays_on_its_tool() -> None:
    marked = {**TOOL, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}
    assert chat(tools=[marked]).body["tools"] == [{**READ, "cache_control": {"type": "ephemeral"}}]


def test_strict_is_kept_where_openai_could_enforce_it() -> None:
    closed: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    closed["additionalProperties"] = False
    tools = [
        {"name": "a", "input_schema": closed, "strict": True},
        {"name": "b", "input_schema": {"type": "object"}, "strict": True},
        {"name": "c", "input_schema": closed, "strict": False},
    ]
    assert ["strict" in tool["function"] for tool in chat(tools=tools).body["tools"]] == [True, False, False]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "string"}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, False),
        ({"$defs": {"x": {"properties": {"a": True}, "additionalProperties": False}}}, False),
        (
            {
                "type": "object",
                "properties": {"properties": {"type": "string"}},
                "required": ["properties"],
                "additionalProperties": False,
            },
            True,
        ),
        ({"type": "object", "properties": 5, "additionalProperties": False}, False),
    ],
)
def test_a_schema_is_strict_if_every_object_in_it_is(schema: Any, strict: bool) -> None:
    assert is_strict(schema) is strict


def test_a_schema_without_end_is_not_strict() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5_000):
        schema = {"anyOf": [schema]}
    assert not is_strict(schema)


def test_tools_that_run_at_anthropic_are_left_out_and_named() -> None:
    toolset = {"type": "mcp_toolset", "mcp_server_name": "jira"}
    caller = {**TOOL, "name": "sum", "allowed_callers": ["code_execution_20260120"]}
    found = chat(tools=[SEARCH, TOOL, toolset, caller, {**TOOL, "name": "b", "allowed_callers": ["direct"]}])
    assert names(found.body) == ["read", "b"]
    assert found.dropped == ("tools.web_search", "tools.jira", "tools.sum")


def test_without_any_tool_left_there_are_no_tools() -> None:
    assert "tools" not in chat(tools=[]).body
    assert "tools" not in chat(tools=[SEARCH]).body


def test_a_deferred_tool_is_told_once_a_search_has_found_it() -> None:
    tools = [deferred("a"), TOOL, deferred("b"), deferred("c")]
    found = chat(tools=tools)
    assert names(found.body) == ["read"]
    assert found.dropped == ("tools.defer_loading",)

    call = {"type": "tool_use", "id": "t1", "name": "read", "input": {}}
    reference = {"type": "tool_reference", "tool_name": "c"}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [reference]}
    talk = [*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    found = chat(tools=tools, messages=talk)
    assert names(found.body) == ["read", "c"]
    assert found.body["messages"][-1]["content"] == "The tool c can be called now."

    talk += [{"role": "assistant", "content": [{**call, "name": "a"}]}, *HI]
    found = chat(tools=tools, messages=talk)
    assert names(found.body) == ["read", "c", "a"], "those that were there before keep their place"

    talk += [{"role": "system", "content": [{"type": "tool_addition", "tool": {"tool_name": "b"}}]}]
    found = chat(tools=tools, messages=talk)
    assert names(found.body) == ["read", "c", "a", "b"]
    assert found.dropped == ()


def test_a_tool_that_a_message_brings_along_stands_behind_the_others() -> None:
    def brought(name: str) -> dict[str, Any]:
        definition = {"type": "tool_definition", "definition": {**TOOL, "name": name}}
        return {"role": "system", "content": [{"type": "tool_addition", "tool": definition}]}

    talk = [*HI, brought("write"), {"role": "assistant", "content": "ok"}, *HI, brought("read"), brought("a")]
    found = chat(messages=talk, tools=[deferred("late"), TOOL])
    assert names(found.body) == ["read", "write", "a"]
    assert found.body["messages"][1]["content"] == "The tool write can be called now."
    wrong = {"type": "tool_definition", "definition": {"name": "x", "input_schema": 5}}
    refused(
        "messages.1.content.0.tool.definition.input_schema",
        messages=[*HI, {"role": "system", "content": [{"type": "tool_addition", "tool": wrong}]}],
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "read"},
            {"tool_choice": {"type": "function", "function": {"name": "read"}}},
        ),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
    ],
)
def test_a_choice_of_tools_is_the_same_choice(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    body = chat(tools=[TOOL], tool_choice=choice).body
    assert {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body} == expected


def test_a_choice_among_no_tools_is_left_out_and_a_demand_for_one_is_refused() -> None:
    assert chat(tool_choice={"type": "auto"}) == chat()
    refused("tool_choice", tool_choice={"type": "any"})
    refused("tool_choice.name", tools=[TOOL], tool_choice={"type": "tool", "name": "write"})


def test_a_demand_for_a_tool_that_was_left_out_is_left_out_and_named() -> None:
    for choice in ({"type": "tool", "name": "web_search"}, {"type": "any"}):
        found = chat(tools=[SEARCH], tool_choice=choice)
        assert "tool_choice" not in found.body
        assert found.dropped == ("tool_choice", "tools.web_search")


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("tools", {"tools": {}}),
        ("tools.0", {"tools": ["read"]}),
        ("tools.0.name", {"tools": [{"input_schema": {}}]}),
        ("tools.0.name", {"tools": [{"name": "", "input_schema": {}}]}),
        ("tools.0.type", {"tools": [{"name": "a", "type": 5}]}),
        ("tools.0.description", {"tools": [{"name": "a", "description": 5}]}),
        ("tools.1.input_schema", {"tools": [TOOL, {"name": "a", "input_schema": "{}"}]}),
        ("tools.0.strict", {"tools": [{**TOOL, "strict": "yes"}]}),
        ("tools.0.allowed_callers", {"tools": [{**TOOL, "allowed_callers": "direct"}]}),
        ("tool_choice", {"tools": [TOOL], "tool_choice": "auto"}),
        ("tool_choice.type", {"tools": [TOOL], "tool_choice": {"type": "all"}}),
        ("tool_choice.name", {"tools": [TOOL], "tool_choice": {"type": "tool"}}),
        (
            "tool_choice.disable_parallel_tool_use",
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}},
        ),
    ],
)
def test_what_is_wrong_with_a_tool_is_named_by_its_place(param: str, body: dict[str, Any]) -> None:
    refused(param, **body)
