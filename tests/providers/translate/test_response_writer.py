"""Answers in the Responses dialect: the events, the whole response, and what the real SDK makes of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.ollama_chat import OllamaTranslator
from providers.translate.reasoning_blob import unpack
from providers.translate.response_items import CallName
from providers.translate.response_writer import ResponseWriter

from . import events as claude
from . import ollama_answers as ollama
from .responses_events import accumulated, events, finished, kinds, writer

SIGNED = partial(ResponseWriter, model="claude-opus-5-5", signed=True)
STRICT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def streamed(make: Any, data: bytes, *, step: int = 0, **shape: Any) -> bytes:
    """``data`` translated, read in pieces of ``step`` bytes (0: at once)."""
    translator = make(model="opus", shape=ReplyShape(**shape), streaming=True, writer=SIGNED)
    pieces = [data[i : i + step] for i in range(0, len(data), step)] if step else [data]
    out: bytes = b"".join(map(translator.feed, pieces)) + translator.end()
    assert translator.failure is None
    return out


def whole(make: Any, data: bytes, **shape: Any) -> dict[str, Any]:
    translator = make(model="opus", shape=ReplyShape(**shape), streaming=False, writer=SIGNED)
    assert translator.feed(data) == b""
    found: dict[str, Any] = translator.completion()
    return found


def comparable(response: dict[str, Any]) -> dict[str, Any]:
    """``response`` without what differs from one answer to the next."""
    text = orjson.dumps({**response, "created_at": 0}).decode()
    return orjson.loads(text.replace(response["id"].removeprefix("resp_"), "ID"))  # type: ignore[no-any-return]


ANSWERS = [
    *((ChatTranslator, data) for data in claude.GOLDEN.values()),
    *((OllamaTranslator, data) for data in ollama.GOLDEN.values()),
]


def test_a_text_is_told_from_created_to_completed() -> None:
    found = events(streamed(ChatTranslator, claude.GOLDEN["text"]))
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [e["delta"] for e in found if e["type"].endswith(".delta")] == [
        "Hel",
        "lo",
        ' "wörld"\n',
        "\\ 👋",
    ]
    response = found[-1]["response"]
    assert response["status"] == "completed"
    assert response["output"] == [
        {
            "id": "msg_01AbC_0",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "annotations": [], "logprobs": [], "text": 'Hello "wörld"\n\\ 👋'}
            ],
        }
    ]


def test_calls_and_thinking_are_items_of_their_own() -> None:
    response = whole(ChatTranslator, claude.GOLDEN["thinking_and_tool"])
    thought, hidden, call = response["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "The user wants it."}]
    block = {"type": "thinking", "thinking": "The user wants it.", "signature": "c2ln"}
    assert unpack(thought["encrypted_content"]) == ("claude-opus-5-5", block)
    assert hidden["summary"] == []
    assert unpack(hidden["encrypted_content"]) == (
        "claude-opus-5-5",
        {"type": "redacted_thinking", "data": "xyz"},
    )
    assert call == {
        "id": "fc_01AbC_2",
        "status": "completed",
        "type": "function_call",
        "call_id": "toolu_1",
        "name": "run",
        "arguments": '{"cmd": "a"}',
    }
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": 9}


def test_the_events_of_thinking_and_of_a_call() -> None:
    found = events(streamed(ChatTranslator, claude.GOLDEN["thinking_and_tool"]))
    assert kinds(found)[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",  # what only Claude can read
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]


def test_a_tool_without_arguments_says_an_empty_object() -> None:
    for name in ("empty_tool", "silent_tool"):
        assert whole(ChatTranslator, claude.GOLDEN[name])["output"][0]["arguments"] == "{}"


def test_an_answer_that_the_limit_cut_is_incomplete_and_so_is_its_last_item() -> None:
    found = events(streamed(ChatTranslator, claude.GOLDEN["max_tokens"]))
    assert found[-1]["type"] == "response.incomplete"
    response = found[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    assert response["output"][-1]["status"] == "incomplete"
    assert found[-2]["item"] == response["output"][-1]


def test_a_refusal_is_a_part_of_its_own_and_the_response_incomplete() -> None:
    found = events(streamed(ChatTranslator, claude.GOLDEN["refusal"]))
    assert kinds(found)[-6:] == [
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    response = found[-1]["response"]
    assert response["incomplete_details"] == {"reason": "content_filter"}
    assert response["output"][1]["content"] == [{"type": "refusal", "refusal": "Not this."}]


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = whole(ChatTranslator, claude.GOLDEN["usage"])["usage"]
    assert usage == {
        "input_tokens": 119,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7},
        "output_tokens": 42,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 161,
    }


@pytest.mark.parametrize(("make", "data"), ANSWERS)
def test_the_last_event_holds_what_the_whole_response_is(make: Any, data: bytes) -> None:
    shape: dict[str, Any] = {"custom_tools": frozenset({"patch"})}
    response = events(streamed(make, data, **shape))[-1]["response"]
    assert comparable(response) == comparable(whole(make, data, **shape))


@pytest.mark.parametrize(("make", "data"), ANSWERS)
def test_every_event_is_what_the_sdk_declares(make: Any, data: bytes) -> None:
    for event in events(streamed(make, data, custom_tools=frozenset({"patch"}))):
        STRICT.validate_python(event, strict=False)


@pytest.mark.parametrize(("make", "data"), ANSWERS)
def test_the_sdk_gathers_from_the_deltas_what_the_response_holds(make: Any, data: bytes) -> None:
    out = streamed(make, data, custom_tools=frozenset({"patch"}))
    last, texts = accumulated(out)
    response = events(out)[-1]["response"]
    assert [item.id for item in last.response.output] == [item["id"] for item in response["output"]]
    expected = {
        item["id"]: item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        for item in response["output"]
        if item["type"] == "function_call" or (item["type"] == "message" and "text" in item["content"][0])
    }
    assert texts == expected


@pytest.mark.parametrize("step", [1, 7, 64])
@pytest.mark.parametrize(("make", "data"), ANSWERS)
def test_how_the_bytes_arrive_changes_nothing(make: Any, data: bytes, step: int) -> None:
    once = events(streamed(make, data))
    pieces = events(streamed(make, data, step=step))
    assert [e.get("delta") for e in pieces] == [e.get("delta") for e in once]
    assert comparable(pieces[-1]["response"]) == comparable(once[-1]["response"])


def test_parts_that_a_close_divides_are_items_of_their_own() -> None:
    made = writer(SIGNED)
    out = b""
    for _ in range(2):
        made.expect(reasoning=False)
        out += made.token(b"a") + made.token(b"b")
        made.close()
    found, response = finished(made, before=out)
    assert kinds(found).count("output_item.done") == 2
    assert [item["content"][0]["text"] for item in response["output"]] == ["ab", "ab"]


def test_without_a_close_a_text_goes_on_until_something_else_comes() -> None:
    made = writer(SIGNED, streaming=False)
    made.reasoning([b"x"])
    made.text([b"a"])
    made.expect(reasoning=False)
    assert made.token(b"b") == b""
    made.expect(reasoning=True)
    made.token(b"y")
    made.token(b"z")
    made.text([b"c"])
    _, response = finished(made)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "reasoning", "message"]
    assert response["output"][2]["summary"][0]["text"] == "yz"


def test_calls_written_side_by_side_keep_their_arguments() -> None:
    made = writer(SIGNED)
    made.call(0, "a", "f", custom=False)
    made.arguments(0, [b"{"], custom=False)
    made.call(1, "b", "g", custom=False)
    made.arguments(1, [b"[]"], custom=False)
    made.arguments(0, [b"}"], custom=False)
    found, response = finished(made, "tool_calls")
    assert [item["arguments"] for item in response["output"]] == ["{}", "[]"]
    assert [e["output_index"] for e in found if e["type"] == "response.output_item.done"] == [0, 1]


def test_a_custom_tool_is_given_its_text_and_a_namespace_its_name_back() -> None:
    names = {"ns__t": CallName("function_call", "t", "ns"), "n__p": CallName("custom_tool_call", "p", "n")}
    made = writer(partial(SIGNED, tools=names))
    made.call(0, "a", "patch", custom=True)
    made.arguments(0, [b"*** Begin", b"\\n"], custom=True)
    made.call(1, "b", "ns__t", custom=False)
    made.arguments(1, [b"{}"], custom=False)
    made.call(2, "c", "n__p", custom=True)
    made.arguments(2, [b"x"], custom=True)
    found, response = finished(made, "tool_calls")
    custom, named, both = response["output"]
    assert (custom["type"], custom["name"], custom["input"]) == (
        "custom_tool_call",
        "patch",
        "*** Begin\n",
    )
    assert (named["name"], named["namespace"], named["arguments"]) == ("t", "ns", "{}")
    assert (both["type"], both["name"], both["namespace"], both["input"]) == (
        "custom_tool_call",
        "p",
        "n",
        "x",
    )
    deltas = [e["delta"] for e in found if e["type"] == "response.custom_tool_call_input.delta"]
    assert deltas == ["*** Begin", "\n", "x"]


@pytest.mark.parametrize(
    ("kind", "arguments", "field", "action"),
    [
        (
            "shell_call",
            {"commands": ["ls", 3], "timeout_ms": 5},
            "action",
            {"commands": ["ls"], "timeout_ms": 5},
        ),
        (
            "local_shell_call",
            {"command": ["ls"], "env": {"A": "b", "C": 1}, "working_directory": "/x"},
            "action",
            {"type": "exec", "command": ["ls"], "env": {"A": "b"}, "working_directory": "/x"},
        ),
        (
            "apply_patch_call",
            {"type": "update_file", "path": "a", "diff": "@@\n+x"},
            "operation",
            {"type": "update_file", "path": "a", "diff": "@@\n+x"},
        ),
        (
            "apply_patch_call",
            {"type": "delete_file", "path": "a", "diff": "x"},
            "operation",
            {"type": "delete_file", "path": "a"},
        ),
    ],
)
def test_a_tool_of_the_clients_own_is_called_in_its_own_shape(
    kind: str, arguments: Any, field: str, action: Any
) -> None:
    made = writer(partial(SIGNED, tools={"it": CallName(kind, "it")}))
    made.call(0, "call_1", "it", custom=False)
    made.arguments(0, [orjson.dumps(orjson.dumps(arguments).decode())[1:-1]], custom=False)
    made.close()
    found, response = finished(made, "tool_calls")
    (item,) = response["output"]
    assert (item["type"], item["call_id"], item["status"]) == (kind, "call_1", "completed")
    assert item[field] == action
    for event in found:
        STRICT.validate_python(event)
    assert kinds(found)[-3:] == ["output_item.added", "output_item.done", "completed"]


def test_a_command_that_was_cut_is_never_run() -> None:
    made = writer(partial(SIGNED, tools={"it": CallName("shell_call", "shell")}))
    made.call(0, "call_1", "it", custom=False)
    made.arguments(0, [b'{\\"commands\\":[\\"rm -r'], custom=False)
    _, response = finished(made, "stop")
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["action"] == {"commands": []}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("context_length_exceeded", "context_length_exceeded"),
        ("upstream_truncated", "server_error"),
        ("", "server_error"),
    ],
)
def test_a_stream_that_breaks_off_ends_with_response_failed(code: str, told: str) -> None:
    made = writer(SIGNED)
    made.expect(reasoning=False)
    data = made.take() + made.token(b"half") + made.failed(code, 'It "broke"')
    found = events(data)
    assert found[-1]["type"] == "response.failed"
    response = found[-1]["response"]
    assert (response["status"], response["error"]) == ("failed", {"code": told, "message": 'It "broke"'})
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "half"
    last, _ = accumulated(data)
    assert last.type == "response.failed"


def test_a_failure_before_the_answer_has_begun_is_told_too() -> None:
    made = SIGNED(streaming=True, include_usage=False, legacy=False)
    assert kinds(events(made.failed("x", "y"))) == ["created", "in_progress", "failed"]


def test_thinking_that_was_cut_off_claims_no_signature() -> None:
    made = writer(SIGNED, streaming=False)
    made.reasoning([b"hm"])
    _, response = finished(made, "length")
    assert response["output"][0]["encrypted_content"] is None


def test_thinking_without_signatures_is_marked_all_the_same() -> None:
    # The Vercel AI SDK throws reasoning away that has no `encrypted_content`.
    made = writer(partial(ResponseWriter, model="qwen"), streaming=False)
    made.reasoning([b"hm"])
    _, response = finished(made)
    assert unpack(response["output"][0]["encrypted_content"]) == ("qwen", None)
    assert response["output"][0]["summary"][0]["text"] == "hm"


def test_signatures_without_a_text_are_kept() -> None:
    made = writer(SIGNED, streaming=False)
    made.signature(b"c2")
    made.signature(b"ln")
    made.close()
    made.text([b"x"])
    _, response = finished(made)
    thought = response["output"][0]
    assert thought["summary"] == []
    block = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert unpack(thought["encrypted_content"]) == ("claude-opus-5-5", block)


def test_a_text_that_is_no_unicode_is_a_value_error_when_assembled() -> None:
    made = writer(SIGNED, streaming=False)
    made.text([b"\\ud800"])
    with pytest.raises(ValueError):
        finished(made)


@given(st.text(max_size=40), st.integers(1, 5))
def test_percent_signs_and_odd_ids_are_nothing_special(text: str, size: int) -> None:
    made = SIGNED(streaming=True, include_usage=False, legacy=False)
    made.start('%d %b "é', 1, "m%s")
    made.expect(reasoning=False)
    pieces = [text[i : i + size] for i in range(0, len(text), size)] or ["%"]
    out = [made.take(), *(made.token(orjson.dumps(piece)[1:-1]) for piece in pieces)]
    found, response = finished(made, before=b"".join(out))
    assert "".join(e["delta"] for e in found if e["type"] == "response.output_text.delta") == "".join(pieces)
    assert response["id"] == 'resp_%d %b "é'
    Response.model_validate(response)
