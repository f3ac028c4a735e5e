"""The routes of all dialects over a provider that says what it is told to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gw.routes._http import ESTIMATED
from providers.errors import Overloaded, ProtocolError, RateLimited
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall, CompletionCall, MessagesCall, Usage
from tests.middleware.asgi import call

from .stub import Front, StubProvider, StubReply, front

pytestmark = pytest.mark.anyio

LOCAL = {"LOCAL_LLM_BASE_URL": "http://127.0.0.1:11434"}
ASK: Any = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": ASK},
    "/v1/messages": {"messages": ASK, "max_tokens": 5},
    "/v1/responses": {"input": "Hi"},
}


class Estimating(StubProvider):
    async def estimate(self, call: ChatCall) -> int:
        self.calls.append(call)
        return 42


class Completing(StubProvider):
    async def complete(self, call: CompletionCall) -> StubReply:
        self.completions = [call]
        return StubReply(call.model, {})


class RawStub:
    """What Claude itself has said."""

    stream = False
    content_type = b"application/json"
    upstream_request_id = "req_upstream"
    first_token_at: float | None = None
    done = True
    attempts = 1
    headers = ((b"anthropic-ratelimit-requests-limit", b"50"),)

    def __init__(self, model: str) -> None:
        self.model = model
        self.usage = Usage(input_tokens=3)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'{"type": "message"}'

    def failed(self, code: str, message: str) -> bytes:
        return b""

    async def aclose(self) -> None: ...


class Claude(StubProvider):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[MessagesCall] = []

    async def messages(self, call: MessagesCall) -> RawStub:
        self.asked.append(call)
        return RawStub(call.model)


async def asked(provider: Any, path: str, body: Any, **headers: str) -> Any:
    async with front(ollama=provider, environ=LOCAL) as gateway:
        return await gateway.post(path, {"model": "local", **body}, **headers)


@pytest.mark.parametrize("base", ["/v1", ""])
@pytest.mark.parametrize("path", BODIES)
async def test_every_dialect_becomes_one_chat(path: str, base: str) -> None:
    provider = StubProvider("ollama")
    answer = await asked(provider, path.replace("/v1", base), BODIES[path])
    assert answer.status == 200
    assert answer.headers["x-provider"] == "ollama"
    (call,) = provider.calls
    assert [m["content"] for m in call.body["messages"]] == ["Hi"]
    assert (call.writer is None) == (path == "/v1/chat/completions")


async def test_the_gateways_own_bound_is_known_as_such_in_every_dialect() -> None:
    for path, body in BODIES.items():
        provider = StubProvider("ollama")
        await asked(provider, path, body)
        (call,) = provider.calls
        assert call.max_tokens_defaulted == (path != "/v1/messages")
        assert call.body["max_tokens"] == (5 if path == "/v1/messages" else 1200)


async def test_a_conversation_is_named_when_it_is_asked_for_and_the_same_for_the_same_key() -> None:
    provider = StubProvider("ollama")
    async with front(ollama=provider, environ=LOCAL) as gateway:
        for path, body in BODIES.items():
            for name in ("one", "one", "two"):
                await gateway.post(path, {"model": "local", **body}, **{"x-claude-code-session-id": name})
    names = [call.session() for call in provider.calls]
    assert all(names)
    assert len(set(names)) == 2
    assert names[0::3] == names[1::3]


async def test_an_estimate_is_marked_as_one() -> None:
    provider = Estimating("ollama")
    counted = await asked(provider, "/v1/messages/count_tokens", {"messages": ASK})
    assert (counted.status, counted.json()) == (200, {"input_tokens": 42})
    assert ESTIMATED in counted.raw_headers
    counted = await asked(provider, "/v1/responses/input_tokens", {"input": "Hi"})
    assert counted.json() == {"object": "response.input_tokens", "input_tokens": 42}
    assert ESTIMATED in counted.raw_headers
    assert all("max_tokens" not in call.body for call in provider.calls)


async def test_who_can_neither_count_nor_estimate_says_so_for_good() -> None:
    answer = await asked(StubProvider("ollama"), "/v1/messages/count_tokens", {"messages": ASK})
    assert answer.status == 501
    assert answer.json()["type"] == "error"
    assert answer.headers["x-should-retry"] == "false"


async def test_claude_is_asked_in_its_own_words_and_answers_in_them() -> None:
    provider = Claude()
    async with front(anthropic=provider) as gateway:
        raw = b'{ "model":"claude-sonnet-5-5", "tomorrow": 1.0,"max_tokens":5,"messages":[]}'
        answer = await gateway.post("/v1/messages", raw, **{"anthropic-beta": "a,b"})
        await gateway.post("/v1/messages/count_tokens", raw)
        alias = await gateway.post("/v1/messages", {"model": "sonnet", "max_tokens": 5, "messages": []})
    message, count, renamed = provider.asked
    assert (message.body, message.endpoint) == (raw, "messages")
    assert (count.body, count.endpoint) == (raw, "count_tokens")
    assert orjson.loads(renamed.body)["model"] == "claude-sonnet-5-5"
    assert (b"anthropic-beta", b"a,b") in message.headers
    assert answer.body == b'{"type": "message"}'
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "50"
    assert answer.headers["request-id"] == "req_upstream"
    assert alias.headers["x-gateway-model"] == "claude-sonnet-5-5"
    assert provider.calls == []


async def test_messages_to_others_name_what_was_left_out_on_both_ways() -> None:
    provider = StubProvider("ollama")
    StubReply.dropped = ("top_p",)
    try:
        body = {**BODIES["/v1/messages"], "context_management": {"edits": []}}
        answer = await asked(provider, "/v1/messages", body)
        assert answer.headers["x-gateway-dropped-params"] == "context_management, top_p"
        assert provider.calls[0].writer is MessageWriter
    finally:
        StubReply.dropped = ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/responses/resp_1"),
        ("get", "/v1/responses/resp_1/input_items"),
        ("post", "/v1/responses/resp_1/cancel"),
        ("post", "/v1/responses/compact"),
    ],
)
async def test_what_would_need_a_store_is_a_404_in_words(method: str, path: str) -> None:
    async with front(ollama=StubProvider("ollama"), environ=LOCAL) as gateway:
        answer = await (gateway.get(path) if method == "get" else gateway.post(path, {"model": "local"}))
    assert answer.status == 404
    assert answer.headers["x-should-retry"] == "false"
    assert "There is no" not in answer.json()["error"]["message"]


async def test_completions_go_to_who_can() -> None:
    provider = Completing("ollama")
    body = {"prompt": "def add(", "suffix": ")", "provider": "local"}
    answer = await asked(provider, "/v1/completions", body)
    assert answer.status == 200
    (call,) = provider.completions
    assert call.body == {"model": "local", "prompt": "def add(", "suffix": ")"}
    answer = await asked(StubProvider("ollama"), "/v1/completions", {"prompt": "def add("})
    assert answer.status == 404
    assert "only chats" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [*BODIES, "/v1/completions"])
async def test_a_stream_that_is_neither_wanted_nor_unwanted_is_refused(path: str) -> None:
    answer = await asked(Completing("ollama"), path, {**BODIES.get(path, {"prompt": ""}), "stream": "yes"})
    assert answer.status == 400
    assert "`stream` must be true or false" in str(answer.json()["error"])


class Failing(StubProvider):
    error: Exception

    async def chat(self, call: ChatCall) -> StubReply:
        raise self.error


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RateLimited("Slow down.", retry_after=3), "rate_limit_error", "rate_limit_exceeded"),
        (Overloaded("Busy."), "overloaded_error", "upstream_overloaded"),
        (ProtocolError("Nonsense."), "api_error", "upstream_protocol"),
    ],
)
async def test_errors_come_in_the_envelope_of_the_path(
    path: str, error: Exception, kind: str, code: str
) -> None:
    provider = Failing("ollama")
    provider.error = error
    answer = await asked(provider, path, BODIES[path])
    if path == "/v1/messages":
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == kind
    else:
        assert answer.json()["error"]["code"] == code


async def test_claude_code_finds_somebody_at_home_without_a_key() -> None:
    async with front() as gateway:
        for method in ("GET", "HEAD"):
            assert (await _plain(gateway, method, "/api/hello")).status == 200
        assert (await _plain(gateway, "GET", "/api/other")).status == 401


async def _plain(gateway: Front, method: str, path: str) -> Any:
    return await call(gateway.app, method=method, path=path)
