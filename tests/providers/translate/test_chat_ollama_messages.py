"""Chat messages become messages that Ollama's templates can render."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import BadRequest
from providers.translate.chat_ollama import to_ollama
from providers.translate.messages import MISSING_RESULT, START_TURN
from providers.types import ModelCapabilities, ModelInfo

from .strategies import PDF, PNG

WEBP = "data:image/webp;base64,UklGRg=="
SEES = ModelInfo("sees", "ollama", capabilities=ModelCapabilities(thinking=frozenset({"enabled"}), pdf=False))
BLIND = ModelInfo("blind", "ollama", capabilities=ModelCapabilities(images=False, tools=False, pdf=False))


def sent(*messages: dict[str, Any], info: ModelInfo = SEES, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = to_ollama(
        {"messages": list(messages), **body}, model=info.id, info=info
    ).body["messages"]
    return found


def refused(*messages: dict[str, Any], info: ModelInfo = SEES) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        sent(*messages, info=info)
    assert caught.value.status == 400
    return caught.value


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def calls(*ids: str, content: Any = None, name: str = "f", arguments: Any = "{}") -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": name, "arguments": arguments}} for i in ids]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def called(*ids: str, name: str = "f", text: str = "", **arguments: Any) -> dict[str, Any]:
    made = [{"id": i, "function": {"name": name, "arguments": arguments}} for i in ids]
    return {"role": "assistant", "content": text, "tool_calls": made}


def answered(call_id: str, content: str = "ok", name: str = "f") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_name": name, "tool_call_id": call_id}


def test_system_and_developer_messages_stay_where_they_are() -> None:
    assert sent(
        {"role": "developer", "content": "a"}, user("hi"), {"role": "system", "content": "b"}, user("you")
    ) == [{"role": "system", "content": "a"}, user("hi"), {"role": "system", "content": "b"}, user("you")]


def test_text_parts_are_joined_by_line_breaks() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}]
    assert sent(user(parts)) == [user("one\ntwo")]


def test_messages_that_say_nothing_are_left_out() -> None:
    empty = [user(""), user(" \n"), user([]), {"role": "assistant", "content": ""}]
    assert sent(*empty, {"role": "system", "content": ""}, user("hi")) == [user("hi")]


def test_without_a_turn_to_answer_one_is_made() -> None:
    """Ollama would load the model and answer nothing."""
    assert sent(user("")) == [user(START_TURN)]
    assert sent({"role": "system", "content": "s"})[-1] == user(START_TURN)


def test_a_conversation_without_its_beginning_begins_with_a_user() -> None:
    """The same way however long it grows, since Ollama's prompt cache is bound to the beginning."""
    system = {"role": "system", "content": "s"}
    cut = [system, calls("1"), result("1")]
    begun = [system, user(START_TURN), called("1"), answered("1")]
    assert sent(*cut) == begun
    assert sent(*cut, user("and?")) == [*begun, user("and?")]
    assert sent({"role": "assistant", "content": "Hello!"}, user("hi"))[0] == user(START_TURN)


def test_a_tool_loop_names_the_tool_of_each_result() -> None:
    assert sent(
        user("go"), calls("1", "2", name="read", arguments='{"path":"a"}'), result("2", "two"), result("1")
    ) == [
        user("go"),
        called("1", "2", name="read", path="a"),
        answered("1", name="read"),
        answered("2", "two", name="read"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ("{", {"_raw": "{"}), ("[1]", {"_raw": "[1]"}), ({"a": 1}, {"a": 1}), ('{"a":1}', {"a": 1})],
)
def test_arguments_are_always_an_object(arguments: Any, expected: dict[str, Any]) -> None:
    turn = sent(user("go"), calls("1", arguments=arguments))[1]
    assert turn["tool_calls"][0]["function"]["arguments"] == expected


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    assert sent(user("go"), calls("1", "2"), result("2"), user("and?"))[2:] == [
        answered("1", MISSING_RESULT),
        answered("2"),
        user("and?"),
    ]


def test_results_that_nobody_asked_for_are_dropped() -> None:
    assert sent(user("go"), result("9"), calls("1"), result("1"), result("1", "again")) == [
        user("go"),
        called("1"),
        answered("1"),
    ]


def test_calls_split_over_messages_are_one_turn() -> None:
    assert sent(user("go"), calls("1", content="a"), calls("2", content="b"), result("2"), result("1")) == [
        user("go"),
        called("1", "2", text="a\nb"),
        answered("1"),
        answered("2"),
    ]


def test_ids_that_repeat_in_later_turns_stay_apart() -> None:
    found = sent(user("go"), calls("0"), result("0", "a"), calls("0"), result("0", "b"))
    ids = [message["tool_call_id"] for message in found if message["role"] == "tool"]
    assert len(set(ids)) == 2
    assert [m["tool_calls"][0]["id"] for m in found if "tool_calls" in m] == ids


def test_a_user_message_between_a_call_and_its_result_follows_the_result() -> None:
    assert sent(user("go"), calls("1"), user("wait"), result("1")) == [
        user("go"),
        called("1"),
        answered("1"),
        user("wait"),
    ]


def test_legacy_function_messages() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    found = sent(user("go"), call, {"role": "function", "name": "f", "content": "ok"})
    assert found[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert found[2] == answered(found[1]["tool_calls"][0]["id"])


def test_custom_calls_carry_their_text_as_input() -> None:
    call = {"id": "1", "type": "custom", "custom": {"name": "f", "input": "free text"}}
    assert sent(user("go"), {"role": "assistant", "tool_calls": [call]})[1] == called("1", input="free text")


def test_anthropic_shaped_parts_are_understood() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    done = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}]}
    assert sent(
        user("go"),
        {"role": "assistant", "content": [{"type": "text", "text": "so"}, use]},
        user([done, {"type": "text", "text": "next"}]),
    ) == [user("go"), called("t1", text="so", a=1), answered("t1"), user("next")]


