"""The tool runner of OpenAI's SDK, the strictest reader of Responses: it compares each event with the whole
response that comes at the end, and gives every item back as it got it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner

from .gateway import KEY, Gateway
from .upstream import Upstream

#: Model → where its upstream is asked.
MODELS = {
    "claude-opus-5-5": "/v1/messages",
    "local:qwen3:8b": "/api/chat",
    "sim:gpt-5.1": "/openai/v1/chat/completions",
}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_tool_runner_takes_every_item_as_it_is(
    all_providers: Gateway, upstream: Upstream, model: str, stream: bool
) -> None:
    weather = RegisteredFunction(tool=WEATHER, execute=lambda given: f"Sunny in {given['city']}.")
    with openai.OpenAI(base_url=f"{all_providers.base_url}/v1", api_key=KEY, max_retries=0) as client:
        asked: Any = {"model": model, "input": "Please use the tool.", "store": False}
        answer = ResponsesToolRunner(functions=[weather]).run(client, asked, stream=stream, max_steps=3)
    assert answer.status == "completed"
    assert answer.output_text
    last = [request for request in upstream.asked(MODELS[model]) if request["status"] == 200][-1]["body"]
    assert "Sunny in" in str(last["messages"])
