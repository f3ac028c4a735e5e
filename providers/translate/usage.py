"""Anthropic's usage objects → :class:`~providers.types.Usage` → OpenAI's ``usage``."""

from __future__ import annotations

from typing import Any

from ..types import Usage


def merge(usage: Usage, found: object, *, final: bool = False) -> None:
    """Put the figures of ``found`` over those of ``usage``.

    ``message_start`` carries the first figures; those of ``message_delta`` are cumulative, and null
    where they say nothing new. ``final``: nothing is written any more, so that the output is told too.
    """
    if not isinstance(found, dict):
        return
    get = found.get
    usage.input_told = usage.input_told or get("input_tokens") is not None
    usage.output_told = usage.output_told or (final and get("output_tokens") is not None)
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


def _count(value: object, otherwise: int) -> int:
    return value if type(value) is int and value >= 0 else otherwise  # a bool is no figure


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
