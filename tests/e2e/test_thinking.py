"""A chat client without a place for thinking, a model that binds it: nothing lost, nothing refused."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.services import running_redis

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .test_local import collected, results_for
from .test_sdks import TOOLS
from .test_workers import eventually
from .upstream import Upstream

MODEL = "claude-opus-5-5"
ROUNDS = 4


def converse(gateway: Gateway, **headers: str) -> list[Any]:
    """Some rounds of question, tool call, result and answer, each request over a connection of its own."""
    history: list[Any] = [{"role": "system", "content": "You are an agent."}]

    def say(*messages: Any, stream: bool) -> dict[str, Any]:
        history.extend(messages)
        with openai.OpenAI(
            base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0, timeout=30, default_headers=headers
        ) as client:
            asked: Any = {"model": MODEL, "messages": history, "tools": TOOLS}
            if stream:
                message = collected(client.chat.completions.create(**asked, stream=True))["message"]
            else:
                answer = client.chat.completions.create(**asked).choices[0].message
                assert answer.model_extra["reasoning_content"]  # it was shown, and is dropped here
                message = answer.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True)
        history.append(message)
        return dict(message)

    for number in range(ROUNDS):
        stream = number % 2 == 0
        question = {"role": "user", "content": f"Round {number}: please use the tool."}
        say(*results_for(say(question, stream=stream)), stream=stream)
    return history


def thinking_of_calls(upstream: Upstream) -> list[bool]:
    """For each assistant turn with a tool call in the last request: whether it begins with thinking."""
    assert {chat["status"] for chat in upstream.chats} == {200}  # the upstream has refused nothing
    turns = [m["content"] for m in upstream.chats[-1]["body"]["messages"] if m["role"] == "assistant"]
    return [
        turn[0]["type"] == "thinking" for turn in turns if any(block["type"] == "tool_use" for block in turn)
    ]


def test_a_chat_client_keeps_the_thinking_it_drops(gateway: Gateway, upstream: Upstream) -> None:
    converse(gateway)
    assert thinking_of_calls(upstream) == [True] * ROUNDS


@pytest.mark.parametrize("headers", [{"x-session-id": "one"}, {}], ids=["named", "by its beginning"])
def test_workers_with_redis_keep_it_together(upstream: Upstream, headers: dict[str, str]) -> None:
    with running_redis() as redis:
        shared = {"WEB_CONCURRENCY": "2", "REDIS_URL": redis.url}
        with running_gateway(**settings_for(upstream, **shared)) as gateway:
            converse(gateway, **headers)
            assert thinking_of_calls(upstream) == [True] * ROUNDS
            assert "Redis fails" not in gateway.log


def test_a_redis_that_hangs_fails_no_request(upstream: Upstream) -> None:
    with (
        running_redis() as redis,
        running_gateway(**settings_for(upstream, REDIS_URL=redis.url)) as gateway,
        redis.frozen(),
    ):
        converse(gateway)
        assert thinking_of_calls(upstream) == [True] * ROUNDS
        assert eventually(
            lambda: "Redis fails" in gateway.log
        )  # what is written later is lost, and said once
        converse(gateway)
        assert gateway.log.count("Redis fails") == 1
