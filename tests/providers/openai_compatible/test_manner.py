"""What a refusal teaches: how a model wants to be asked, once, and for the chats to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.simulated import SimulatedUpstream
from providers.errors import BadRequest, ContextTooLong, ProviderError, Refused
from providers.http import open_client
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.openai_compatible.history import NO_RESULT, short_id, tidied
from providers.openai_compatible.manner import REMEMBERED, Manner, Manners
from providers.openai_compatible.refusals import refuses
from providers.openai_compatible.shapes import plain_turns
from providers.translate.messages import START_TURN
from providers.translate.messages_turns import LATER_NOTE
from providers.types import ChatCall, EmbeddingsCall, ModelInfo
from tests.providers.anthropic.sources import Client, Scripted

from .streams import GOLDEN, event
from .test_adapter import BODY, COMPLETION, call, provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

NO_MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
TOOLS = [{"type": "function", "function": {"name": "look"}}]


def no_max_tokens(name: str = "max_tokens") -> Any:
    return refusal(NO_MAX_TOKENS.replace("max_tokens", name), code="unsupported_parameter", param=name)


NOT_PERMITTED = {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}


@pytest.mark.parametrize(
    "answer",
    [
        lambda: refusal("Unknown parameter: 'stream_options'.", param="stream_options"),
        lambda: refusal("[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options')}]"),
        lambda: whole(NOT_PERMITTED, 422),
        lambda: streamed(event({"error": {"message": "'stream_options' is not supported", "code": 400}})),
    ],
)
async def test_stream_options_are_left_out_where_they_are_refused(answer: Callable[[], Scripted]) -> None:
    client = Client(answer(), *(streamed(GOLDEN["no_usage"]) for _ in range(2)), streamed(GOLDEN["text"]))
    upstream = provider(client)
    reply = await upstream.chat(call(stream=True))
    assert "stream_options" in sent(client, 0)
    assert "stream_options" not in sent(client, 1)
    assert reply.dropped == ()  # nobody has asked for it
    assert await read(reply) == GOLDEN["no_usage"]
    asked = call(stream=True, stream_options={"include_usage": True})
    assert (await upstream.chat(asked)).dropped == ("stream_options",)
    assert "stream_options" not in sent(client, 2)
    await upstream.chat(call("another", stream=True))
    assert "stream_options" in sent(client, 3)


async def test_the_limit_is_called_what_the_model_calls_it_and_that_is_remembered() -> None:
    client = Client(no_max_tokens(), whole(COMPLETION), whole(COMPLETION), whole(COMPLETION))
    upstream = provider(client)
    reply = await upstream.chat(call(max_tokens=50))
    assert sent(client, 0)["max_tokens"] == 50
    assert sent(client, 1) == {**BODY, "model": "m", "max_completion_tokens": 50}
    assert reply.dropped == ()
    await upstream.chat(call(max_tokens=60))
    assert sent(client, 2) == {**BODY, "model": "m", "max_completion_tokens": 60}
    await upstream.chat(call("another", max_tokens=60))
    assert sent(client, 3)["max_tokens"] == 60


async def test_the_older_name_is_found_too() -> None:
    client = Client(no_max_tokens("max_completion_tokens"), whole(COMPLETION))
    await provider(client).chat(call(max_completion_tokens=50))
    assert sent(client) == {**BODY, "model": "m", "max_tokens": 50}


async def test_a_model_that_takes_neither_name_is_asked_no_endless_questions() -> None:
    client = Client(*(no_max_tokens(name) for name in ("max_tokens", "max_completion_tokens") * 3))
    with pytest.raises(BadRequest):
        await provider(client).chat(call(max_tokens=50))
    assert len(client.asked) <= 3


async def test_several_things_are_learnt_in_one_chat() -> None:
    no_options = refusal("unknown field 'stream_options'")
    client = Client(no_options, no_max_tokens(), streamed(GOLDEN["no_usage"]), whole(COMPLETION))
    upstream = provider(client)
    await upstream.chat(call(stream=True, max_tokens=5))
    assert {"stream_options", "max_tokens"}.isdisjoint(sent(client))
    await upstream.chat(call(max_tokens=5))
    assert len(client.asked) == 4


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("Unknown parameter: 'seed'.", {"param": "seed", "code": "unknown_parameter"}),
        ("Unrecognized request argument supplied: seed", {}),
        ("'seed' : property 'seed' is unsupported", {}),
        ("Unsupported parameter: 'seed' is not supported with this model.", {"param": "seed"}),
    ],
)
async def test_a_parameter_that_is_not_known_is_left_out_by_name(message: str, fields: Any) -> None:
    client = Client(refusal(message, **fields), whole(COMPLETION), whole(COMPLETION))
    upstream = provider(client)
    for index in (1, 2):
        reply = await upstream.chat(call(seed=7))
        assert sent(client, index) == {**BODY, "model": "m"}
        assert reply.dropped == ("seed",)


@pytest.mark.parametrize("name", ["tools", "tool_choice", "response_format", "stop", "n", "messages"])
async def test_what_the_question_is_about_is_never_left_out(name: str) -> None:
    said = f"Unsupported parameter: '{name}' is not supported with this model."
    client = Client(refusal(said, code="unsupported_parameter", param=name))
    with pytest.raises(BadRequest) as failure:
        await provider(client).chat(ChatCall({**BODY, name: []}, "m", "x:m"))
    assert failure.value.param == name


async def test_a_refused_value_is_left_out_once_and_a_refused_temperature_for_good() -> None:
    def value(name: str) -> Any:
        said = f"Unsupported value: '{name}' does not support this with this model."
        return refusal(said, code="unsupported_value", param=name)

    def odd(name: str) -> Any:
        return refusal(f"The value 0 of '{name}' is not allowed.")

    for name, again, answer in (
        ("reasoning_effort", True, value),
        ("temperature", False, value),
        ("temperature", True, odd),
    ):
        client = Client(answer(name), whole(COMPLETION), whole(COMPLETION))
        upstream = provider(client)
        assert (await upstream.chat(call(reasoning_effort="minimal"))).dropped == (name,)
        await upstream.chat(call(reasoning_effort="low"))
        assert (name in sent(client)) is again


async def test_an_effort_that_is_left_out_must_still_be_one() -> None:
    client = Client(refusal("Unknown parameter: 'reasoning_effort'."), whole(COMPLETION))
    upstream = provider(client)
    await upstream.chat(call(reasoning_effort="high"))
    with pytest.raises(BadRequest) as failure:
        await upstream.chat(call(reasoning_effort="enormous"))
    assert failure.value.param == "reasoning_effort"
    assert len(client.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: refusal("max_tokens must be positive.", param="max_tokens", code="invalid_value"),
        lambda: refusal("Invalid value for 'temperature'.", param="temperature", code="invalid_value"),
        lambda: refusal("messages[0].content is empty", param="messages"),
        lambda: refusal("The tool 'look' is not supported.", param="tools[0]"),
    ],
)
async def test_a_refusal_of_the_question_itself_is_the_callers_at_once(
    answer: Callable[[], Scripted],
) -> None:
    client = Client(answer())
    with pytest.raises(BadRequest):
        await provider(client).chat(call(max_tokens=99999, tools=TOOLS))
    assert len(client.asked) == 1


async def test_other_errors_teach_nothing() -> None:
    for status in (401, 404, 429, 500):
        client = Client(refusal(NO_MAX_TOKENS, status=status, param="max_tokens", code="unknown_parameter"))
        with pytest.raises(ProviderError):
            await provider(client).chat(call(max_tokens=9, stream=True))
        assert len(client.asked) == 1


def test_what_is_remembered_is_bounded() -> None:
    manners = Manners()
    for number in range(3_000):
        manners.learn(f"m{number}", Manner(tidy=True))
    assert not manners.get("m0").tidy
    assert manners.get("m2999").tidy
    assert len(manners) <= 1024
    manners.learn("m", Manner(without=frozenset(map(str, range(1000))), once=frozenset({"a"})))
    assert manners.get("m") == Manner()


def test_what_is_remembered_is_forgotten_in_time() -> None:
    clock = [0.0]
    manners = Manners(now=lambda: clock[0])
    manners.learn("m", Manner(tidy=True))
    clock[0] = REMEMBERED - 1
    assert manners.get("m").tidy
    clock[0] = REMEMBERED
    assert manners.get("m") == Manner()
    assert len(manners) == 0


def test_a_word_that_only_looks_like_a_parameter_is_none() -> None:
    error = BadRequest("That user is not supported.", upstream_status=400)
    assert not refuses(error, "user")
    assert refuses(BadRequest("Field 'user' is not supported.", upstream_status=422), "user")
    assert not refuses(BadRequest("Field 'user' is not supported.", upstream_status=404), "user")
    assert not refuses(ContextTooLong("'user' is not supported", upstream_status=400), "user")
    assert not refuses(Refused("'user' not supported", param="seed", status=422, upstream_status=422), "user")


# -- the gateway's own default of max_tokens --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 1_200),
        ({"tools": TOOLS}, 8_192),
        ({"tools": []}, 1_200),
        ({"reasoning_effort": "low"}, 1_200 + 2_048),
        ({"reasoning_effort": "minimal"}, 1_200 + 2_048),
        ({"reasoning_effort": "none"}, 1_200),
        ({"reasoning_effort": "high", "tools": TOOLS}, 8_192 + 16_384),
    ],
)
async def test_a_default_leaves_room_for_tools_and_thinking(body: dict[str, Any], expected: int) -> None:
    client = Client(whole(COMPLETION), whole(COMPLETION))
    await provider(client).chat(call(defaulted=True, max_tokens=1_200, **body))
    assert sent(client)["max_tokens"] == expected
    await provider(client).chat(call(max_tokens=1_200, **body))
    assert sent(client)["max_tokens"] == 1_200


async def test_a_model_that_turns_out_to_reason_gets_room_to() -> None:
    client = Client(no_max_tokens(), whole(COMPLETION))
    await provider(client).chat(call(defaulted=True, max_tokens=1_200))
    assert sent(client)["max_completion_tokens"] == 1_200 + 8_192


async def test_a_model_whose_list_says_that_it_reasons_gets_room_at_once() -> None:
    listed = whole({"data": [{"id": "m", "supported_parameters": ["reasoning", "tools"]}]})
    client = Client(listed, whole(COMPLETION))
    upstream = provider(client)
    await upstream.models()
    await upstream.chat(call(defaulted=True, max_tokens=1_200))
    assert sent(client)["max_tokens"] == 1_200 + 8_192


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("max_tokens is too large: 8192. The most is 4096.", 1_200),
        # One caller's long conversation must not cost the others the room for their tools.
        ("This model's maximum context length is 4096 tokens, you requested 8200.", 8_192),
    ],
)
async def test_room_that_is_too_much_is_given_back(said: str, again: int) -> None:
    client = Client(refusal(said), whole(COMPLETION), whole(COMPLETION))
    upstream = provider(client)
    for expected in (1_200, again):
        await upstream.chat(call(defaulted=True, max_tokens=1_200, tools=TOOLS))
        assert sent(client)["max_tokens"] == expected
    assert len(client.asked) == 3


# -- histories --------------------------------------------------------------------------------------------

LONG = "chatcmpl-tool-0123456789abcdef0123456789abcdef"


def calling(*ids: str, **fields: Any) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": "", "tool_calls": calls, **fields}


def result(call_id: str, content: str = "a tree") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


USER = {"role": "user", "content": "look"}


def test_a_tidy_history_is_what_the_strictest_servers_take() -> None:
    history = [
        {**USER, "cache_control": {"type": "ephemeral"}},
        calling(LONG, "call_2", reasoning_content="hm", refusal=None),
        result("call_2", "second"),
        result("nobody", "stray"),
        {"role": "user", "content": [{"type": "text", "text": "go on", "cache_control": {}}]},
        result(LONG, "first"),
        calling("call_3"),
        {"role": "assistant", "content": "never mind"},
        result("call_3", "too late"),
    ]
    before = orjson.dumps(history)
    one, two, three = map(short_id, (LONG, "call_2", "call_3"))
    assert tidied(history) == [
        USER,
        calling(one, two, refusal=None),
        result(one, "first"),
        result(two, "second"),
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
        calling(three),
        result(three, NO_RESULT),
        {"role": "assistant", "content": "never mind"},
    ]
    assert orjson.dumps(history) == before


def test_results_that_nobody_has_asked_for_leave_a_conversation_that_can_be_asked() -> None:
    begin = {"role": "user", "content": START_TURN}
    answer = {"role": "assistant", "content": "well"}
    assert tidied([result("call_1"), result("call_2")]) == [begin]
    assert tidied([result("call_1"), answer, USER]) == [begin, answer, USER]
    assert tidied([result("call_1"), USER]) == [USER]
    assert tidied([answer, USER]) == [answer, USER]
    assert tidied([]) == []


def test_a_tool_that_has_returned_nothing_has_returned_an_empty_text() -> None:
    messages = [USER, calling("call_1", "call_2"), {**result("call_1"), "content": None}, result("call_2")]
    before = orjson.dumps(messages)
    told: Any = plain_turns(messages)
    assert [message.get("content") for message in told[2:]] == ["", messages[3]["content"]]
    assert plain_turns(told) is told
    assert orjson.dumps(messages) == before


def test_what_tools_show_stands_behind_their_results() -> None:
    """No server of this API takes anything but text as a tool's result."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    seen = [{"type": "text", "text": "seen"}, image]
    one, two = map(short_id, ("call_1", "call_2"))
    told = tidied(
        [calling("call_1", "call_2"), {**result("call_1"), "content": seen}, USER, result("call_2")]
    )
    note = {"type": "text", "text": LATER_NOTE}
    assert told == [
        calling(one, two),
        {**result(one), "content": [seen[0], note]},
        result(two),
        {"role": "user", "content": [{"type": "text", "text": f"Returned by the tool call {one}:"}, image]},
        USER,
    ]
    assert tidied(told) == told


