"""Tools, tool choice and their names."""

from __future__ import annotations

from typing import Any

import pytest

from providers.anthropic.models import ModelTable
from providers.errors import BadRequest
from providers.translate.chat_anthropic import AnthropicRequest, to_anthropic
from providers.translate.tools import CUSTOM_SCHEMA

TABLE = ModelTable()
USER = [{"role": "user", "content": "hi"}]
EMPTY = {"type": "object", "properties": {}}
F = {"type": "function", "function": {"name": "f"}}
G = {"type": "function", "function": {"name": "g"}}


def request(model: str = "claude-opus-5", **body: Any) -> AnthropicRequest:
    return to_anthropic({"messages": USER, **body}, model=model, info=TABLE.get(model))


def tools(*given: Any) -> Any:
    return request(tools=list(given)).body["tools"]


def refused(**body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        request(**body)
    return caught.value.param


def test_each_shape_of_a_tool_is_understood() -> None:
    schema = {"type": "object", "properties": {"p": {"type": "string"}}}
    expected = [{"name": "f", "description": "d", "input_schema": schema}]
    nested = {"name": "f", "description": "d", "parameters": schema}
    assert tools({"type": "function", "function": nested}) == expected
    assert tools({"function": nested}) == expected
    assert tools({"type": "function", **nested}) == expected
    shaped = {"name": "f", "description": "d", "input_schema": schema}
    assert tools(shaped) == expected
    assert tools({"type": "custom", **shaped}) == expected


def test_missing_parameters_are_an_empty_object() -> None:
    assert tools(F) == [{"name": "f", "input_schema": EMPTY}]
    for parameters in (None, {}, {"properties": None}):
        assert (
            tools({"type": "function", "function": {"name": "f", "parameters": parameters}})[0][
                "input_schema"
            ]
            == EMPTY
        )


def test_a_schema_that_is_not_strict_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"oneOf": [{"type": "string", "minLength": 2}]}},
        "x-note": 1,
    }
    assert (
        tools({"type": "function", "function": {"name": "f", "parameters": schema}})[0]["input_schema"]
        == schema
    )


def test_a_strict_tool_has_its_schema_brought_into_the_enforced_subset() -> None:
    schema = {"type": "object", "properties": {"p": {"type": "integer", "minimum": 1}}}
    tool = tools({"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}})[0]
    assert tool["strict"] is True
    assert tool["input_schema"] == {
        "type": "object",
        "properties": {"p": {"type": "integer", "description": '{"minimum":1}'}},
        "additionalProperties": False,
    }


def test_combinators_at_the_top_of_a_tools_schema_are_merged() -> None:
    branches = [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]
    schema = tools({"name": "f", "input_schema": {"type": "object", "anyOf": branches}})[0]["input_schema"]
    assert schema.keys() == {"type", "properties", "description"}
    assert schema["properties"].keys() == {"a", "b"}
    assert "anyOf" in schema["description"]


def test_a_custom_tool_takes_free_text_and_tells_of_its_grammar() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "x"'}}
    found = request(
        tools=[{"type": "custom", "custom": {"name": "p", "description": "d", "format": grammar}}]
    )
    tool = found.body["tools"][0]
    assert tool["input_schema"] == CUSTOM_SCHEMA
    assert tool["description"] == 'd\n\nThe input must match this lark grammar:\nstart: "x"'
    assert found.reply.custom_tools == {"p"}


def test_names_the_api_would_refuse_are_mapped_and_mapped_back() -> None:
    long, dotted, umlaut = "x" * 80, "mcp.server/tool", "größe"
    found = request(tools=[{"type": "function", "name": n} for n in (long, dotted, umlaut, "plain")])
    wire = [tool["name"] for tool in found.body["tools"]]
    assert wire[3] == "plain"
    assert len(set(wire)) == 4
    assert all(len(n) <= 64 and n.replace("_", "").replace("-", "").isalnum() and n.isascii() for n in wire)
    assert [found.reply.tool_names[n] for n in wire[:3]] == [long, dotted, umlaut]
    taken = request(tools=[{"type": "function", "name": dotted}, {"type": "function", "name": wire[1]}])
    assert len({tool["name"] for tool in taken.body["tools"]}) == 2


def test_the_history_uses_the_mapped_names_too() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "a.b", "arguments": "{}"}}
    found = request(
        messages=[*USER, {"role": "assistant", "tool_calls": [call]}],
        tools=[{"type": "function", "name": "a.b"}],
    )
    assert found.body["messages"][1]["content"][0]["name"] == found.body["tools"][0]["name"]


