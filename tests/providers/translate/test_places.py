"""What is refused below a translation is called by its place in the caller's own request."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from providers.errors import BadRequest
from providers.translate import messages_chat, responses_chat
from providers.translate.chat_ollama import to_ollama
from providers.translate.places import in_their_terms
from providers.types import ModelInfo

INFO = ModelInfo("m", "ollama")
USER = {"role": "user", "content": "Hi"}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "1"}
TEXT = {"type": "input_text", "text": "See:"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,%%%"}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


def refused_response(**body: Any) -> BadRequest:
    chat = responses_chat.to_chat(body, model="m", signed=False).body
    with pytest.raises(BadRequest) as refused:
        to_ollama(chat, model="m", info=INFO)
    return in_their_terms(
        refused.value,
        responses_chat.THEIR_NAMES,
        partial(responses_chat.place_of, body),
        partial(responses_chat.tool_of, body),
    )


@pytest.mark.parametrize("instructions", [None, "Be brief."])
def test_a_part_of_an_item_is_called_by_its_place_in_input(instructions: str | None) -> None:
    said = {"role": "assistant", "content": "One."}
    items = [USER, THOUGHT, CALL, OUTPUT, said, THOUGHT, {"role": "user", "content": [TEXT, IMAGE]}]
    error = refused_response(instructions=instructions, input=items)
    assert error.param == "input.6.content.1"


def test_the_words_of_a_refusal_name_the_place_too() -> None:
    image = {"type": "input_image", "image_url": "a.png"}
    error = refused_response(input=[USER, {"role": "user", "content": [image]}])
    assert error.message == "`input.1.content.0` must be an https:// or a base64 data: URL."


def test_a_parameter_is_called_by_its_name_in_the_dialect() -> None:
    error = refused_response(input="Hi", reasoning={"effort": "vast"})
    assert error.param == "reasoning.effort"
    assert "`reasoning.effort`" in error.message


def test_every_message_has_its_place() -> None:
    items = [USER, THOUGHT, CALL, OUTPUT, {"role": "assistant", "content": "One."}, THOUGHT, USER]
    body = {"instructions": "Be brief.", "input": items}
    chat = responses_chat.to_chat(body, model="m", signed=False).body
    assert [message["role"] for message in chat["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    places = [responses_chat.place_of(body, index) for index in range(len(chat["messages"]))]
    assert places == ["instructions", "input.0", "input.2", "input.3", "input.4", "input.6"]
    assert responses_chat.place_of({"input": "Hi"}, 0, 0) == "input"


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_turn_of_anthropics_is_called_by_its_place_in_messages(system: str | None) -> None:
    turns = [
        {"role": "user", "content": "Look it up"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1"}]},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": [{"type": "text", "text": "And this?"}, PDF]},
    ]
    body = {"system": system, "messages": turns}
    chat = messages_chat.to_chat(body).body
    with pytest.raises(BadRequest) as refused:
        to_ollama(chat, model="m", info=INFO)
    place_of = partial(messages_chat.place_of, body)
    error = in_their_terms(
        refused.value, messages_chat.THEIR_NAMES, place_of, partial(messages_chat.tool_of, body)
    )
    assert error.param == "messages.4"
    assert place_of(0) == ("messages.0" if system is None else "system")


def test_what_an_upstream_has_said_stays_as_it_was() -> None:
    said = "messages.3.content.0: invalid base64 data"
    error = BadRequest(said, param="messages[3].content[0]", upstream_status=400)
    error = in_their_terms(
        error, responses_chat.THEIR_NAMES, partial(responses_chat.place_of, {"input": []}), lambda _: None
    )
    assert (error.message, error.param) == (said, "input")


FINE = {"type": "function", "name": "fine", "parameters": {"type": "object"}}
ODD = {"name": "odd", "parameters": {"type": "string"}}


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ([{"type": "web_search"}, FINE, {"type": "function", **ODD}], "tools.2.parameters"),
        ([{"type": "web_search"}, {"type": "function", "function": ODD}], "tools.1.function.parameters"),
        (
            [FINE, {"type": "namespace", "name": "mcp", "tools": [FINE, {"type": "function", **ODD}]}],
            "tools.1.tools.1.parameters",
        ),
        ([FINE, FINE, {"type": "function", **ODD}], "tools.2.parameters"),
    ],
)
def test_a_tool_is_called_by_its_place_in_the_request(tools: list[Any], place: str) -> None:
    error = refused_response(input="Hi", tools=tools)
    assert (error.param or "").startswith(place)
    assert f"`{place}" in error.message


def test_a_tool_that_an_item_brings_is_called_by_its_place_in_input() -> None:
    brought = {"type": "additional_tools", "role": "developer", "tools": [FINE, {"type": "function", **ODD}]}
    error = refused_response(input=[USER, brought], tools=[FINE])
    assert (error.param or "").startswith("input.1.tools.1.parameters")


def test_a_tool_of_anthropics_is_called_by_its_place_in_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    later = {"name": "later", "input_schema": {"type": "object"}, "defer_loading": True}
    odd = {"name": "odd", "input_schema": {"type": "string"}}
    body = {"messages": [USER], "tools": [search, later, odd]}
    with pytest.raises(BadRequest) as refused:
        to_ollama(messages_chat.to_chat(body).body, model="m", info=INFO)
    place_of, tool_of = partial(messages_chat.place_of, body), partial(messages_chat.tool_of, body)
    error = in_their_terms(refused.value, messages_chat.THEIR_NAMES, place_of, tool_of)
    assert (error.param or "").startswith("tools.2.input_schema")


@pytest.mark.parametrize("said", ["tools.9.function.name", "tool_choice.allowed_tools.tools.0", "tools.read"])
def test_what_is_no_place_of_a_tool_stays_as_it_is(said: str) -> None:
    body = {"input": "Hi", "tools": [{"type": "web_search"}, FINE]}
    place_of, tool_of = partial(responses_chat.place_of, body), partial(responses_chat.tool_of, body)
    assert in_their_terms(BadRequest(said), {}, place_of, tool_of).message == said