ROLES = st.sampled_from(["user", "assistant", "tool", "system", "wizard"])
MESSAGES = st.lists(
    st.builds(
        lambda role, i, j: (
            {"role": role}
            | (
                {"tool_call_id": i, "content": "x"}
                if role == "tool"
                else calling(i, j)
                if role == "assistant" and i != j
                else {"content": "x"}
            )
        ),
        ROLES,
        st.sampled_from("abc"),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


@given(messages=MESSAGES, more=MESSAGES)
def test_tidying_is_idempotent_and_keeps_every_prefix(messages: list[Any], more: list[Any]) -> None:
    tidy: Any = tidied(messages)
    assert tidied(tidy) == tidy
    waiting: list[str] = []
    for message in tidy:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert waiting == []
            waiting = [made["id"] for made in message.get("tool_calls", ())]
    assert waiting == []
    # Once a turn of the user is answered, nothing before it changes: the upstream's prompt cache holds.
    asked = [*messages, USER]
    longer: Any = tidied([*asked, {"role": "assistant", "content": "well"}, *more])
    prefix: Any = tidied(asked)
    assert longer[: len(prefix)] == prefix


@pytest.mark.parametrize("messages", [None, 5, "hello", [5], [{"role": "tool"}], [{}], [{"tool_calls": [5]}]])
def test_what_is_no_history_does_not_break_the_tidying(messages: Any) -> None:
    tidied(messages)


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", {}),
        ("Unknown parameter: 'messages[1].x'.", {"param": "messages[1].x"}),
        ("'messages.1': property 'reasoning_content' is unsupported", {}),
        ("too long", {"param": "messages[1].tool_calls[0].id", "code": "string_above_max_length"}),
        ("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", {"code": "3280"}),
    ],
)
async def test_a_refused_history_is_sent_again_in_order(said: str, fields: dict[str, Any]) -> None:
    history = [USER, calling(LONG, reasoning_content="hm"), result(LONG)]
    client = Client(refusal(said, **fields), whole(COMPLETION), whole(COMPLETION))
    upstream = provider(client)
    for _ in range(2):
        await upstream.chat(call(messages=history))
        assert sent(client)["messages"] == [USER, calling(short_id(LONG)), result(short_id(LONG))]
    assert len(client.asked) == 3


