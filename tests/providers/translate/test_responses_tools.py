"""Tools of a Responses request as those of a chat, and the way back of their names."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import BadRequest
from providers.translate.responses_chat import ResponsesRequest, to_chat

from .responses_events import finished, writer


def asked(*tools: Any, **body: Any) -> ResponsesRequest:
    return to_chat(
        {"model": "m", "input": "Hi", "tools": list(tools), **body}, model="claude-opus-5-5", signed=True
    )


def names(request: ResponsesRequest) -> list[str]:
    return [tool[tool["type"]]["name"] for tool in request.body["tools"]]


def answered(request: ResponsesRequest, name: str, *, custom: bool = False) -> dict[str, Any]:
    """The item of a call of the tool that the chat calls ``name``."""
    made = writer(request.writer, streaming=False)
    made.call(0, "c", name, custom=custom)
    made.arguments(0, [b"{}"], custom=custom)
    item: dict[str, Any] = finished(made, "tool_calls")[1]["output"][0]
    return item


FUNCTION = {
    "type": "function",
    "name": "run",
    "description": "Runs.",
    "parameters": {"type": "object"},
    "strict": True,
}
CUSTOM = {
    "type": "custom",
    "name": "apply_patch",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
}


def test_functions_and_custom_tools_are_nested_in_a_chat() -> None:
    assert asked(FUNCTION, CUSTOM, {"type": "custom", "name": "free", "format": {"type": "text"}}).body[
        "tools"
    ] == [
        {
            "type": "function",
            "function": {
                "name": "run",
                "description": "Runs.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        },
        {
            "type": "custom",
            "custom": {
                "name": "apply_patch",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}},
            },
        },
        {"type": "custom", "custom": {"name": "free", "format": {"type": "text"}}},
    ]


def test_tools_of_chat_and_anthropic_shape_are_taken_too() -> None:
    chat = {"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}
    request = asked(
        chat, {"name": "b", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}
    )
    assert request.body["tools"] == [
        chat,
        {
            "type": "function",
            "function": {"name": "b", "parameters": {"type": "object"}},
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_a_namespace_is_flattened_and_given_back() -> None:
    space = {"type": "namespace", "name": "agents", "description": "d", "tools": [FUNCTION, CUSTOM]}
    request = asked(space)
    assert names(request) == ["agents__run", "agents__apply_patch"]
    item = answered(request, "agents__run")
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "agents", "run")
    item = answered(request, "agents__apply_patch", custom=True)
    assert (item["type"], item["namespace"], item["name"]) == ("custom_tool_call", "agents", "apply_patch")
    assert "namespace" not in answered(asked(FUNCTION), "run")


def test_no_two_tools_share_a_name() -> None:
    def space(name: str, *tools: str) -> dict[str, Any]:
        return {
            "type": "namespace",
            "name": name,
            "tools": [{"type": "function", "name": tool} for tool in tools],
        }

    request = asked(
        space("a", "b__c", "b"),
        space("a__b", "c"),
        space("mcp.server", "größe", "x" * 70),
        {"type": "function", "name": "a__b"},
        {"type": "shell"},
        {"type": "function", "name": "shell"},
    )
    found = names(request)
    assert len(set(found)) == len(found) == 8
    assert all(name.isascii() and len(name) <= 64 for name in found)
    back = [answered(request, name) for name in found]
    assert [(item.get("namespace"), item.get("name"), item["type"]) for item in back] == [
        ("a", "b__c", "function_call"),
        ("a", "b", "function_call"),
        ("a__b", "c", "function_call"),
        ("mcp.server", "größe", "function_call"),
        ("mcp.server", "x" * 70, "function_call"),
        (None, "a__b", "function_call"),
        (None, None, "shell_call"),
        (None, "shell", "function_call"),
    ]


def test_a_call_in_the_history_has_the_name_of_its_tool() -> None:
    space = {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "t"}]}
    call = {"type": "function_call", "call_id": "c", "name": "t", "namespace": "ns", "arguments": "{}"}
    request = asked(space, input=[{"role": "user", "content": "x"}, call])
    assert request.body["messages"][1]["content"][0]["name"] == "ns__t" == names(request)[0]


def test_tools_found_by_a_search_are_declared_behind_the_others() -> None:
    found = {
        "type": "tool_search_output",
        "tools": [{"type": "function", "name": "new", "defer_loading": True}, FUNCTION],
    }
    request = asked(FUNCTION, {"type": "tool_search"}, input=[{"role": "user", "content": "x"}, found])
    assert names(request) == ["run", "new"]
    assert request.dropped == ("tools.tool_search", "input.tool_search_output")


def test_a_shell_in_a_container_of_openais_is_left_out() -> None:
    assert names(asked({"type": "shell", "environment": {"type": "local"}})) == ["shell"]
    request = asked({"type": "shell", "environment": {"type": "container_auto"}})
    assert "tools" not in request.body
    assert request.dropped == ("tools.shell",)


def test_two_different_tools_of_one_name_are_refused() -> None:
    assert names(asked(FUNCTION, FUNCTION)) == ["run"]
    with pytest.raises(BadRequest) as caught:
        asked(FUNCTION, {**FUNCTION, "description": "Walks."})
    assert caught.value.param == "tools.1"


SPACE = {
    "type": "namespace",
    "name": "ns",
    "tools": [{"type": "function", "name": "t"}, {"type": "function", "name": "u"}],
}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "run"}, {"type": "function", "function": {"name": "run"}}),
        ({"type": "custom", "name": "apply_patch"}, {"type": "custom", "custom": {"name": "apply_patch"}}),
        (
            {"type": "function", "name": "t", "namespace": "ns"},
            {"type": "function", "function": {"name": "ns__t"}},
        ),
        ({"type": "shell"}, {"type": "function", "function": {"name": "shell"}}),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [
                    {"type": "function", "name": "run"},
                    {"type": "mcp"},
                    {"type": "namespace", "name": "ns"},
                ],
            },
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "run"}},
                        {"type": "function", "function": {"name": "ns__t"}},
                        {"type": "function", "function": {"name": "ns__u"}},
                    ],
                },
            },
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}, "none"),
    ],
)
def test_a_choice_names_the_tools_of_the_chat(choice: Any, expected: Any) -> None:
    request = asked(FUNCTION, CUSTOM, SPACE, {"type": "shell"}, {"type": "web_search"}, tool_choice=choice)
    assert request.body["tool_choice"] == expected
    assert "tool_choice" not in request.dropped


@pytest.mark.parametrize("choice", [{"type": "web_search"}, {"type": "mcp", "server_label": "x"}, "required"])
def test_a_choice_of_what_only_openai_runs_is_dropped_and_named(choice: Any) -> None:
    request = asked({"type": "web_search"}, tool_choice=choice)
    assert "tool_choice" not in request.body
    assert request.dropped == ("tool_choice", "tools.web_search")
