"""Upstreams that do not stream: a whole answer, told as the stream or in the dialect that was asked for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.errors import ProtocolError, ProviderError
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall, Usage
from tests.providers.anthropic.sources import Client

from .streams import GOLDEN
from .test_adapter import BODY, call, provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

UNVERIFIED = (
    "Your organization must be verified to stream this model. Please go to: https://platform.openai.com/"
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 7,
    "model": "m-2026",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
}


def client(*answers: Any) -> Client:
    return Client(
        refusal(UNVERIFIED, param="stream", code="unsupported_value"), *(answers or (whole(ANSWER),))
    )


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_chat_is_told_in_chunks(wanted: bool) -> None:
    http = client(whole(ANSWER), whole(ANSWER))
    upstream = provider(http)
    for _ in range(2):
        reply = await upstream.chat(call(stream=True, stream_options={"include_usage": wanted}))
        events = (await read(reply)).decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        chunks = [orjson.loads(event.removeprefix("data: ")) for event in events[:-2]]
        assert len(chunks) == 1 + wanted
        assert chunks[0]["object"] == "chat.completion.chunk"
        (choice,) = chunks[0]["choices"]
        assert choice["delta"]["content"] == "I look."
        assert choice["delta"]["tool_calls"] == [{"index": 0, **CALL}]
        assert choice["finish_reason"] == reply.finish_reason == "tool_calls"
        assert (reply.usage, reply.model, reply.dropped) == (Usage(12, 5), "m-2026", ())
        assert reply.first_token_at is not None
        assert sent(http) == {**BODY, "model": "m"}
    assert len(http.asked) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_message_is_told_in_its_dialect(stream: bool) -> None:
    http = client()
    reply = await provider(http).chat(ChatCall({**BODY, "stream": stream}, "m", "x:m", writer=MessageWriter))
    if stream:
        said = (await read(reply)).decode()
        assert said.index("I look.") < said.index('"tool_use"') < said.index("message_stop")
    else:
        message: Any = await reply.completion()
        assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
        assert message["content"][1]["input"] == {"at": "it"}
    assert http.asked[-1][2][b"accept"] == b"application/json"
    assert "stream" not in sent(http) or sent(http)["stream"] is False


@pytest.mark.parametrize(
    "answer",
    [
        whole({"error": {"message": "no", "code": 500}}),
        whole({"choices": "none"}),
        whole({"choices": [5]}),
        whole([]),
    ],
)
async def test_what_is_no_answer_is_a_failure_before_the_stream_begins(answer: Any) -> None:
    with pytest.raises(ProviderError):
        await provider(client(answer)).chat(call(stream=True))


async def test_an_answer_that_breaks_off_is_no_stream() -> None:
    broken = whole(ANSWER)
    broken.left[0] = orjson.dumps(ANSWER)[:40]
    with pytest.raises(ProtocolError):
        await provider(client(broken)).chat(call(stream=True))


async def test_a_server_that_streams_no_calls_streams_the_rest() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    http = Client(refusal("Cannot use tools with stream"), whole(ANSWER), streamed(GOLDEN["no_usage"]))
    upstream = provider(http)
    await read(await upstream.chat(call(stream=True, tools=tools)))
    assert await read(await upstream.chat(call(stream=True))) == GOLDEN["no_usage"]
    assert sent(http)["stream"] is True
