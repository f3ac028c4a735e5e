"""What Ollama says when it refuses → the tree of ``providers.errors``.

Ollama answers ``{"error": "<text>"}`` with a status, or the same object as a line of a stream that has
begun (``streamResponse``, ``handleScheduleError`` in ollama's ``server/routes.go``). Where llama.cpp
refused, ``<text>`` is itself a JSON object with ``error.message``. The text is all there is to go by: it
has no codes. Before Ollama there may stand a proxy (Cloudflare Access) that answers in HTML.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ..errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
    UpstreamFailed,
)
from .anthropic_errors import MAX_MESSAGE

#: ``the input length exceeds the context length``, ``the prompt is longer than the context length …``
#: (Ollama), ``request (9412 tokens) exceeds the available context size (8192 tokens)`` (llama.cpp), ``input
#: length (40000 tokens) exceeds the model's maximum context length (32768 tokens)`` (its runner for MLX).
_TOO_LONG = re.compile(
    r"exceed_context_size"
    r"|(exceeds?|longer than) (the )?(model's )?(maximum |available )?context (size|length|window)",
    re.IGNORECASE,
)
_PROMPT_TOKENS = re.compile(
    r'n_prompt_tokens\\*"\s*:\s*(\d{1,9})|(?:request|input length) \((\d{1,9}) tokens\)'
)
_UNABLE = re.compile(
    r"does not support (tools|thinking|vision|insert|chat|generate|embedding)", re.IGNORECASE
)
_PARAMS = {"tools": "tools", "thinking": "reasoning_effort", "vision": "messages", "insert": "suffix"}
#: Of a model without vision, when llama.cpp is the first to notice.
_NO_IMAGES = re.compile(r"image input is not supported|does not support multimodal", re.IGNORECASE)
_QUEUE_FULL = re.compile(r"server busy|maximum pending requests", re.IGNORECASE)
#: Ollama's messages may name files of the machine that it runs on.
_PATH = re.compile(r"(?<![\w/:.])(?:[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}")
#: Keys, and the two halves of a Cloudflare Access service token.
_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{6,}|\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\.access\b")
_CREDENTIALS = (
    "Access to Ollama was refused ({said}): the operator has to check LOCAL_CF_ACCESS_CLIENT_ID and "
    "LOCAL_CF_ACCESS_CLIENT_SECRET, or what else guards LOCAL_LLM_BASE_URL."
)


def from_response(
    status: int, body: bytes, *, provider: str, model: str, retry_after: float | None = None
) -> ProviderError:
    """The error that an answer with ``status`` (not 200) stands for. ``model`` is Ollama's name."""
    return _build(
        status, said(body), provider=provider, model=model, stage="response", retry_after=retry_after
    )


def from_line(error: object, *, provider: str, model: str) -> ProviderError:
    """The error that a line ``{"error": …}`` inside a stream stands for (``error``: its value).

    The status of a stream is 200 for ever; what the text does not tell is the server's failure.
    """
    text = _unwrapped(error)
    if _TOO_LONG.search(text) or _UNABLE.search(text):
        status = 400
    else:
        status = 503 if _QUEUE_FULL.search(text) else 500
    return _build(status, text, provider=provider, model=model, stage="stream")


def access_refused(said: str, *, provider: str, status: int | None = None) -> AuthFailed:
    """The guard before Ollama did not let the gateway in; ``said`` is what showed it."""
    return AuthFailed(_CREDENTIALS.format(said=said), provider=provider, upstream_status=status)


def said(body: bytes) -> str:
    """The text of an error body; ``""`` for what is no JSON (a proxy's page is nobody's message)."""
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return ""
    return _unwrapped(parsed.get("error") if isinstance(parsed, dict) else None)


def prompt_tokens(text: str) -> int | None:
    """How long the prompt is, where a refusal for its length says so."""
    match = _PROMPT_TOKENS.search(text)
    return int(match[1] or match[2]) if match else None


def _unwrapped(error: object) -> str:
    """The message in ``error``: a text, a text that is JSON, or an object."""
    for _ in range(3):
        if isinstance(error, dict):
            inner = error.get("error", error.get("message"))
            if isinstance(inner, dict) and isinstance(message := inner.get("message"), str):
                return message
            error = inner
        elif isinstance(error, str) and error.startswith("{"):
            try:
                error = orjson.loads(error)
            except ValueError:
                break
        else:
            break
    return error if isinstance(error, str) else ""


def _build(
    status: int, said: str, *, provider: str, model: str, stage: str, retry_after: float | None = None
) -> ProviderError:
    common: dict[str, Any] = {"provider": provider, "stage": stage, "upstream_status": status}
    text = _SECRET.sub("…", _PATH.sub("…", said))[:MAX_MESSAGE] or f"Ollama answered HTTP {status}."
    if status in (301, 308):
        return ProtocolError(f"LOCAL_LLM_BASE_URL has moved (HTTP {status}): set its new address.", **common)
    if status in (401, 403) or 300 <= status < 400:
        return access_refused(f"HTTP {status}", provider=provider, status=status)
    if status == 404 and said:
        shown = model[:100]
        return ModelNotFound(
            f"Ollama does not have the model {shown!r}: install it with `ollama pull {shown}`.",
            param="model",
            **common,
        )
    if status == 400 or (status in (500, 501) and (_TOO_LONG.search(said) or _UNABLE.search(said))):
        return _refusal(text, common)
    if status == 429:
        return RateLimited(text, retry_after=retry_after, **common)
    if status in (503, 529):
        return Overloaded(text, retry_after=retry_after, **common)
    if status in (504, 524):  # 524: Cloudflare's own, for an origin that was too slow
        return Timeout(text, **common)
    if status >= 500 or status == 499:  # 499: Ollama gave the request up
        return UpstreamFailed(text, **common)
    if status in (404, 405):
        return ProtocolError(f"LOCAL_LLM_BASE_URL answers, but not as Ollama does (HTTP {status}).", **common)
    if status >= 400:
        return Refused(text, status=status, code="request_too_large" if status == 413 else None, **common)
    return ProtocolError(f"Ollama answered HTTP {status}, which is no answer.", **common)


def _refusal(text: str, common: dict[str, Any]) -> ProviderError:
    if _TOO_LONG.search(text):
        return ContextTooLong(text, param="messages", **common)
    if unable := _UNABLE.search(text):
        what = unable[1].lower()
        return BadRequest(text, param=_PARAMS.get(what, "model"), code="unsupported_value", **common)
    if _NO_IMAGES.search(text):
        return BadRequest(text, param="messages", code="unsupported_value", **common)
    return BadRequest(text, **common)
