"""Streams an answer through the gateway with OpenAI's own SDK.

    pip install openai
    GATEWAY_URL=http://127.0.0.1:8080 GATEWAY_API_KEY=demo-key-not-a-secret python examples/chat.py "Hello!"

The defaults fit `make demo`.
"""

import os
import sys

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("GATEWAY_API_KEY", "demo-key-not-a-secret"),
)
stream = client.chat.completions.create(
    model="sonnet",
    messages=[{"role": "user", "content": " ".join(sys.argv[1:]) or "Hello!"}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        sys.stdout.write(choice.delta.content or "")
        sys.stdout.flush()
    if chunk.usage is not None:
        sys.stdout.write(f"\n({chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out)\n")