def test_a_call_that_is_told_in_both_shapes_is_one_call() -> None:
    shaped = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    both = calls("a", "b", content=[shaped])
    assert sent(user("q"), both, result("a"), result("b"))[1] == called("a", "b")


def test_reasoning_that_a_client_replays_is_given_back_to_a_model_that_thinks() -> None:
    turn = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    assert sent(user("go"), turn)[1] == {"role": "assistant", "content": "4", "thinking": "2+2"}
    assert sent(user("go"), turn, info=BLIND)[1] == {"role": "assistant", "content": "4"}
    part = {"type": "thinking", "thinking": "2+2", "signature": "x"}
    shaped = {"role": "assistant", "content": [part, {"type": "text", "text": "4"}]}
    assert sent(user("go"), shaped)[1]["thinking"] == "2+2"


def test_a_model_without_tools_is_told_of_earlier_calls_in_words() -> None:
    """A conversation that moves to it from a model with tools loses nothing."""
    found = sent(user("go"), calls("1", arguments='{"path":"a.py"}'), result("1", "x = 1"), info=BLIND)
    assert [message["role"] for message in found] == ["user", "assistant", "user"]
    assert 'f with {"path":"a.py"}' in found[1]["content"]
    assert "x = 1" in found[2]["content"]
    assert all(message.keys() == {"role", "content"} for message in found)


def test_images_travel_as_base64() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": WEBP},
    ]
    request = to_ollama({"messages": [user(parts)]}, model="sees", info=SEES)
    images = [PNG.partition(",")[2], WEBP.partition(",")[2]]
    assert request.body["messages"] == [{"role": "user", "content": "see", "images": images}]
    assert (request.images, request.image_chars) == (2, sum(map(len, images)))


def test_a_result_may_be_an_image() -> None:
    found = sent(user("go"), calls("1"), result("1", [{"type": "image_url", "image_url": {"url": PNG}}]))
    assert found[2] == {**answered("1", ""), "images": [PNG.partition(",")[2]]}


@pytest.mark.parametrize(
    ("part", "info", "word"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, BLIND, "no images"),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, SEES, "base64"),
        ({"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}, SEES, "data: URL"),
        ({"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}}, SEES, "jpeg"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,R0l"}}, SEES, "base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,é"}}, SEES, "base64"),
        ({"type": "file", "file": {"file_data": PDF}}, SEES, "documents"),
        ({"type": "input_audio", "input_audio": {}}, SEES, "Audio"),
    ],
)
def test_media_that_the_model_cannot_take_are_refused_where_they_stand(
    part: dict[str, Any], info: ModelInfo, word: str
) -> None:
    error = refused(calls("1"), user([part]), info=info)
    assert (error.param or "").startswith("messages.1.content.0")
    assert word in error.message


def test_a_picture_that_a_tool_returns_does_not_end_the_work_of_a_model_that_cannot_see() -> None:
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    taken = result("1", [{"type": "text", "text": "shot taken"}, picture])
    request = to_ollama({"messages": [user("go"), calls("1"), taken]}, model="blind", info=BLIND)
    told = request.body["messages"][2]
    assert told["content"].endswith("shot taken\n(An image was here, which this model cannot see.)")
    assert (request.dropped, request.images) == (("messages",), 0)


def test_what_another_model_was_shown_is_noted_where_this_one_cannot_see_it() -> None:
    """Or no conversation with a picture in it could move from Claude to a local model."""
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    shown = [
        user([{"type": "text", "text": "see"}, picture, {"type": "file", "file": {"file_data": PDF}}]),
        {"role": "assistant", "content": "A cat."},
    ]
    request = to_ollama({"messages": [*shown, user("and?")]}, model="blind", info=BLIND)
    said = request.body["messages"][0]["content"]
    assert said.startswith("see\n")
    assert "image" in said
    assert "document" in said
    assert (request.dropped, request.images) == (("messages",), 0)
    longer = sent(*shown, user("and?"), {"role": "assistant", "content": "Grey."}, user("ok"), info=BLIND)
    assert longer[:3] == request.body["messages"]
    assert "no images" in refused(*shown, user([picture]), info=BLIND).message
    assert "images" in sent(user([picture]), *shown[1:], user("and?"))[0]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages.0"),
        ({"content": "x"}, "messages.0.role"),
        ({"role": "robot", "content": "x"}, "messages.0.role"),
        ({"role": "user", "content": 5}, "messages.0.content"),
        ({"role": "tool", "content": "x"}, "messages.0.tool_call_id"),
        ({"role": "assistant", "tool_calls": [{"id": 1}]}, "messages.0.tool_calls.0.function"),
    ],
)
def test_a_wrong_message_is_refused_by_its_place(message: Any, param: str) -> None:
    assert refused(message).param == param


def test_no_messages_are_refused() -> None:
    assert refused().param == "messages"


def test_what_a_tool_has_shown_behind_its_result_is_noted_for_a_model_that_sees_nothing() -> None:
    """Other dialects put it into a user's message there, which nobody could take back."""
    image = {"type": "image_url", "image_url": {"url": PNG}}
    shown = user([{"type": "text", "text": "Returned:"}, image])
    found = sent(user("hi"), calls("c"), result("c"), shown, info=BLIND)
    assert found[-1] == user("Returned:\n(An image was here, which this model cannot see.)")
    seen = sent(user("hi"), calls("c"), result("c"), shown)[-1]
    assert seen["images"]
    refused(user("hi"), shown, info=BLIND)
