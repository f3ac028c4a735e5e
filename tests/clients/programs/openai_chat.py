"""The official OpenAI SDK, chat completions: whole messages go back as they came."""

# mypy: disable-error-code="import-not-found"

import json
import os
from typing import Any

from openai import OpenAI
from tools import SCHEMAS, TOOLS

client = OpenAI(base_url=os.environ["GATEWAY_URL"] + "/v1", api_key=os.environ["GATEWAY_API_KEY"])
tools: Any = [
    {"type": "function", "function": {"name": name, "description": TOOLS[name].__doc__, "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
messages: list[Any] = [{"role": "user", "content": os.environ["PROMPT"]}]
while True:
    with client.chat.completions.stream(
        model=os.environ["MODEL"], messages=messages, tools=tools, stream_options={"include_usage": True}
    ) as stream:
        completion = stream.get_final_completion()
    assert completion.usage is not None
    message = completion.choices[0].message
    calls = message.tool_calls or []
    messages.append(
        {
            "role": "assistant",
            "content": message.content,
            **({"tool_calls": [call.to_dict() for call in calls]} if calls else {}),
        }
    )
    if not calls:
        break
    for call in calls:
        result = TOOLS[call.function.name](**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print(message.content)
