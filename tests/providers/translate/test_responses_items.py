"""Items of a Responses request as chat messages: turns, thinking, calls, their results."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.translate.chat_ollama import to_ollama
from providers.translate.messages import LATER
from providers.translate.reasoning_blob import Damaged, pack, unpack
from providers.translate.responses_chat import to_chat
from providers.types import ModelCapabilities, ModelInfo

MODEL = "claude-opus-5-5"
USER = {"role": "user", "content": "Hi"}
THINKING = {"type": "thinking", "thinking": "ä \n", "signature": "c2ln=="}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}


def messages(*items: Any, signed: bool = False) -> list[Any]:
    body = to_chat({"model": "m", "input": list(items)}, model=MODEL, signed=signed).body
    found: list[Any] = body["messages"]
    return found


def reasoning(block: Any, *, model: str = MODEL, summary: str = "") -> dict[str, Any]:
    told = [{"type": "summary_text", "text": summary}] if summary else []
    blob = pack(model, orjson.dumps(block)).decode()
    return {"type": "reasoning", "id": "rs_1", "summary": told, "encrypted_content": blob}


def said(*texts: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def called(call_id: str, name: str = "run", arguments: str = '{"a":1}', **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def returned(call_id: str, output: Any = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def test_one_answer_is_one_message_in_its_order_where_thinking_is_signed() -> None:
    found = messages(
        USER,
        reasoning(THINKING, summary="ä"),
        said("First."),
        called("toolu_1"),
        reasoning(REDACTED),
        said("Second.", "Third."),
        called("toolu_2", "stop", ""),
        returned("toolu_1"),
        returned("toolu_2"),
        signed=True,
    )
    assert found == [
        USER,
        {
            "role": "assistant",
            "content": [
                THINKING,
                {"type": "text", "text": "First."},
                {"type": "tool_use", "id": "toolu_1", "name": "run", "input": {"a": 1}},
                REDACTED,
                {"type": "text", "text": "Second."},
                {"type": "text", "text": "Third."},
                {"type": "tool_use", "id": "toolu_2", "name": "stop", "input": {}},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "ok"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "ok"},
    ]


def test_elsewhere_it_is_a_plain_chat_message() -> None:
    found = messages(
        USER,
        reasoning(None, model="qwen", summary="Hm."),
        said("First."),
        called("c1"),
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "***"},
        returned("c1"),
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
    )
    assert found == [
        USER,
        {
            "role": "assistant",
            "content": "First.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "run", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "***"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        {"role": "tool", "tool_call_id": "c2", "content": "done"},
    ]


def test_reasoning_without_a_summary_is_told_by_its_content() -> None:
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert messages(USER, item, said("x"))[1]["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    "item",
    [
        reasoning(THINKING, model="claude-sonnet-5-5"),
        reasoning(None),
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABpY2F="},
        {"type": "reasoning", "summary": [], "encrypted_content": None},
        {"type": "reasoning", "summary": []},
    ],
)
def test_thinking_of_others_is_left_out_and_leaves_no_gap(item: dict[str, Any]) -> None:
    found = messages(USER, item, said("x"), USER, reasoning(THINKING), said("y"), signed=True)
    assert found[1] == {"role": "assistant", "content": "x"}
    assert found[3]["content"][0] == THINKING


@pytest.mark.parametrize(
    "blob",
    ["gw1.", "gw1.!!!", "gw1.e30", reasoning(THINKING)["encrypted_content"][:-9], "gw1.bnVsbA", "gw1.é"],
)
def test_from_a_damaged_block_on_no_thinking_is_replayed(blob: str) -> None:
    with pytest.raises(Damaged):
        unpack(blob)
    damaged = {"type": "reasoning", "summary": [], "encrypted_content": blob}
    found = messages(
        USER,
        reasoning(THINKING),
        said("x"),
        USER,
        damaged,
        said("y"),
        USER,
        reasoning(REDACTED),
        said("z"),
        signed=True,
    )
    assert found[1]["content"][0] == THINKING
    assert [message["content"] for message in found[3::2]] == ["y", "z"]


def test_a_blob_that_holds_something_else_than_thinking_is_damaged() -> None:
    others: list[Any] = [
        {"type": "text", "text": "x"},
        {**THINKING, "extra": "x"},
        {**THINKING, "signature": 1},
    ]
    for block in (*others, [], "x"):
        with pytest.raises(Damaged):
            unpack(pack(MODEL, orjson.dumps(block)).decode())


def test_thinking_that_nothing_came_of_is_left_out() -> None:
    assert messages(USER, reasoning(THINKING), USER, signed=True) == [USER, USER]
    assert messages(USER, reasoning(None, summary="Hm."), USER) == [USER, USER]


def test_parts_have_their_names_in_a_chat() -> None:
    parts = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    expected = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        *parts[4:],
    ]
    assert messages({"role": "user", "content": parts})[0]["content"] == expected
    assert messages(called("c"), returned("c", parts))[1]["content"] == expected


def test_one_text_is_a_string_and_keeps_its_mark() -> None:
    text = {"type": "input_text", "text": "x"}
    assert messages({"role": "user", "content": [text]})[0]["content"] == "x"
    for given, mark in [
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, {"type": "ephemeral"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"cache_control": {"type": "ephemeral"}}, {"type": "ephemeral"}),
    ]:
        marked = messages({"role": "user", "content": [{**text, **given}]})
        assert marked[0]["content"] == [{"type": "text", "text": "x", "cache_control": mark}]


def test_a_refusal_is_said_text() -> None:
    item = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(USER, item)[1] == {"role": "assistant", "content": "No."}


def test_calls_of_the_clients_own_tools_are_calls_of_functions() -> None:
    found = messages(
        {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"], "timeout_ms": None}},
        {
            "type": "local_shell_call",
            "call_id": "c2",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "apply_patch_call", "call_id": "c3", "operation": {"type": "delete_file", "path": "a"}},
        {
            "type": "shell_call_output",
            "call_id": "c1",
            "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
        {"type": "local_shell_call_output", "id": "c2", "output": "b"},
        {"type": "apply_patch_call_output", "call_id": "c3", "status": "failed"},
        signed=True,
    )
    calls = found[0]["content"]
    assert [(call["name"], call["input"]) for call in calls] == [
        ("shell", {"commands": ["ls"]}),
        ("local_shell", {"type": "exec", "command": ["ls"], "env": {}}),
        ("apply_patch", {"type": "delete_file", "path": "a"}),
    ]
    assert [message["tool_call_id"] for message in found[1:]] == ["c1", "c2", "c3"]
    assert orjson.loads(found[1]["content"])[0]["stdout"] == "a"
    assert found[2]["content"] == "b"
    assert (found[3]["content"], found[3]["is_error"]) == ("failed", True)


def test_items_that_only_openai_understands_are_left_out_and_named() -> None:
    items = [USER, {"type": "compaction", "encrypted_content": "x"}, {"type": "of_tomorrow"}, said("x")]
    request = to_chat({"model": "m", "input": items}, model=MODEL, signed=True)
    assert [message["role"] for message in request.body["messages"]] == ["user", "assistant"]
    assert request.dropped == ("input.compaction", "input.of_tomorrow")


def test_messages_of_other_dialects_are_understood() -> None:
    chat: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Look.", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "c2", "type": "custom", "custom": {"name": "p", "input": "x"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "ok"}]},
    ]  # fmt: skip
    assert messages(USER, *chat)[1:] == [*chat[:2], {**chat[2], "content": "ok"}]
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": "c1", "is_error": True}
    claudes = [
        {"role": "assistant", "content": [
            THINKING,
            {"type": "text", "text": "Look."},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "ä"}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "Well?"},
            {**result, "content": [{"type": "text", "text": "no"}]},
        ]},
    ]  # fmt: skip
    assert messages(USER, *claudes, signed=True)[1:] == [
        claudes[0],
        {"role": "tool", "tool_call_id": "c1", "content": "no", "is_error": True},
        {"role": "user", "content": "Well?"},
    ]
    plain = messages(USER, *claudes)[1]
    assert (plain["reasoning_content"], plain["content"]) == ("ä \n", "Look.")
    assert plain["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":"ä"}'}


def test_a_call_that_returns_more_than_once_has_one_result() -> None:
    found = messages(
        USER, called("a"), called("b"), returned("a", "1"), returned("b", "x"), returned("a", "2")
    )
    assert found[2:] == [
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
        },
        {"role": "tool", "tool_call_id": "b", "content": "x"},
    ]


def test_what_a_call_returns_later_comes_behind_the_results_of_the_turn() -> None:
    found = messages(
        USER,
        called("a"),
        returned("a", "1"),
        called("b"),
        returned("a", "2"),
        returned("b", "x"),
        said("Done."),
    )
    assert [message["role"] for message in found] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "user",
        "assistant",
    ]
    assert found[5]["content"][1] == {"type": "text", "text": "2"}


def test_a_picture_that_a_call_returns_later_is_no_refusal_by_a_model_that_sees_none() -> None:
    shown = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    found = messages(
        USER,
        called("a"),
        returned("a", "1"),
        called("b"),
        returned("b", "x"),
        said("Go on."),
        returned("a", [shown]),
        signed=False,
    )
    blind = ModelInfo("m", "ollama", capabilities=ModelCapabilities(images=False, pdf=False))
    told = to_ollama({"messages": found}, model="m", info=blind).body["messages"]
    assert told[-1]["content"].startswith(LATER)
    assert "which this model cannot see" in told[-1]["content"]


def test_whatever_a_call_returned_that_nobody_has_made_is_the_result_of_a_call() -> None:
    answer = {"role": "assistant", "content": "One."}
    found = messages(USER, returned("x", "1"), answer, returned("x", "2"), signed=False)
    assert [message["role"] for message in found] == ["user", "tool", "assistant", "tool"]
    told = to_ollama({"messages": found}, model="m", info=ModelInfo("m", "ollama")).body["messages"]
    assert [message["content"] for message in told] == ["Hi", "One."]


def test_an_id_that_is_used_again_is_another_call() -> None:
    found = messages(USER, called("0"), returned("0", "1"), called("0"), returned("0", "2"))
    assert [message["content"] for message in found if message["role"] == "tool"] == ["1", "2"]


def test_tools_that_an_item_brings_are_declared_and_not_missed() -> None:
    tools = [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]
    items = [{"type": "additional_tools", "role": "developer", "tools": tools}, USER]
    request = to_chat({"model": "m", "input": items}, model=MODEL, signed=True)
    assert request.body["tools"] == [{"type": "custom", "custom": {"name": "functions__exec"}}]
    assert (request.body["messages"], request.dropped) == ([USER], ())
