"""Callers of other dialects, tools that only OpenAI has, thinking in Anthropic's shape: what goes up, and
what comes back."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest
from httpx2 import AsyncClient, MockTransport, Request, Response

from perf.simulated import SimulatedUpstream
from providers.base import ChatReply
from providers.errors import BadRequest, ProtocolError, UpstreamFailed
from providers.http import open_client
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.openai_compatible.shapes import as_functions, plain_turns
from providers.translate.chunks import chat_writer
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall, NewWriter, Usage
from tests.providers.anthropic.sources import Client

from .streams import CALL, DONE, GOLDEN, ROLE, arguments, delta, text
from .test_adapter import BODY, COMPLETION, call, provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

PATCH = {
    "type": "custom",
    "custom": {
        "name": "patch",
        "description": "Changes a file.",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}},
    },
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CARRIED = {
    "type": "function",
    "function": {
        "name": "patch",
        "description": "Changes a file.\n\nThe input must match this lark grammar:\nstart: /.+/",
        "parameters": {
            "type": "object",
            "properties": {"input": {"type": "string", "description": "The tool's input, verbatim."}},
            "required": ["input"],
            "additionalProperties": False,
        },
    },
}
#: How servers refuse custom tools.
REFUSALS = {
    "vLLM": refusal(
        "[{'type': 'missing', 'loc': ('body', 'tools', 0, 'function'), 'msg': 'Field required'}]"
    ),
    "llama.cpp": refusal("Failed to parse tools: Unsupported tool type: custom", status=500),
    "Groq": refusal("'tools.0.type' : value must be one of 'function'"),
    "DeepSeek": refusal("tools[0].type: unknown variant `custom`, expected `function`", status=422),
    "Mistral": whole({"detail": [{"loc": ["body", "tools", 0, "function"], "msg": "Field required"}]}, 422),
    "OpenAI": refusal("Tool type 'custom' is not supported with this model.", param="tools"),
}


def said_by(which: str) -> Any:
    """A fresh copy of one of the refusals: a response can be read once."""
    made = REFUSALS[which]
    return whole(made.left[0], made.status)


def dialect(writer: NewWriter | None, **body: Any) -> ChatCall:
    return ChatCall({**BODY, **body}, "m", "x:m", writer=writer)


async def answer(reply: ChatReply, stream: bool) -> Any:
    return await (read(reply) if stream else reply.completion())


# -- another dialect --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_the_upstream_always_streams_to_a_caller_of_another_dialect(stream: bool) -> None:
    client = Client(streamed(GOLDEN["tools"]))
    reply = await provider(client).chat(dialect(MessageWriter, stream=stream))
    assert client.asked[0][2][b"accept"] == b"text/event-stream"
    assert sent(client) == {**BODY, "model": "m", "stream": True, "stream_options": {"include_usage": True}}
    found = await answer(reply, stream)
    if stream:
        names = [line for line in found.split(b"\n") if line.startswith(b"event: ")]
        assert (names[0], names[-1]) == (b"event: message_start", b"event: message_stop")
    else:
        assert [block["type"] for block in found["content"]] == ["text", "tool_use", "tool_use"]
        assert [block["input"] for block in found["content"][1:]] == [{"city": "Ulm"}, {}]
    assert reply.usage == Usage(30, 20, 60, 10, 0, 5)
    assert (reply.model, reply.finish_reason, reply.upstream_request_id) == ("m-2026", "tool_calls", "req_1")
    assert reply.first_token_at is not None


@pytest.mark.parametrize("stream", [True, False])
async def test_servers_without_stream_options_are_asked_without(stream: bool) -> None:
    said = refusal("Unknown parameter: 'stream_options'.", param="stream_options")
    client = Client(said, streamed(GOLDEN["no_usage"]), streamed(GOLDEN["no_usage"]))
    upstream = provider(client)
    for _ in range(2):
        await answer(await upstream.chat(dialect(MessageWriter, stream=stream)), stream)
        assert sent(client) == {**BODY, "model": "m", "stream": True}
    assert len(client.asked) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_breaks_off_is_never_whole(stream: bool) -> None:
    response = streamed(ROLE + text("one"))
    reply = await provider(Client(response)).chat(dialect(MessageWriter, stream=stream))
    with pytest.raises(ProtocolError) as failure:
        await answer(reply, stream)
    assert failure.value.code == "upstream_truncated"
    assert (failure.value.provider, failure.value.upstream_request_id) == ("x", "req_1")
    assert response.closed


async def test_an_error_before_the_first_word_is_an_ordinary_one() -> None:
    error = b'data: {"error":{"message":"at https://upstream.test/v1: no","code":500}}\n\n'
    response = streamed(ROLE + error)
    with pytest.raises(UpstreamFailed) as failure:
        await provider(Client(response)).chat(dialect(MessageWriter))
    assert failure.value.message == "at …: no"
    assert response.closed


# -- custom tools -----------------------------------------------------------------------------------------


def test_custom_tools_become_functions_everywhere() -> None:
    body = {
        "tools": [PATCH, LOOK, {"type": "web_search"}, "nonsense"],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "custom", "custom": {"name": "patch"}}, {"type": "function"}],
            },
        },
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "custom", "custom": {"name": "patch", "input": 'é "x"\n'}},
                    {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "done"},
        ],
    }
    before = orjson.dumps(body)
    carried = as_functions(body)
    assert orjson.dumps(body) == before
    assert carried["tools"] == [CARRIED, LOOK, {"type": "web_search"}, "nonsense"]
    allowed = carried["tool_choice"]["allowed_tools"]["tools"]
    assert allowed == [{"type": "function", "function": {"name": "patch"}}, {"type": "function"}]
    one, two = carried["messages"][1]["tool_calls"]
    assert (one["id"], one["type"], one["function"]["name"]) == ("a", "function", "patch")
    assert orjson.loads(one["function"]["arguments"]) == {"input": 'é "x"\n'}
    assert two == body["messages"][1]["tool_calls"][1]  # type: ignore[index]
    assert as_functions(carried) == carried


ANSWER = (
    ROLE
    + delta(tool_calls=[{**CALL, "function": {"name": "patch", "arguments": ""}}])
    + arguments('{"input":"*** Beg')
    + arguments('in\\n"}')
    + delta(tool_calls=[{**CALL, "index": 1, "id": "call_2"}])
    + arguments("{}", 1)
    + delta(finish="tool_calls")
    + DONE
)


@pytest.mark.parametrize("server", REFUSALS)
async def test_custom_tools_are_carried_where_they_are_refused_and_come_back_as_they_are(server: str) -> None:
    client = Client(said_by(server), *(streamed(ANSWER) for _ in range(3)))
    upstream = provider(client)
    for stream in (True, False):
        asked = call(
            stream=stream, tools=[PATCH, LOOK], tool_choice={"type": "custom", "custom": {"name": "patch"}}
        )
        reply = await upstream.chat(asked)
        found = await answer(reply, stream)
        assert sent(client)["tools"] == [CARRIED, LOOK]
        assert sent(client)["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
        assert reply.finish_reason == "tool_calls"
        if not stream:
            one, two = found["choices"][0]["message"]["tool_calls"]
            assert one == {
                "id": "call_1",
                "type": "custom",
                "custom": {"name": "patch", "input": "*** Begin\n"},
            }
            assert two["function"] == {"name": "look", "arguments": "{}"}
        else:
            assert found.endswith(DONE)
            assert b'"custom":{"input":"*** Beg"}' in found
            assert b'"usage"' not in found
    # Remembered: asked once more only once; without custom tools the answer passes as it is.
    assert len(client.asked) == 3
    plain = await upstream.chat(call(stream=True, tools=[LOOK]))
    assert await read(plain) == ANSWER


async def test_openais_own_custom_tools_pass_untouched() -> None:
    client = Client(whole(COMPLETION))
    assert await (await provider(client).chat(call(tools=[PATCH]))).completion() == COMPLETION
    assert sent(client)["tools"] == [PATCH]


async def test_carried_tools_in_another_dialect_are_its_own() -> None:
    client = Client(said_by("vLLM"), streamed(ANSWER))
    reply = await provider(client).chat(dialect(MessageWriter, tools=[PATCH]))
    one, two = (await reply.completion())["content"]
    assert (one["name"], one["input"]) == ("patch", {"input": "*** Begin\n"})
    assert two["name"] == "look"


async def test_several_choices_and_carried_tools_are_refused_by_name() -> None:
    client = Client(said_by("vLLM"))
    upstream = provider(client)
    with pytest.raises(BadRequest):
        await upstream.chat(call(tools=[PATCH], n=2))
    assert len(client.asked) == 1  # it is the upstream's refusal
    client.answers = [said_by("vLLM"), streamed(ANSWER)]
    await upstream.chat(call(tools=[PATCH]))
    with pytest.raises(BadRequest) as refused:
        await upstream.chat(call(tools=[PATCH], n=2))
    assert refused.value.param == "n"
    assert len(client.asked) == 3


async def test_a_history_of_custom_calls_moves_to_a_server_without() -> None:
    history = [
        *BODY["messages"],
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    said = refusal("messages[1].tool_calls[0].function: Field required", param="messages[1].tool_calls[0]")
    client = Client(said, whole(COMPLETION))
    assert await (await provider(client).chat(call(messages=history))).completion() == COMPLETION
    carried = sent(client)["messages"][1]["tool_calls"][0]
    assert carried["function"] == {"name": "patch", "arguments": '{"input":"x"}'}


async def test_a_refusal_that_is_about_something_else_is_the_callers() -> None:
    client = Client(refusal("The image is too large.", param="messages[0].content"))
    with pytest.raises(BadRequest, match="too large"):
        await provider(client).chat(call(tools=[PATCH]))
    assert len(client.asked) == 1


async def test_markers_on_tools_are_left_out_where_they_are_refused() -> None:
    marked = {**LOOK, "cache_control": {"type": "ephemeral"}}
    said = refusal("Unknown parameter: 'tools[0].cache_control'.", param="tools[0].cache_control")
    client = Client(said, whole(COMPLETION), whole(COMPLETION))
    upstream = provider(client)
    for tools, expected in (([marked, PATCH], [LOOK, PATCH]), ([marked], [LOOK])):
        await upstream.chat(call(tools=tools))
        assert sent(client)["tools"] == expected
    assert len(client.asked) == 3


# -- thinking in Anthropic's shape ------------------------------------------------------------------------

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "SIG"}
REDACTED = {"type": "redacted_thinking", "data": "DATA"}
USE = {"type": "tool_use", "id": "t1", "name": "look", "input": {"x": 1}}


def said(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [*parts], **fields}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            said(THINKING, {"type": "text", "text": "I look."}, USE),
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}}
                ],
            },
        ),
        (
            said(THINKING, REDACTED, tool_calls=[CALL]),
            {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [CALL]},
        ),
        (said(REDACTED), {"role": "assistant", "content": ""}),
        (
            said(THINKING, {"type": "text", "text": "a"}, THINKING, {"type": "text", "text": "b"}),
            {"role": "assistant", "content": "a\nb", "reasoning_content": "Hm.\nHm."},
        ),
        (
            said(THINKING, {"type": "text", "text": "a"}, reasoning_content="kept"),
            {"role": "assistant", "content": "a", "reasoning_content": "kept"},
        ),
        (
            said(REDACTED, {"type": "refusal", "refusal": "No."}),
            said({"type": "refusal", "refusal": "No."}),
        ),
    ],
)
def test_thinking_of_another_shape_never_reaches_an_upstream(message: Any, expected: Any) -> None:
    messages = [{"role": "user", "content": "hi"}, message]
    before = orjson.dumps(messages)
    assert plain_turns(messages) == [messages[0], expected]
    assert orjson.dumps(messages) == before


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "hello",
        [5, {"role": "assistant"}, said(5), said({"type": "text", "text": "x"})],
        [{"role": "user", "content": [{"type": "thinking", "thinking": "mine"}]}],
    ],
)
def test_everything_else_stays_what_it_is(messages: Any) -> None:
    assert plain_turns(messages) is messages


async def test_signed_thinking_of_a_conversation_that_moves_is_not_sent() -> None:
    client = Client(whole(COMPLETION))
    await provider(client).chat(call(messages=[*BODY["messages"], said(THINKING, REDACTED, USE)]))
    assert b"SIG" not in client.asked[0][3]
    assert b"DATA" not in client.asked[0][3]
    assert "signed_thinking" not in OpenAICompatibleProvider.features


# -- the strict upstream, and the SDK ---------------------------------------------------------------------


@pytest.mark.parametrize("model", ["quirk-functions-only", "quirk-functions-only-500", "gpt-4o"])
async def test_a_custom_tool_is_one_to_the_sdk_whatever_the_upstream(model: str) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        upstream = OpenAICompatibleProvider(
            client, name="x", base_url=f"{sim.base_url}/openai/v1", api_key="k"
        )

        async def handle(request: Request) -> Response:
            body = orjson.loads(request.content)
            reply = await upstream.chat(ChatCall(body, model, f"x:{model}"))
            if body.get("stream"):
                return Response(200, content=await read(reply), headers={"content-type": "text/event-stream"})
            return Response(200, json=await reply.completion())

        http = AsyncClient(transport=MockTransport(handle))
        async with openai.AsyncOpenAI(api_key="k", base_url="http://gw/v1", http_client=http) as sdk:
            asked: Any = {
                "model": f"x:{model}",
                "messages": [{"role": "user", "content": "patch it"}],
                "tools": [PATCH],
                "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
            }
            found = await sdk.chat.completions.create(**asked)
            (made,) = found.choices[0].message.tool_calls or []
            assert made.type == "custom"
            assert (made.custom.name, made.custom.input) == ("patch", "patch it")
            stream = await sdk.chat.completions.create(**asked, stream=True)
            deltas = [chunk.choices[0].delta for chunk in [c async for c in stream] if chunk.choices]
            parts = [part.model_dump() for each in deltas for part in each.tool_calls or ()]
            assert "".join(part["custom"]["input"] for part in parts) == "patch it"
            assert parts[0]["custom"]["name"] == "patch"
        await client.aclose()


async def test_a_translated_answer_in_the_callers_own_dialect_is_the_same_chat() -> None:
    """The chat writer, too, takes what the translator says."""
    reply = await provider(Client(streamed(GOLDEN["reasoning"]))).chat(dialect(chat_writer))
    message = (await reply.completion())["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "Hm. Well.")
