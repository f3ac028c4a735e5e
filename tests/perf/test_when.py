"""A scripted answer waits for the request that its condition describes, and lets others pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perf.simulated.api import Api
from perf.simulated.ledger import Received
from perf.simulated.scenario import Scenario, directive, from_json
from perf.simulated.when import When

HEADERS = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
WRITE = {"name": "Write", "input_schema": {"type": "object", "properties": {}}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Write", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "written"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def ask(api: Api, *messages: dict[str, Any], path: str = "/v1/messages", **fields: Any) -> str:
    """The text of the answer to a conversation."""
    request = {"model": "claude-opus-5", "max_tokens": 4000, "messages": list(messages), **fields}
    program = api.handle(Received("POST", path, HEADERS, json.dumps(request).encode(), "req_1"))
    answer = json.loads(program.head.partition(b"\r\n\r\n")[2])
    return (
        "".join(block["text"] for block in answer["content"]) if "content" in answer else json.dumps(answer)
    )


def scripted(*scenarios: dict[str, Any]) -> Api:
    api = Api()
    api.script(from_json(scenario) for scenario in scenarios)
    return api


def test_an_answer_for_a_tool_waits_for_the_request_that_offers_it() -> None:
    api = scripted({"text": "written", "when": {"tool": "Write"}}, {"text": "A title"})
    assert ask(api, user("title, please")) == "A title"
    assert "written" not in ask(api, user("another title"))
    assert ask(api, user("go"), tools=[WRITE]) == "written"
    assert not api.scripted


def test_answers_with_the_same_condition_keep_their_order() -> None:
    api = scripted(*({"text": text, "when": {"says": "go"}} for text in ("one", "two")))
    assert [ask(api, user("go")), ask(api, user("go on"))] == ["one", "two"]


def test_a_reminder_is_not_what_the_user_says() -> None:
    reminder = "<system-reminder>\nYou are in a folder.\n</system-reminder>"
    for turns in (
        [user("go"), user(reminder)],
        [user([{"type": "text", "text": "go"}, {"type": "text", "text": reminder}])],
    ):
        assert When(says="go").holds({"messages": turns})
        assert not When(says="folder").holds({"messages": turns})


def test_a_result_is_told_from_what_the_user_says() -> None:
    api = scripted(
        {"text": "done", "when": {"result": True, "says": "change it"}},
        {"text": "first", "when": {"result": False}},
    )
    conversation = [user("change it"), {"role": "assistant", "content": [CALL]}, user([RESULT])]
    assert ask(api, user("change it"), tools=[WRITE]) == "first"
    assert ask(api, *conversation, tools=[WRITE]) == "done"


def test_a_condition_reads_chat_requests_too() -> None:
    chat = {
        "messages": [
            {"role": "system", "content": "You are terse."},
            user([{"type": "text", "text": "change it"}]),
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "call_1", "content": "written"},
        ],
        "tools": [{"type": "function", "function": {"name": "Write", "parameters": {}}}],
    }
    assert When(tool="Write", says="change", system="terse", result=True).holds(chat)
    for other in (When(tool="Edit"), When(says="written"), When(system="chatty"), When(result=False)):
        assert not other.holds(chat)


@pytest.mark.parametrize(
    "request_body",
    [None, [], "text", {"messages": [None, {"content": [1]}]}, {"tools": [None, {"function": "Write"}]}],
)
def test_a_request_without_sense_is_nobodys(request_body: Any) -> None:
    assert not When(tool="Write").holds(request_body)
    assert not When(says="go").holds(request_body)


def test_a_body_that_is_no_json_leaves_the_script_alone() -> None:
    api = scripted({"text": "later", "when": {"says": "go"}})
    program = api.handle(Received("POST", "/v1/messages", HEADERS, b"{", "req_1"))
    assert program.status == 400
    assert len(api.scripted) == 1


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("Write", "when: expected a JSON object"),
        ({"tools": "Write"}, "when: unknown field 'tools'"),
        ({"tool": 1}, "when.tool: expected a text"),
        ({"result": "yes"}, "when.result: expected true or false"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(when: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json({"when": when})


def test_an_answer_with_a_condition_outlives_a_refusal() -> None:
    api = scripted({"text": "one", "when": {"says": "go"}}, {"text": "two", "when": {"says": "go"}})
    body = {"model": "claude-opus-5", "messages": [user("go")]}
    program = api.handle(Received("POST", "/v1/messages", HEADERS, json.dumps(body).encode(), "req_1"))
    assert program.status == 400  # no max_tokens
    assert [ask(api, user("go")), ask(api, user("go"))] == ["one", "two"]


def test_a_scripted_error_is_given_once() -> None:
    api = scripted({"status": 529, "when": {"says": "go"}}, {"text": "two", "when": {"says": "go"}})
    body = {"model": "claude-opus-5", "max_tokens": 9, "messages": [user("go")]}
    program = api.handle(Received("POST", "/v1/messages", HEADERS, json.dumps(body).encode(), "req_1"))
    assert program.status == 529
    assert ask(api, user("go")) == "two"


def test_a_directive_has_no_condition() -> None:
    assert directive("[sim tokens=3]") == Scenario(tokens=3)
    with pytest.raises(ValueError, match="when"):
        directive("[sim when=Write]")


def test_the_control_endpoint_tells_what_still_waits() -> None:
    api = scripted({"text": "a"}, {"text": "b", "when": {"says": "go"}})
    program = api.handle(Received("GET", "/_sim/script", {}, b"", "req_1"))
    assert json.loads(program.head.partition(b"\r\n\r\n")[2]) == {"scripted": 2}
