"""Text completions: the caller's request goes up, the upstream's answer comes down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import orjson
import pytest
from httpx2 import AsyncClient, MockTransport, Request, Response

from perf.simulated import Scenario, SimulatedUpstream
from providers.base import SpeaksCompletions
from providers.errors import (
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    ProtocolError,
    ProviderError,
    RateLimited,
    UpstreamFailed,
)
from providers.http import open_client
from providers.http.types import Timeouts
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.types import CompletionCall, Usage
from tests.providers.anthropic.sources import Client

from .streams import DONE, USAGE, event, spaced
from .test_adapter import provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

PATH = "/openai/v1/completions"
ASKED: dict[str, Any] = {
    "model": "x:m",
    "prompt": "def f(",
    "suffix": ")",
    "max_tokens": 9,
    "x_unheard_of": 1,
}


def call(model: str = "m", **body: Any) -> CompletionCall:
    return CompletionCall({**ASKED, **body}, model, f"x:{model}")


def said(text: str, finish: str | None = None, index: int = 0) -> bytes:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return event(
        {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m-2026", "choices": [choice]}
    )


USED = event({"id": "cmpl-1", "object": "text_completion", "model": "m-2026", "choices": [], "usage": USAGE})
STREAM = b"".join(map(said, ("x", ", ", "größe", ' "\\'))) + said("", "stop") + USED + DONE
COMPLETION: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "m-2026",
    "choices": [{"text": "x", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": USAGE,
}


@pytest.mark.parametrize("written", [bytes, spaced, lambda stream: stream.replace(b"\n", b"\r\n")])
@pytest.mark.parametrize("every", [1, 50, 100_000])
async def test_a_stream_passes_and_its_usage_is_known(written: Callable[[bytes], bytes], every: int) -> None:
    stream = written(STREAM)
    client = Client(streamed(*(stream[at : at + every] for at in range(0, len(stream), every))))
    upstream = provider(client)
    assert isinstance(upstream, SpeaksCompletions)
    assert "completions" in upstream.features
    reply = await upstream.complete(call(stream=True))
    assert client.asked[0][1] == "https://upstream.test/v1/completions"
    assert sent(client) == {
        **ASKED,
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert await read(reply) == written(STREAM.replace(USED, b""))
    assert reply.usage == Usage(30, 20, 60, 10, 0, 5)
    assert (reply.model, reply.finish_reason, reply.upstream_request_id) == ("m-2026", "stop", "req_1")
    assert reply.first_token_at is not None


async def test_a_whole_completion_is_the_upstreams_own_object() -> None:
    client = Client(whole(COMPLETION))
    reply = await provider(client).complete(call())
    assert sent(client) == {**ASKED, "model": "m"}
    assert await reply.completion() == COMPLETION
    assert (reply.model, reply.finish_reason, reply.usage) == (
        "m-2026",
        "length",
        Usage(30, 20, 60, 10, 0, 5),
    )


@pytest.mark.parametrize(
    "broken",
    [said("x"), said("x") + said("y")[:-9], said("x") + b"data: {\n\n"],
)
async def test_a_broken_stream_is_never_success(broken: bytes) -> None:
    response = streamed(said("a") + broken)
    reply = await provider(Client(response)).complete(call(stream=True))
    with pytest.raises(ProtocolError):
        await read(reply)
    assert response.closed


@pytest.mark.parametrize(
    ("body", "finished"),
    [
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": "a", "n": 3}, 3),
        ({"prompt": ["a", "b"], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": []}, 1),
    ],
)
async def test_without_done_every_choice_must_have_ended(body: dict[str, Any], finished: int) -> None:
    ends = [said("", "stop", index) for index in range(finished)]
    reply = await provider(Client(streamed(said("a"), *ends))).complete(call(stream=True, **body))
    assert (await read(reply)).endswith(DONE)
    reply = await provider(Client(streamed(said("a"), *ends[:-1]))).complete(call(stream=True, **body))
    with pytest.raises(ProtocolError):
        await read(reply)


@pytest.mark.parametrize(
    ("answer", "kind", "status", "code"),
    [
        (whole({"detail": "Not Found"}, 404), ModelNotFound, 404, "unsupported_model"),
        (whole({"detail": "Method Not Allowed"}, 405), ModelNotFound, 404, "unsupported_model"),
        (whole(b"<html>", 404), ModelNotFound, 404, "unsupported_model"),
        (whole({"error": "Unexpected endpoint or method."}), ModelNotFound, 404, "unsupported_model"),
        (refusal("The model `m` is unknown", status=404), ModelNotFound, 404, "model_not_found"),
        (refusal("suffix is not currently supported"), BadRequest, 400, "invalid_request"),
        (refusal("too long", code="context_length_exceeded"), ContextTooLong, 400, "context_length_exceeded"),
        (refusal("slow down", status=429), RateLimited, 429, "rate_limit_exceeded"),
        (whole(b"oops", 500), UpstreamFailed, 502, "upstream_error"),
    ],
)  # fmt: skip
async def test_a_refusal_is_its_error(answer: Any, kind: type[ProviderError], status: int, code: str) -> None:
    client = Client(answer)
    with pytest.raises(ProviderError) as failure:
        await provider(client).complete(call(stream=True))
    error = failure.value
    assert (type(error), error.status, error.code) == (kind, status, code)
    assert (error.provider, error.upstream_request_id) == ("x", "req_1")
    assert "/v1/chat/completions" in error.message or code != "unsupported_model"
    assert len(client.asked) == 1


async def test_what_completions_are_taught_chats_do_not_learn() -> None:
    said_no = refusal("Unknown parameter: 'stream_options'.", param="stream_options")
    client = Client(said_no, streamed(STREAM.replace(USED, b"")), streamed(STREAM))
    upstream = provider(client)
    await upstream.complete(call(stream=True))
    assert "stream_options" not in sent(client)
    await upstream.complete(call(stream=True))
    assert "stream_options" not in sent(client)
    assert upstream._manners.get("m").stream_options


async def test_what_makes_the_completion_is_never_left_out() -> None:
    for name in ("prompt", "suffix", "echo", "best_of", "n", "stop"):
        client = Client(refusal(f"Unknown parameter: '{name}'.", param=name))
        with pytest.raises(BadRequest):
            await provider(client).complete(CompletionCall({**ASKED, name: 1}, "m", "x:m"))
        assert len(client.asked) == 1


async def test_the_sdk_completes_a_text_through_the_provider() -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        upstream = OpenAICompatibleProvider(
            client, name="x", base_url=f"{sim.base_url}/openai/v1", api_key="k"
        )

        async def handle(request: Request) -> Response:
            body = orjson.loads(request.content)
            reply = await upstream.complete(CompletionCall(body, body["model"], body["model"]))
            if body.get("stream"):
                return Response(200, content=await read(reply), headers={"content-type": "text/event-stream"})
            return Response(200, json=await reply.completion())

        http = AsyncClient(transport=MockTransport(handle))
        async with openai.AsyncOpenAI(api_key="k", base_url="http://gw/v1", http_client=http) as sdk:
            for model in (
                "gpt-3.5-turbo-instruct",
                "quirk-spaced+crlf",
                "quirk-no-done",
                "quirk-no-stream-options",
            ):
                asked: Any = {
                    "model": model,
                    "prompt": "def f(",
                    "suffix": ")",
                    "max_tokens": 20,
                    "echo": True,
                }
                found = await sdk.completions.create(**asked)
                assert found.choices[0].text.startswith("def f(")
                assert found.choices[0].finish_reason == "length"
                assert found.usage is not None
                assert found.usage.completion_tokens == 20
                stream = await sdk.completions.create(**asked, stream=True)
                parts = [chunk async for chunk in stream]
                assert "".join(part.choices[0].text for part in parts) == found.choices[0].text
                assert parts[-1].choices[0].finish_reason == "length"
        await client.aclose()


@pytest.mark.parametrize("fault", ["truncate", "reset", "cut", "stall", "error", "bad_json"])
async def test_a_fault_of_the_upstream_is_never_success(fault: Any) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine", timeouts=Timeouts(first_byte=0.3, idle=0.3))
        upstream = OpenAICompatibleProvider(
            client, name="x", base_url=f"{sim.base_url}/openai/v1", api_key="k"
        )
        sim.script(Scenario(path=PATH, tokens=20, fault=fault, after=5))
        asked = CompletionCall(
            {"prompt": "go on", "stream": True, "max_tokens": 50}, "gpt-3.5-turbo-instruct", "x"
        )
        with pytest.raises(ProviderError):
            await read(await upstream.complete(asked))
        await client.aclose()
