"""The official OpenAI SDK, Responses: stateless, every item goes back as it came."""

# mypy: disable-error-code="import-not-found"

import json
import os
from typing import Any

from openai import OpenAI
from tools import SCHEMAS, TOOLS

client = OpenAI(base_url=os.environ["GATEWAY_URL"] + "/v1", api_key=os.environ["GATEWAY_API_KEY"])
tools: Any = [
    {
        "type": "function",
        "name": name,
        "description": TOOLS[name].__doc__,
        "parameters": schema,
        "strict": True,
    }
    for name, schema in SCHEMAS.items()
]
items: list[Any] = [{"role": "user", "content": os.environ["PROMPT"]}]
while True:
    with client.responses.stream(
        model=os.environ["MODEL"],
        input=items,
        tools=tools,
        store=False,
        include=["reasoning.encrypted_content"],
        reasoning={"summary": "auto"},
    ) as stream:
        response = stream.get_final_response()
    items += [item.to_dict() for item in response.output]
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        break
    for call in calls:
        result = TOOLS[call.name](**json.loads(call.arguments))
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
print(response.output_text)
