"""What the real SDKs make of a stream is what the gateway answers to a caller who wants it whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest

from .dialects import question
from .gateway import Gateway
from .transcripts import ALL, MADE_UP, Transcript

Json = dict[str, Any]

#: Where nothing is translated the whole answer is the upstream's own, and a broken one is never whole.
TRANSLATED = [
    asked
    for asked in ALL
    if asked.case != "error"
    and (asked.caller, asked.upstream) not in (("messages", "anthropic"), ("chat", "openai"))
]
BROKEN = [asked for asked in ALL if asked.case == "error"]
#: Times, and the place of a call in a stream.
_VARYING = frozenset({"created", "created_at", "index"})

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("asked", TRANSLATED, ids=lambda asked: asked.name)
async def test_streamed_is_whole(asked: Transcript) -> None:
    gateway = Gateway(asked.upstream)
    stream = await gateway.stream(asked, [asked.said()])
    whole = await gateway.whole(asked)
    await gateway.aclose()
    streamed = await asyncio.to_thread(_SDKS[asked.caller], stream)
    assert _settled(streamed) == _settled(whole)


@pytest.mark.parametrize("asked", BROKEN, ids=lambda asked: asked.name)
async def test_a_broken_stream_is_an_error_in_the_sdk_and_never_an_answer(asked: Transcript) -> None:
    gateway = Gateway(asked.upstream)
    stream = await gateway.stream(asked, [asked.said()])
    await gateway.aclose()
    with pytest.raises((anthropic.APIError, openai.APIError, RuntimeError)) as failure:
        await asyncio.to_thread(_SDKS[asked.caller], stream)
    if asked.caller != "responses":  # where the error is an event like others, with the response in it
        assert "verload" in str(failure.value) or "process" in str(failure.value)


def _settled(answer: Json) -> Any:
    """``answer`` without what varies and without what says nothing."""
    told = orjson.dumps(_said(answer)).decode()
    return orjson.loads(MADE_UP.sub("made up", told))


def _said(answer: Any) -> Any:
    if isinstance(answer, dict):
        kept = {name: _said(value) for name, value in answer.items() if name not in _VARYING}
        return {name: value for name, value in kept.items() if value not in (None, "", [], {})}
    return [_said(value) for value in answer] if isinstance(answer, list) else answer


def _client(stream: bytes) -> Any:
    """A transport that answers with ``stream``."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def _asked(caller: str) -> Json:
    """Parameters of the SDK's own streaming, which asks for a stream by itself."""
    return {name: value for name, value in question(caller, "m", stream=True).items() if name != "stream"}


def _of_messages(stream: bytes) -> Json:
    client = anthropic.Anthropic(api_key="k", base_url="http://gateway.test", http_client=_client(stream))
    asked = _asked("messages")
    with client.messages.stream(**asked) as events:
        return events.get_final_message().to_dict()


def _of_chat(stream: bytes) -> Json:
    client = openai.OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=_client(stream))
    asked = _asked("chat")
    del asked["tools"]  # with them this SDK takes only schemas that are strict
    with client.chat.completions.stream(**asked) as events:
        for _ in events:
            pass
        return events.current_completion_snapshot.to_dict()


def _of_responses(stream: bytes) -> Json:
    client = openai.OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=_client(stream))
    asked = _asked("responses")
    with client.responses.stream(**asked) as events:
        last = list(events)[-1]
        if last.type == "response.incomplete":
            return last.response.to_dict()
        return events.get_final_response().to_dict()


_SDKS: dict[str, Callable[[bytes], Json]] = {
    "chat": _of_chat,
    "messages": _of_messages,
    "responses": _of_responses,
}
