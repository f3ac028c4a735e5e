"""Local models through a real Granian: OpenAI's own SDK in front, the simulated Ollama behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest

from .conftest import others_at, settings_for
from .gateway import KEY, Gateway, free_port, running_gateway
from .test_sdks import TOOLS, ask
from .upstream import Upstream, running_upstream

MODEL = "local:llama3.1:8b"


@contextmanager
def client_of(gateway: Gateway, **options: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0, timeout=30, **options
    ) as sdk:
        yield sdk


@pytest.fixture
def client(all_providers: Gateway) -> Iterator[openai.OpenAI]:
    with client_of(all_providers) as sdk:
        yield sdk


def collected(stream: Any) -> dict[str, Any]:
    """A streamed answer as the assistant message that goes into the next request, and how it ended."""
    text, calls, finish, usage = "", dict[int, dict[str, Any]](), None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            text += choice.delta.content or ""
            for delta in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    delta.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["id"] += delta.id or ""
                if delta.function is not None:
                    call["function"]["name"] += delta.function.name or ""
                    call["function"]["arguments"] += delta.function.arguments or ""
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return {"message": message, "finish": finish, "usage": usage}


def results_for(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": f"{call['function']['name']}: fine"}
        for call in message["tool_calls"]
    ]


TWO_CALLS: dict[str, Any] = {
    "blocks": [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {"city": "Oslo"}},
    ],
    "stop_reason": "tool_use",
}


def test_a_local_model_streams(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.script({"path": "/api/chat", "tokens": 40, "delay_ms": 1})
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=ask("Go"), stream=True, stream_options={"include_usage": True}
    ) as response:
        headers = response.headers
        answer = collected(response.parse())
    assert answer["finish"] == "stop"
    assert len(answer["message"]["content"].split()) >= 20
    assert answer["usage"].prompt_tokens > 0
    assert answer["usage"].completion_tokens > 0
    assert headers["x-provider"] == "ollama"
    assert headers["x-model-source"] == "local"
    assert headers["x-gateway-model"] == "llama3.1:8b"
    (received,) = upstream.asked("/api/chat")
    assert received["body"]["stream"] is True
    assert received["body"]["truncate"] is False
    assert received["body"]["options"]["num_ctx"] >= 16_384


def test_the_first_token_arrives_while_the_model_is_still_writing(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    upstream.script({"path": "/api/chat", "tokens": 40, "delay_ms": 50})
    with client.chat.completions.create(model=MODEL, messages=ask("Go"), stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                (received,) = upstream.asked("/api/chat")
                assert not received["completed"]
                break


def test_a_local_model_answers_whole(client: openai.OpenAI, upstream: Upstream) -> None:
    answer = client.chat.completions.create(
        model="llama3.1:8b", messages=ask("Hello there"), extra_body={"provider": "local"}
    )
    assert "Hello there" in (answer.choices[0].message.content or "")
    (received,) = upstream.asked("/api/chat")
    assert "provider" not in received["body"]


def test_a_conversation_with_two_tools_is_streamed_to_its_end(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    upstream.script({"path": "/api/chat", **TWO_CALLS})
    messages = ask("The weather and the time in Oslo?")
    first = collected(
        client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, stream=True)
    )
    calls = first["message"]["tool_calls"]
    assert first["finish"] == "tool_calls"
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": "Oslo"}] * 2
    assert len({call["id"] for call in calls}) == 2

    messages += [first["message"], *results_for(first["message"])]
    second = collected(
        client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, stream=True)
    )
    assert second["finish"] == "stop"
    assert second["message"]["content"]
    sent = upstream.asked("/api/chat")[1]["body"]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool"]
    assert [m["tool_name"] for m in sent[2:]] == ["get_weather", "get_time"]


def test_a_conversation_moves_between_all_providers_and_back(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    elsewhere = "/openai/v1/chat/completions"
    upstream.script(TWO_CALLS, {"path": "/api/chat", **TWO_CALLS}, {"path": elsewhere, **TWO_CALLS})
    messages = ask("The weather and the time in Oslo?")
    for model, finish in (
        ("sonnet", "tool_calls"),
        (MODEL, "tool_calls"),
        ("sonnet", "stop"),
        ("sim:gpt-4o", "tool_calls"),
        (MODEL, "stop"),
        ("haiku", "stop"),
    ):
        stream = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, stream=True)
        answer = collected(stream)
        assert answer["finish"] == finish, model
        messages.append(answer["message"])
        messages += results_for(answer["message"]) if finish == "tool_calls" else ask("And then?")
    assert len(upstream.asked("/api/chat")) == 2
    assert len(upstream.asked(elsewhere)) == 1
    assert len(upstream.chats) == 3


def test_the_access_token_reaches_the_upstream_and_nothing_of_the_caller_does() -> None:
    token = {"LOCAL_CF_ACCESS_CLIENT_ID": "e2e.access", "LOCAL_CF_ACCESS_CLIENT_SECRET": "e2e-access-secret"}
    of_the_caller = {
        "Cookie": "session=canary",
        "CF-Access-Client-Id": "canary.access",
        "CF-Access-Jwt-Assertion": "canary",
        "X-Api-Key": KEY,
        "X-Forwarded-For": "203.0.113.9",
        "X-Custom": "canary",
        "User-Agent": "canary/1",
        "anthropic-beta": "canary",
    }
    with (
        running_upstream("--access", "e2e.access:e2e-access-secret") as upstream,
        running_gateway(**settings_for(upstream, **others_at(upstream), **token)) as gateway,
    ):
        with client_of(gateway, default_headers=of_the_caller) as client:
            answer = client.chat.completions.create(model=MODEL, messages=ask("Hi"))
        assert answer.choices[0].message.content
        (chat,) = upstream.asked("/api/chat")
        assert set(chat["headers"]) == {
            "host",
            "content-length",
            "content-type",
            "accept",
            "user-agent",
            "cf-access-client-id",
            "cf-access-client-secret",
        }
        assert chat["headers"]["cf-access-client-id"] == "e2e.access"
        assert "canary" not in json.dumps(chat["headers"])
        for other in upstream.asked("/api/tags") + upstream.asked("/api/show"):
            assert other["status"] == 200, other["path"]
        assert "e2e-access-secret" not in gateway.log
        assert "Cloudflare Access: yes" in gateway.log


def test_a_model_outside_the_allow_list_is_400_with_the_list(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="local:mixtral:8x7b", messages=ask("Hi"))
    for allowed in ("llama3.1:8b", "qwen3:8b", "llama3.2:latest", "codellama:13b", "nomic-embed-text"):
        assert allowed in caught.value.message
    assert upstream.asked("/api/chat") == []


def test_an_ollama_that_is_absent_down_or_slow_is_500_502_504(shared_upstream: Upstream) -> None:
    shared_upstream.reset()
    absent = settings_for(shared_upstream)
    with running_gateway(**absent) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=MODEL, messages=ask("Hi"))
        assert caught.value.status_code == 500
        assert "LOCAL_LLM_BASE_URL" in caught.value.message

    local = settings_for(shared_upstream, **others_at(shared_upstream))
    with (
        running_gateway(**{**local, "LOCAL_LLM_BASE_URL": f"http://127.0.0.1:{free_port()}"}) as gateway,
        client_of(gateway) as client,
    ):
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model=MODEL, messages=ask("Hi"), stream=stream)
            assert (caught.value.status_code, caught.value.code) == (502, "upstream_connect")
        assert gateway.log.count("model list of ollama not available") == 1
        assert client.chat.completions.create(model="sonnet", messages=ask("Hi")).choices

    with (
        running_gateway(**{**local, "LOCAL_LLM_TIMEOUT_SECONDS": "0.5"}) as gateway,
        client_of(gateway) as client,
    ):
        shared_upstream.script({"path": "/api/chat", "hold_ms": 20_000})
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=MODEL, messages=ask("Hi"))
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        # An answer that goes on is not slow, however long it takes.
        shared_upstream.script({"path": "/api/chat", "tokens": 30, "delay_ms": 30})
        answer = collected(client.chat.completions.create(model=MODEL, messages=ask("Go"), stream=True))
        assert answer["finish"] == "stop"


@pytest.mark.parametrize("fault", ["error", "truncate", "cut", "reset"])
def test_a_local_stream_that_breaks_off_is_never_success(
    client: openai.OpenAI, upstream: Upstream, fault: str
) -> None:
    upstream.script({"path": "/api/chat", "tokens": 30, "fault": fault, "after": 5})
    with pytest.raises(openai.APIError):
        collected(client.chat.completions.create(model=MODEL, messages=ask("Go"), stream=True))


def test_a_client_that_leaves_stops_the_local_model(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.script({"path": "/api/chat", "tokens": 400, "delay_ms": 50})
    with client.chat.completions.create(model=MODEL, messages=ask("Go"), stream=True) as stream:
        next(iter(stream))
    upstream.wait_until("/api/chat", lambda asked: asked[-1]["closed_by_client_at"] is not None)


def test_local_answers_are_counted_under_their_own_name(
    client: openai.OpenAI, all_providers: Gateway, upstream: Upstream
) -> None:
    labels = {"provider": "ollama", "model": "qwen3:8b", "status": "200"}
    before = all_providers.metric("gateway_requests_total", **labels)
    client.chat.completions.create(model="local:qwen3:8b", messages=ask("Hi"))
    assert all_providers.metric("gateway_requests_total", **labels) == before + 1
    assert all_providers.metric("gateway_tokens_total", provider="ollama", model="qwen3:8b") > 0


def test_a_local_model_answers_in_anthropics_dialect(all_providers: Gateway) -> None:
    answer = httpx2.post(
        f"{all_providers.base_url}/v1/messages",
        headers={"x-api-key": KEY},
        json={"model": MODEL, "max_tokens": 10, "messages": ask("Hi")},
    )
    assert answer.status_code == 200, answer.text
    message = answer.json()
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", MODEL)
    assert message["content"][0]["type"] == "text"


def test_an_openai_compatible_upstream_streams(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.script({"path": "/openai/v1/chat/completions", "tokens": 30})
    with client.chat.completions.with_streaming_response.create(
        model="sim:gpt-4o", messages=ask("Go"), stream=True, stream_options={"include_usage": True}
    ) as response:
        headers = response.headers
        answer = collected(response.parse())
    assert answer["finish"] == "stop"
    assert answer["usage"].completion_tokens > 0
    assert (headers["x-provider"], headers["x-model-source"]) == ("sim", "custom")
    (received,) = upstream.asked("/openai/v1/chat/completions")
    assert received["body"]["model"] == "gpt-4o"
