"""LangChain: ``bind_tools``; messages go back as they came. ``DIALECT``: chat, responses or messages."""

# mypy: disable-error-code="import-not-found"

import os
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from tools import TOOLS

url, key, model = (os.environ[name] for name in ("GATEWAY_URL", "GATEWAY_API_KEY", "MODEL"))
dialect = os.environ["DIALECT"]
chat: Any
if dialect == "messages":
    chat = ChatAnthropic(
        model=model, base_url=url, api_key=key, max_tokens=16_000, thinking={"type": "adaptive"}
    )
else:
    # The temperature that agents are commonly given; today's Claude refuses any.
    chat = ChatOpenAI(
        model=model,
        base_url=f"{url}/v1",
        api_key=key,
        use_responses_api=dialect == "responses",
        temperature=0,
    )
tools = {name: tool(function) for name, function in TOOLS.items()}
bound = chat.bind_tools(list(tools.values()))
messages: list[Any] = [HumanMessage(os.environ["PROMPT"])]
while True:
    answer: Any = None
    for chunk in bound.stream(messages):
        answer = chunk if answer is None else answer + chunk
    messages.append(answer)
    if not answer.tool_calls:
        break
    for call in answer.tool_calls:
        result = tools[call["name"]].invoke(call["args"])
        messages.append(ToolMessage(result, tool_call_id=call["id"]))
print(answer.text if isinstance(answer.text, str) else answer.text())
