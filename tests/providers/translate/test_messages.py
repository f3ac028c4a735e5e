"""Chat messages become turns that the Messages API accepts."""

from __future__ import annotations

from typing import Any

import pytest

from providers.anthropic.models import ModelTable
from providers.errors import BadRequest
from providers.translate.chat_anthropic import to_anthropic

from .strategies import PDF, PNG

TABLE = ModelTable()
OPUS = TABLE.get("claude-opus-5-5")  # takes system turns, no prefill
SONNET_5 = TABLE.get("claude-sonnet-5")  # takes no system turns
HAIKU_45 = TABLE.get("claude-haiku-4-5")  # takes prefill


def sent(*messages: dict[str, Any], info: Any = OPUS, **params: Any) -> dict[str, Any]:
    return to_anthropic({"messages": list(messages), **params}, model=info.id, info=info).body


def turns(*messages: dict[str, Any], info: Any = OPUS) -> list[Any]:
    return [(turn["role"], turn["content"]) for turn in sent(*messages, info=info)["messages"]]


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def calls(*ids: str, content: Any = None) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(call_id: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def use(call_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}}


def answered(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def missing(call_id: str) -> dict[str, Any]:
    return {**answered(call_id, "No result was recorded for this tool call."), "is_error": True}


def test_leading_system_and_developer_messages_are_one_system_block_each() -> None:
    body = sent({"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, user("hi"))
    assert body["system"] == [text("a"), text("b")]
    assert body["messages"] == [{"role": "user", "content": [text("hi")]}]


def test_a_later_system_message_is_a_system_turn_where_the_model_takes_one() -> None:
    found = turns(
        user("hi"),
        {"role": "system", "content": "new rule"},
        {"role": "assistant", "content": "ok"},
        user("go"),
    )
    assert found[1] == ("system", [text("new rule")])
    assert [role for role, _ in found] == ["user", "system", "assistant", "user"]


def test_a_later_system_message_is_a_reminder_in_the_user_turn_elsewhere() -> None:
    reminder = text("<system-reminder>\nnew rule\n</system-reminder>")
    rule = {"role": "system", "content": "new rule"}
    assert turns(user("hi"), rule, info=SONNET_5) == [("user", [text("hi"), reminder])]
    found = turns(user("hi"), {"role": "assistant", "content": "ok"}, rule, user("go"), info=OPUS)
    assert found[-1] == ("user", [reminder, text("go")])  # a system turn must follow a user turn
    assert turns(user("hi"), rule, user("go"), info=OPUS) == [("user", [text("hi"), reminder, text("go")])]


def test_a_system_message_is_never_moved_to_the_front() -> None:
    body = sent({"role": "system", "content": "a"}, user("hi"), {"role": "system", "content": "later"})
    assert body["system"] == [text("a")]


def test_all_results_are_one_user_turn_in_call_order_before_its_text() -> None:
    found = turns(user("go"), calls("a", "b"), result("b", "2"), user("and?"), result("a", "1"))
    assert found[-1] == ("user", [answered("a", "1"), answered("b", "2"), text("and?")])


def test_a_call_without_a_result_gets_an_error_result() -> None:
    assert turns(user("go"), calls("a", "b"), result("b"))[-1] == ("user", [missing("a"), answered("b")])
    assert turns(user("go"), calls("a"))[-1] == ("user", [missing("a")])
    assert turns(user("go"), calls("a"), user("stop"))[-1] == ("user", [missing("a"), text("stop")])


def test_orphan_and_second_results_are_dropped() -> None:
    found = turns(user("go"), result("x"), calls("a"), result("a", "1"), result("a", "2"), result("y"))
    assert found == [("user", [text("go")]), ("assistant", [use("a")]), ("user", [answered("a", "1")])]


def test_a_result_that_comes_after_the_next_turn_is_an_orphan() -> None:
    found = turns(
        user("go"), calls("a"), user("hm"), {"role": "assistant", "content": "ok"}, result("a"), user("?")
    )
    assert found[2] == ("user", [missing("a"), text("hm")])
    assert found[-1] == ("user", [text("?")])


def test_calls_split_over_several_assistant_messages_are_one_turn() -> None:
    found = turns(user("go"), calls("a", content="first"), calls("b"), result("a"), result("b"))
    assert found[1] == ("assistant", [text("first"), use("a"), use("b")])
    assert found[2] == ("user", [answered("a"), answered("b")])


def test_ids_that_repeat_or_have_other_characters_are_mapped_and_stay_paired() -> None:
    found = turns(user("go"), calls("call 0"), result("call 0", "1"), calls("call 0"), result("call 0", "2"))
    ids = [content[0]["id"] for role, content in found if role == "assistant"]
    answers = [content[0]["tool_use_id"] for role, content in found[1:] if role == "user"]
    assert ids == answers
    assert len(set(ids)) == 2
    assert all(i.replace("_", "").replace("-", "").isalnum() for i in ids)


def test_the_same_id_twice_in_one_turn_pairs_in_order() -> None:
    found = turns(user("go"), calls("a", "a"), result("a", "1"), result("a", "2"))
    assert found[-1] == ("user", [answered("a", "1"), answered("a_2", "2")])


def test_a_call_that_is_told_in_both_shapes_is_one_call() -> None:
    both = calls("a", "b", content=[use("a")])
    assert turns(user("q"), both, result("a"), result("b")) == [
        ("user", [text("q")]),
        ("assistant", [use("a"), use("b")]),
        ("user", [answered("a"), answered("b")]),
    ]


def test_empty_content_makes_no_block() -> None:
    found = turns(
        user(""), user([{"type": "text", "text": " "}]), user("hi"), calls("a", content=""), result("a", "")
    )
    assert found == [
        ("user", [text("hi")]),
        ("assistant", [use("a")]),
        ("user", [{"type": "tool_result", "tool_use_id": "a"}]),
    ]


def test_consecutive_messages_of_one_role_are_one_turn() -> None:
    found = turns(
        user("a"),
        user("b"),
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
        user("e"),
    )
    assert found == [
        ("user", [text("a"), text("b")]),
        ("assistant", [text("c"), text("d")]),
        ("user", [text("e")]),
    ]


def test_a_conversation_that_begins_with_the_assistant_is_given_a_user_turn() -> None:
    found = turns({"role": "assistant", "content": "Hello!"}, user("hi"))
    assert found[0] == ("user", [text("Begin.")])
    assert turns({"role": "system", "content": "only"}) == [("user", [text("Begin.")])]


def test_a_final_assistant_turn_is_continued_or_followed_by_a_minimal_user_turn() -> None:
    last = {"role": "assistant", "content": "The answer is \n"}
    assert turns(user("q"), last)[-1] == ("user", [text("Continue.")])
    assert turns(user("q"), last, info=HAIKU_45)[-1] == ("assistant", [text("The answer is")])


def test_reasoning_that_clients_replay_is_left_out() -> None:
    replayed = {
        "role": "assistant",
        "reasoning_content": "secret",
        "content": [{"type": "thinking", "thinking": "secret"}, {"type": "text", "text": "ok"}],
    }
    assert turns(user("q"), replayed, user("r"))[1] == ("assistant", [text("ok")])


def test_refusals_of_the_past_are_text() -> None:
    assert turns(user("q"), {"role": "assistant", "content": None, "refusal": "no"}, user("r"))[1][1] == [
        text("no")
    ]
    part = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert turns(user("q"), part, user("r"))[1][1] == [text("no")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        (" ", {}),
        (None, {}),
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ('{"a": ', {"_raw": '{"a": '}),
        ("[1]", {"_raw": "[1]"}),
        ("NaN", {"_raw": "NaN"}),
    ],
)
def test_arguments_are_an_object_or_kept_raw(arguments: Any, expected: dict[str, Any]) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    found = turns(user("q"), {"role": "assistant", "tool_calls": [call]}, result("a"))
    assert found[1][1][0]["input"] == expected


def test_legacy_function_calls_and_results_pair_by_name() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    found = turns(
        user("q"),
        called,
        {"role": "function", "name": "f", "content": "1"},
        called,
        {"role": "function", "name": "g", "content": "2"},
    )
    first, second = found[1][1][0]["id"], found[3][1][0]["id"]
    assert first != second
    assert found[2] == ("user", [answered(first, "1")])
    assert found[4] == ("user", [missing(second)])


def test_custom_tool_calls_carry_their_text_as_input() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    found = turns(user("q"), {"role": "assistant", "tool_calls": [call]}, result("a"))
    assert found[1][1] == [{"type": "tool_use", "id": "a", "name": "patch", "input": {"input": "*** Begin"}}]


def test_anthropic_shaped_parts_are_understood() -> None:
    asked = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
    shown = user(
        [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}, {"type": "text", "text": "go"}]
    )
    assert turns(user("q"), asked, shown)[1:] == [
        ("assistant", [use("t1")]),
        ("user", [answered("t1"), text("go")]),
    ]


def test_images_and_documents() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_image", "image_url": "data:image/jpg;base64,AAAA"},
        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
    ]
    png = {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]}
    jpeg = {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": PDF.partition(",")[2]}
    assert turns(user(parts))[0][1] == [
        {"type": "image", "source": png},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": jpeg},
        {"type": "document", "source": pdf, "title": "a.pdf"},
    ]


def test_a_tool_may_answer_with_an_image() -> None:
    found = turns(user("q"), calls("a"), result("a", [{"type": "image_url", "image_url": {"url": PNG}}]))
    assert found[-1][1][0]["content"][0]["type"] == "image"


EPHEMERAL = {"type": "ephemeral"}


def test_cache_markers_go_where_the_caller_put_them() -> None:
    call = calls("a")
    call["tool_calls"][0]["cache_control"] = EPHEMERAL
    found = sent(
        {"role": "system", "content": "s", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "x"}},
        user([{"type": "text", "text": "q", "cache_control": EPHEMERAL}, {"type": "text", "text": "r"}]),
        call,
        result("a", cache_control=EPHEMERAL),
    )
    assert found["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    marks = [[block.get("cache_control") for block in turn["content"]] for turn in found["messages"]]
    assert marks == [[EPHEMERAL, None], [EPHEMERAL], [EPHEMERAL]]


def test_of_more_than_four_markers_the_first_and_the_last_three_stay() -> None:
    messages = [user(str(i), cache_control=EPHEMERAL) for i in range(6)]
    request = to_anthropic({"messages": messages}, model="m", info=OPUS)
    blocks = request.body["messages"][0]["content"]
    assert [i for i, block in enumerate(blocks) if "cache_control" in block] == [0, 3, 4, 5]
    assert request.dropped == ("cache_control",)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages.1"),
        ({"content": "x"}, "messages.1.role"),
        ({"role": "robot", "content": "x"}, "messages.1.role"),
        ({"role": ["user"], "content": "x"}, "messages.1.role"),
        (user(None), "messages.1.content"),
        (user(5), "messages.1.content"),
        (user(["x"]), "messages.1.content.0"),
        (user([{"type": "text"}]), "messages.1.content.0.text"),
        (user([{"type": []}]), "messages.1.content.0.type"),
        (user([{"type": "video"}]), "messages.1.content.0.type"),
        (user([{"type": "input_audio", "input_audio": {}}]), "messages.1.content.0.type"),
        (
            user([{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}}]),
            "messages.1.content.0.image_url.url",
        ),
        (
            user([{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]),
            "messages.1.content.0.image_url.url",
        ),
        (
            user([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
            "messages.1.content.0.image_url.url",
        ),
        (
            user([{"type": "image_url", "image_url": {"url": "data:image/png,AA"}}]),
            "messages.1.content.0.image_url.url",
        ),
        (user([{"type": "image_url"}]), "messages.1.content.0.image_url"),
        (user([{"type": "file", "file": {"file_id": "f"}}]), "messages.1.content.0.file"),
        (
            user([{"type": "file", "file": {"file_data": "data:text/plain;base64,AA"}}]),
            "messages.1.content.0.file.file_data",
        ),
        (
            {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
            "messages.1.content.0.type",
        ),
        ({"role": "assistant", "tool_calls": {}}, "messages.1.tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": ""}}]},
            "messages.1.tool_calls.0.function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "f"}}]},
            "messages.1.tool_calls.0.id",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": 1}}]},
            "messages.1.tool_calls.0.function.arguments",
        ),
        ({"role": "tool", "content": "x"}, "messages.1.tool_call_id"),
        ({"role": "function", "content": "x"}, "messages.1.name"),
        ({"role": "system", "content": {"a": 1}}, "messages.1.content"),
        (user("x", cache_control="yes"), "messages.1.cache_control"),
        (user("x", cache_control={"type": "ephemeral", "ttl": "2h"}), "messages.1.cache_control.ttl"),
    ],
)
def test_a_wrong_message_is_refused_with_its_place(message: Any, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        sent(user("ok"), message)
    assert refused.value.status == 400
    assert refused.value.param == param


@pytest.mark.parametrize("messages", [None, {}, "hi", []])
def test_messages_must_be_an_array_with_something_in_it(messages: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        to_anthropic({"messages": messages}, model="m", info=OPUS)
    assert refused.value.param == "messages"


def test_twenty_thousand_parallel_calls_keep_their_pairs() -> None:
    many = [str(i) for i in range(20_000)]
    found = turns(user("go"), calls(*many), *(result(i) for i in reversed(many)))
    assert [block["tool_use_id"] for block in found[-1][1]] == many
    same = turns(user("go"), calls(*["x"] * 20_000), *(result("x") for _ in many))
    assert len(same[-1][1]) == 20_000


def test_twenty_thousand_odd_tool_names_stay_apart() -> None:
    made = [{"id": str(i), "type": "function", "function": {"name": f"tool {i}"}} for i in range(20_000)]
    found = turns(user("go"), {"role": "assistant", "tool_calls": made})
    assert len({block["name"] for block in found[1][1]}) == 20_000
