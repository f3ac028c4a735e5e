"""What a request tells of itself: its dialect, its size, the model that it names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from middleware._body import Body, BodyError
from middleware._paths import canonical
from middleware._state import BODY
from providers.estimate import BYTES_PER_TOKEN, IMAGE_TOKENS
from providers.types import MAX_MODEL_NAME

from ..errors import one_line

#: Paths (canonical, without ``/v1``) -> what rows call the dialect.
_DIALECTS = {
    "/chat/completions": "chat",
    "/messages": "messages",
    "/responses": "responses",
    "/completions": "completions",
    "/embeddings": "embeddings",
}
#: Bytes; a larger request may be images for the most part, whose bytes say nothing of their tokens.
_LARGE = 32 * 1024
_BASE64 = re.compile(rb'"(?:data:[^",;]{0,80};base64,)?[A-Za-z0-9+/]{1024,}+={0,2}"')
#: Characters of a path; longer ones are nobody's route, and must not fill the memory.
_LONGEST = 256


@lru_cache(maxsize=256)
def dialect_of(path: str) -> str:
    """What rows call the dialect of ``path``; "" where no model answers."""
    path = canonical(path)
    return "simple" if path == "/chat" else _DIALECTS.get(path.removeprefix("/v1"), "")


def is_for_models(path: str) -> bool:
    """Whether requests to ``path`` (anybody's, of any length) have rows."""
    return len(path) <= _LONGEST and bool(dialect_of(path))


def tokens_in(request: bytes) -> int:
    """About how many tokens ``request`` is."""
    size = len(request)
    if size < _LARGE:
        return int(size / BYTES_PER_TOKEN) + 1
    embedded = [match.end() - match.start() for match in _BASE64.finditer(request)]
    return int((size - sum(embedded)) / BYTES_PER_TOKEN) + 1 + len(embedded) * IMAGE_TOKENS


def wish_of(state: dict[str, Any]) -> tuple[str, bool]:
    """The model that a refused request names, and whether it asks for a stream; as far as it can be read."""
    body: Body | None = state.get(BODY)
    try:
        value = None if body is None else body.json()
    except BodyError:
        value = None
    if not isinstance(value, dict):
        return "", False
    model = value.get("model")
    return (one_line(model[:MAX_MODEL_NAME]) if isinstance(model, str) else ""), value.get("stream") is True