async def test_a_refused_history_that_is_in_order_is_refused() -> None:
    client = Client(refusal("Unknown parameter: 'messages[0].x'.", param="messages[0].x"))
    with pytest.raises(BadRequest):
        await provider(client).chat(call())
    assert len(client.asked) == 1


async def test_an_upstream_that_wants_the_word_json_hears_it() -> None:
    said = "'messages' must contain the word 'json' in some form, to use it."
    client = Client(refusal(said, param="messages"), *(whole(COMPLETION) for _ in range(2)))
    upstream = provider(client)
    await upstream.chat(call(response_format={"type": "json_object"}))
    *asked, last = sent(client)["messages"]
    assert asked == BODY["messages"]
    assert (last["role"], "JSON" in last["content"]) == ("system", True)
    await upstream.chat(call())
    assert sent(client)["messages"] == BODY["messages"]


async def test_an_encoding_that_is_refused_is_not_asked_for_again() -> None:
    vectors = {"object": "list", "data": [{"index": 0, "embedding": [1.0]}], "model": "e"}
    client = Client(refusal("Unknown parameter: 'encoding_format'."), whole(vectors), whole(vectors))
    upstream = provider(client)
    for _ in range(2):
        found = await upstream.embed(EmbeddingsCall(("a",), "e", "x:e", encoding="base64"))
        assert found.vectors == [[1.0]]
    assert ["encoding_format" in sent(client, index) for index in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("model", "body", "asked"),
    [
        ("quirk-no-stream-options", {"stream": True}, 2),
        ("quirk-legacy-max-tokens", {"max_completion_tokens": 90}, 2),
        ("quirk-nine-letter-ids", {"messages": [USER, calling("call_1"), result("call_1")]}, 2),
        ("quirk-error-200", {"x_unheard_of": 1}, 2),
        ("gpt-5.1", {"max_tokens": 90, "stream": True}, 3),  # and its temperature is 0
        ("gpt-4o", {"reasoning_effort": "low", "x_unheard_of": 1}, 3),
        ("gpt-4o", {"messages": [USER, calling(LONG), result(LONG)]}, 2),
        ("gpt-4o", {"messages": [USER, result("nobody")]}, 2),
        ("gpt-4o", {"response_format": {"type": "json_object"}}, 2),
    ],
)
async def test_a_strict_upstream_is_asked_once_more_and_then_never_again(
    model: str, body: dict[str, Any], asked: int
) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        base_url = f"{sim.base_url}/openai/v1"
        upstream = OpenAICompatibleProvider(client, name="x", base_url=base_url, api_key="k")
        for total in (asked, asked + 1):
            reply = await upstream.chat(call(model, **body))
            await (read(reply) if body.get("stream") else reply.completion())
            assert reply.finish_reason == "stop"
            assert len(sim.requests) == total
        await client.aclose()


def test_a_provider_knows_what_was_configured() -> None:
    upstream = provider(Client(), models=("a", "b"))
    assert upstream.known() == [ModelInfo("a", "x", "a"), ModelInfo("b", "x", "b")]
    assert provider(Client()).known() == []
