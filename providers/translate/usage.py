"""Anthropic's usage objects → :class:`~providers.types.Usage` → OpenAI's ``usage``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..types import Usage

#: More than any request uses: whoever reports it does not count tokens.
_MOST = 10**9
_CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


def counted(value: object) -> int | None:
    """``value`` as a number of tokens; None for what is none and tells nothing: null, negative, absurd.
    (Some servers write 12.0.)"""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST else None  # a bool is no figure


def merge(usage: Usage, found: object, *, final: bool = False) -> None:
    """Put the figures of ``found`` over those of ``usage``.

    ``message_start`` carries the first figures; those of ``message_delta`` are cumulative, and null
    where they say nothing new. ``final``: nothing is written any more, so that the output is told too.
    """
    if not isinstance(found, dict):
        return
    get = found.get
    usage.input_told = usage.input_told or counted(get("input_tokens")) is not None
    usage.output_told = usage.output_told or (final and counted(get("output_tokens")) is not None)
    usage.input_tokens = _count(get("input_tokens"), usage.input_tokens)
    usage.output_tokens = _count(get("output_tokens"), usage.output_tokens)
    usage.cache_read_tokens = _count(get("cache_read_input_tokens"), usage.cache_read_tokens)
    written = _count(get("cache_creation_input_tokens"), usage.cache_write_tokens)
    split = get("cache_creation")
    if isinstance(split, dict):
        usage.cache_write_1h_tokens = _count(
            split.get("ephemeral_1h_input_tokens"), usage.cache_write_1h_tokens
        )
    # The split may be absent, or older than the total; the total is what is billed.
    usage.cache_write_1h_tokens = min(usage.cache_write_1h_tokens, written)
    usage.cache_write_5m_tokens = written - usage.cache_write_1h_tokens
    details = get("output_tokens_details")
    if isinstance(details, dict):
        usage.reasoning_tokens = _count(details.get("thinking_tokens"), usage.reasoning_tokens)
    hosted = get("server_tool_use")
    if isinstance(hosted, dict):
        usage.web_searches = _count(hosted.get("web_search_requests"), usage.web_searches)
    if isinstance(speed := get("speed"), str):
        usage.variant = f"speed={speed}"
    if isinstance(geo := get("inference_geo"), str):
        usage.geo = geo
    if isinstance(iterations := get("iterations"), list):
        usage.beside = _compactions(iterations)


def in_all(usage: Usage) -> Usage:
    """``usage`` and what was used beside it."""
    if (beside := usage.beside) is None:
        return usage
    return replace(usage, **{name: getattr(usage, name) + getattr(beside, name) for name in _CLASSES})


def _compactions(iterations: list[Any]) -> Usage | None:
    """Billed like the rest, and not in its totals: see ``iterations`` of ``BetaUsage`` in Anthropic's SDK."""
    found: Usage | None = None
    for iteration in iterations:
        if isinstance(iteration, dict) and iteration.get("type") == "compaction":
            one = Usage(beside=found)
            merge(one, {**iteration, "iterations": None})
            found = replace(in_all(one), beside=None)
    return found


def _count(value: object, otherwise: int) -> int:
    return otherwise if (number := counted(value)) is None else number


def to_openai(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage`` object: ``prompt_tokens`` counts cached tokens too."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
