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
#: Bytes between two looks for an image or a file: a string of twice that size without the spaces and line
#: ends of a text, whose bytes say nothing of their tokens. Smaller ones are taken for text.
_STEP = 8 * 1024
_BLANKS = re.compile(rb"[ \\]")
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
    if size <= _STEP:
        return int(size / BYTES_PER_TOKEN) + 1
    images = at = 0
    while len(request) - at > _STEP:
        # (Looking at every string, or for the pattern of base64, takes longer than parsing the whole.)
        quote = request.find(b'"', at)
        if quote < 0:
            break
        text = quote - at
        if text >= _STEP and not _BLANKS.search(request, at, at + _STEP):
            images += 1
            size -= text
        at += max(text, _STEP)
    return int(size / BYTES_PER_TOKEN) + 1 + images * IMAGE_TOKENS


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
