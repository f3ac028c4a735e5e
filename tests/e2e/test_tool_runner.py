"""The tool runner of Anthropic's SDK asks for a thread of its own accord; without one nothing is lost."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from .gateway import KEY, Gateway
from .upstream import Upstream

#: Model → where its upstream is asked.
MODELS = {
    "claude-opus-5-5": "/v1/messages",
    "local:qwen3:8b": "/api/chat",
    "sim:gpt-5.1": "/openai/v1/chat/completions",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_tool_runner_keeps_its_conversation(
    all_providers: Gateway, upstream: Upstream, model: str, stream: bool
) -> None:
    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: its name
        """
        return f"Sunny in {city}."

    with anthropic.Anthropic(base_url=all_providers.base_url, api_key=KEY, max_retries=0) as client:
        asked: Any = {"model": model, "max_tokens": 3000, "tools": [get_weather], "max_iterations": 5}
        asked["messages"] = [{"role": "user", "content": "Please use the tool."}]
        runner: Any = client.beta.messages.tool_runner(**asked, stream=stream)
        answers = [step.get_final_message() if stream else step for step in runner]
    assert [answer.stop_reason for answer in answers] == ["tool_use", "end_turn"]
    last = [request for request in upstream.asked(MODELS[model]) if request["status"] == 200][-1]["body"]
    said = str(last["messages"])
    assert "Please use the tool." in said
    assert "Sunny in" in said
    assert "thread" not in last
