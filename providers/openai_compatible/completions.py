"""Text completions (https://platform.openai.com/docs/api-reference/completions): vLLM, llama.cpp and LM
Studio have them, most others no longer do. They pass as chats do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ModelNotFound, ProviderError

_NO_ENDPOINT = frozenset((404, 405, 501))
#: LM Studio says so with HTTP 200.
_UNEXPECTED = re.compile(r"unexpected endpoint", re.IGNORECASE)


def choices_of(body: Mapping[str, Any]) -> int:
    """How many choices are asked for: ``n`` for each prompt (the same for chats, which are one prompt)."""
    count, prompts = body.get("n"), body.get("prompt")
    each = count if type(count) is int and count > 0 else 1
    several = isinstance(prompts, list) and bool(prompts) and not isinstance(prompts[0], int)
    return each * len(prompts) if several and isinstance(prompts, list) else each


def explained(error: ProviderError) -> ProviderError:
    """``error``, in our own words where the upstream has no such endpoint; what it says of a model stays."""
    missing = error.upstream_status in _NO_ENDPOINT and "model" not in error.message.lower()
    if not missing and _UNEXPECTED.search(error.message) is None:
        return error
    return ModelNotFound(
        "The upstream of this model only chats: use POST /v1/chat/completions.",
        provider=error.provider,
        param="model",
        code="unsupported_model",
        upstream_status=error.upstream_status,
        upstream_request_id=error.upstream_request_id,
    )
