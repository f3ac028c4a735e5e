"""A tool call and its result through the gateway, with Anthropic's own SDK.

    pip install anthropic
    GATEWAY_URL=… GATEWAY_API_KEY=… python examples/tools.py

The defaults fit `make demo`.
"""

import os
import sys
from typing import Any

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080"),
    api_key=os.environ.get("GATEWAY_API_KEY", "demo-key-not-a-secret"),
)
weather: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
messages: list[Any] = [{"role": "user", "content": "Use the tool get_weather for Oslo."}]
for _ in range(4):
    answer = client.messages.create(model="sonnet", max_tokens=1000, tools=[weather], messages=messages)
    messages.append(
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in answer.content]}
    )
    results = [
        {
            "type": "tool_result",
            "tool_use_id": block.id,
            "content": f"Rain in {block.input.get('city')}, 7 degrees",
        }
        for block in answer.content
        if block.type == "tool_use"
    ]
    if not results:
        break
    messages.append({"role": "user", "content": results})
sys.stdout.write("".join(block.text for block in answer.content if block.type == "text") + "\n")
