"""A refusal that comes when the prompt has been read, within an answer that is billed.

OpenRouter answers so when the model behind it fails after it has begun: an ``error`` in the choice or in
the chunk, and the usage beside it (https://openrouter.ai/docs/api/reference/errors-and-debugging).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..bills import Bill
from .models import OpenAIModel
from .refusal import OpenAIRefusal

#: Tokens that were written before it was noticed.
WRITTEN = 2


def paid_refusal(
    refused: OpenAIRefusal, request: Mapping[str, Any], model: OpenAIModel, tokens: int, *, stream: bool
) -> tuple[bytes, Bill]:
    """The body that says so, and what it costs to have had a prompt of ``tokens`` read."""
    error = refused.envelope()["error"]
    options = request.get("stream_options") or {}
    told = not stream or (options.get("include_usage") is True and "no-usage" not in model.quirks)
    usage = {"prompt_tokens": tokens, "completion_tokens": WRITTEN, "total_tokens": tokens + WRITTEN}
    head: dict[str, Any] = {"id": "chatcmpl-refused", "created": 1_795_435_200, "model": model.id}
    last = {"usage": usage} if told else {}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "error"}
    if stream:
        head["object"] = "chat.completion.chunk"
        begun = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        chunks: list[Any] = [
            {**head, "choices": [begun]},
            {**head, "error": error, "choices": [{**choice, "delta": {"content": ""}}], **last},
        ]
        body = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)
    else:
        head["object"] = "chat.completion"
        message = {"role": "assistant", "content": ""}
        body = orjson.dumps({**head, "choices": [{**choice, "message": message, "error": error}], **last})
    return body, Bill(model.id, tokens, WRITTEN)
