"""The requests of the benchmark, in the gateway's dialect and in the upstream's own."""

from __future__ import annotations

import json
from typing import Any

from .processes import KEY

#: Thinks only when asked (the plain-text path); its context window holds a body of 2 MB.
MODEL = "claude-opus-4-6"
#: A local model, as the gateway and as Ollama call it.
LOCAL_MODEL = "qwen2.5-coder:14b-instruct"
_SYSTEM = "You are a simulation. Be brief."
_PARAGRAPH = (
    "The quick brown fox jumps over the lazy dog, and the gateway between them copies what they say "
    "from one dialect into another without losing a word of it on the way. "
)


def _messages(directive: str, size: int) -> list[dict[str, str]]:
    """A conversation of about ``size`` characters; long ones have many turns, as real ones do."""
    turns: list[dict[str, str]] = []
    turn = (_PARAGRAPH * (8000 // len(_PARAGRAPH)))[:8000]
    while size > 12_000:
        turns += [{"role": "user", "content": turn}, {"role": "assistant", "content": turn}]
        size -= 16_000
    rest = (_PARAGRAPH * (max(size, 0) // len(_PARAGRAPH) + 1))[: max(size, 0)]
    return [*turns, {"role": "user", "content": f"{directive} {rest}"}]


def through_gateway(directive: str, *, stream: bool, size: int = 1500, model: str = MODEL) -> dict[str, Any]:
    """Load fields for a translated chat completion."""
    body = {
        "model": model,
        "max_tokens": 4096,
        "stream": stream,
        "messages": [{"role": "system", "content": _SYSTEM}, *_messages(directive, size)],
    }
    return {
        "path": "/v1/chat/completions",
        "headers": {"authorization": f"Bearer {KEY}"},
        "body": json.dumps(body),
    }


def to_upstream(directive: str, *, size: int = 1500) -> dict[str, Any]:
    """Load fields for the Messages request that the gateway would make of it: always streamed."""
    body = {
        "model": MODEL,
        "max_tokens": 4096,
        "system": [{"type": "text", "text": _SYSTEM}],
        "messages": _messages(directive, size),
        "stream": True,
    }
    return {
        "path": "/v1/messages",
        "headers": {"x-api-key": "sim", "anthropic-version": "2026-10-21"},
        "body": json.dumps(body),
    }


def messages_through_gateway(directive: str, *, stream: bool) -> dict[str, Any]:
    """Load fields for the same conversation in Claude's own dialect, which is passed through."""
    fields = to_upstream(directive)
    body = json.dumps({**json.loads(fields["body"]), "stream": stream})
    return {**fields, "headers": {"authorization": f"Bearer {KEY}"}, "body": body}


def responses_through_gateway(directive: str, *, stream: bool) -> dict[str, Any]:
    """Load fields for the same conversation as a Responses request."""
    body = {
        "model": MODEL,
        "max_output_tokens": 4096,
        "stream": stream,
        "store": False,
        "instructions": _SYSTEM,
        "input": _messages(directive, 1500),
    }
    return {
        "path": "/v1/responses",
        "headers": {"authorization": f"Bearer {KEY}"},
        "body": json.dumps(body),
    }


def to_ollama(directive: str, *, size: int = 1500) -> dict[str, Any]:
    """Load fields for the native request that the gateway would make of it."""
    body = {
        "model": LOCAL_MODEL,
        "messages": [{"role": "system", "content": _SYSTEM}, *_messages(directive, size)],
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"num_predict": 4096, "num_ctx": 16384},
    }
    return {"path": "/api/chat", "headers": {}, "body": json.dumps(body), "event_end": "\n"}
