"""The routes for clients, as far as a description of the gateway needs them.

Their bodies are OpenAI's and Anthropic's own: https://platform.openai.com/docs/api-reference and
https://platform.claude.com/docs/en/api describe them better than a copy here could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_USUAL = (400, 401, 402, 404, 413, 429, 503)


@dataclass(slots=True, frozen=True)
class Operation:
    """``path`` is BlackSheep's; all but /chat and the health pages are there without ``/v1``, too."""

    method: str
    path: str
    summary: str
    example: Any = None
    tag: str = "models"
    key: bool = True
    status: str = "200"
    answers: str = "The answer, in the dialect of the path."
    errors: tuple[int, ...] = _USUAL


_ASK = [{"role": "user", "content": "Say hello."}]
_NOTHING_STORED = "Nothing is stored here, so there is never one to give."

V1: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/v1/chat/completions",
        "OpenAI's chat completions",
        {"model": "sonnet", "messages": _ASK},
    ),
    Operation(
        "POST",
        "/v1/messages",
        "Anthropic's messages",
        {"model": "sonnet", "max_tokens": 256, "messages": _ASK},
    ),
    Operation(
        "POST",
        "/v1/messages/count_tokens",
        "Tokens of a request to /v1/messages, before it is sent",
        {"model": "sonnet", "messages": _ASK},
    ),
    Operation("POST", "/v1/responses", "OpenAI's responses", {"model": "sonnet", "input": "Say hello."}),
    Operation(
        "POST",
        "/v1/responses/input_tokens",
        "Tokens of a request to /v1/responses, before it is sent",
        {"model": "sonnet", "input": "Say hello."},
    ),
    Operation(
        "POST",
        "/v1/responses/compact",
        "Not supported: clients keep their own history",
        {"model": "sonnet", "input": "Say hello."},
        status="404",
        answers="Not supported.",
        errors=(401, 429),
    ),
    Operation(
        "GET",
        "/v1/responses/{path:response_id}",
        "A stored response",
        status="404",
        answers=_NOTHING_STORED,
        errors=(401, 429),
    ),
    Operation(
        "DELETE",
        "/v1/responses/{path:response_id}",
        "Delete a stored response",
        status="404",
        answers=_NOTHING_STORED,
        errors=(401, 429),
    ),
    Operation(
        "POST",
        "/v1/responses/{response_id}/cancel",
        "Cancel a response in the background",
        status="404",
        answers=_NOTHING_STORED,
        errors=(401, 429),
    ),
    Operation(
        "POST",
        "/v1/completions",
        "OpenAI's completions of a text, for editors",
        {"model": "local:qwen2.5-coder:7b-instruct", "prompt": "def add(a, b):", "suffix": "\n"},
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        "Embeddings of texts",
        {"model": "local:nomic-embed-text", "input": ["hello"]},
    ),
    Operation("GET", "/v1/models", "Every model that may be asked for"),
    Operation("GET", "/v1/models/{path:model_id}", "One model"),
    Operation("POST", "/chat", "One question, one answer, without a dialect", {"message": "Say hello."}),
    *(
        Operation(method, path, summary, tag="health", key=False, answers="It is.")
        for path, summary in (
            ("/live", "The process answers"),
            ("/ready", "It takes traffic (503 while it drains)"),
            ("/health", "Version, state and providers"),
            ("/api/hello", "Is anybody there?"),
        )
        for method in ("GET", "HEAD")
    ),
)
