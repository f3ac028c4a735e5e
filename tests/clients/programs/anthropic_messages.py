"""The official Anthropic SDK: blocks go back as they came, the last turn marked for the cache."""

# mypy: disable-error-code="import-not-found"

import os
from typing import Any

from anthropic import Anthropic
from tools import SCHEMAS, TOOLS

client = Anthropic(base_url=os.environ["GATEWAY_URL"], api_key=os.environ["GATEWAY_API_KEY"])
tools: Any = [
    {"name": name, "description": TOOLS[name].__doc__, "input_schema": schema}
    for name, schema in SCHEMAS.items()
]
tools[-1]["cache_control"] = {"type": "ephemeral"}
messages: list[Any] = [{"role": "user", "content": os.environ["PROMPT"]}]
while True:
    with client.messages.stream(
        model=os.environ["MODEL"],
        max_tokens=16_000,
        messages=messages,
        tools=tools,
        thinking={"type": "adaptive"},
    ) as stream:
        message = stream.get_final_message()
    messages.append({"role": "assistant", "content": message.content})
    calls = [block for block in message.content if block.type == "tool_use"]
    if not calls:
        break
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": call.id, "content": TOOLS[call.name](**call.input)}
        for call in calls
    ]
    results[-1]["cache_control"] = {"type": "ephemeral"}
    messages.append({"role": "user", "content": results})
print("".join(block.text for block in message.content if block.type == "text"))