def test_a_history_with_calls_but_no_tools_is_given_stand_ins() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = request(messages=[*USER, {"role": "assistant", "tool_calls": [call, call]}])
    assert found.body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert found.body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("none", {"type": "none"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "g"}}, {"type": "tool", "name": "g"}),
        ({"type": "function", "name": "g"}, {"type": "tool", "name": "g"}),
        ({"type": "any"}, {"type": "any"}),
        ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
    ],
)
def test_each_tool_choice(choice: Any, expected: Any) -> None:
    found = request(tools=[F, G], tool_choice=choice)
    assert found.body.get("tool_choice") == expected
    assert found.dropped == ()
    assert len(found.body["tools"]) == 2


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_leave_only_those(mode: str) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "g"}}]}
    body = request(tools=[F, G], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).body
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any" if mode == "required" else "auto"}


@pytest.mark.parametrize(
    ("choice", "words"),
    [("required", "at least one of your tools"), ({"type": "function", "function": {"name": "f"}}, "`f`")],
)
def test_a_model_that_cannot_be_forced_is_told_instead(choice: Any, words: str) -> None:
    found = request("claude-opus-5-5", tools=[F, G], tool_choice=choice)
    assert found.body["tool_choice"] == {"type": "auto"}
    assert words in found.body["system"][-1]["text"]
    assert found.dropped == ("tool_choice",)


def test_one_call_at_a_time() -> None:
    single = {"type": "auto", "disable_parallel_tool_use": True}
    assert request(tools=[F], parallel_tool_calls=False).body["tool_choice"] == single
    assert "tool_choice" not in request(tools=[F], parallel_tool_calls=True).body
    required = request(tools=[F], parallel_tool_calls=False, tool_choice="required").body["tool_choice"]
    assert required == {"type": "any", "disable_parallel_tool_use": True}
    assert request(tools=[F], parallel_tool_calls=False, tool_choice="none").body["tool_choice"] == {
        "type": "none"
    }
    assert "tool_choice" not in request(parallel_tool_calls=False).body


def test_legacy_functions() -> None:
    found = request(functions=[{"name": "f", "parameters": EMPTY}], function_call={"name": "f"})
    assert found.body["tools"] == [{"name": "f", "input_schema": EMPTY}]
    assert found.body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert found.reply.legacy_functions
    unforced = request("claude-opus-5-5", functions=[{"name": "f"}], function_call={"name": "f"})
    assert unforced.dropped == ("function_call",)


def test_cache_markers_on_tools() -> None:
    tool = {**F, "cache_control": {"type": "ephemeral"}}
    assert tools(tool)[0]["cache_control"] == {"type": "ephemeral"}


def test_the_same_tool_twice_is_one_and_two_of_one_name_are_refused() -> None:
    assert len(tools(F, F)) == 1
    assert (
        refused(tools=[F, {"type": "function", "function": {"name": "f", "description": "other"}}])
        == "tools.1"
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": ["f"]}, "tools.0"),
        ({"tools": [{"type": "function", "function": "f"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools.0.parameters"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"type": "string"}}]},
            "tools.0.parameters.type",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"properties": 1}}]},
            "tools.0.parameters.properties",
        ),
        ({"tools": [{"type": "function", "name": "f", "description": 1}]}, "tools.0.description"),
        ({"tools": [{"type": "function", "name": "f", "strict": "yes"}]}, "tools.0.strict"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": ["function"], "name": "f"}]}, "tools.0.type"),
        ({"tools": [{**F, "cache_control": 1}]}, "tools.0.cache_control"),
        ({"functions": [{"name": 1}]}, "functions.0.name"),
        ({"tools": [F], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [F], "tool_choice": 1}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "function"}}, "tool_choice.name"),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
            "tool_choice.allowed_tools.tools",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [F], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)
def test_a_wrong_tool_is_refused_with_its_place(body: dict[str, Any], param: str) -> None:
    assert refused(**body) == param
