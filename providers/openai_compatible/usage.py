"""OpenAI's ``usage`` and its dialects → :class:`~providers.types.Usage`, whose classes are disjoint."""

from __future__ import annotations

from typing import Any

from ..types import Usage


def note(usage: Usage, found: object) -> None:
    """Put the figures of ``found`` into ``usage``. A later report replaces an earlier one: servers that
    report more than once report totals.

    ``prompt_tokens`` counts cached tokens too; DeepSeek reports them as ``prompt_cache_hit_tokens``
    (https://api-docs.deepseek.com/guides/kv_cache).
    """
    if not isinstance(found, dict):
        return
    usage.input_told = usage.output_told = True
    prompt = _count(found.get("prompt_tokens"))
    details = _object(found.get("prompt_tokens_details"))
    cached = _count(details.get("cached_tokens")) or _count(found.get("prompt_cache_hit_tokens"))
    written = _count(details.get("cache_write_tokens"))
    # Parts cannot exceed the whole, whatever was reported.
    usage.cache_read_tokens = min(cached, prompt)
    usage.cache_write_5m_tokens = min(written, prompt - usage.cache_read_tokens)
    usage.input_tokens = prompt - usage.cache_read_tokens - usage.cache_write_5m_tokens
    written_out = _count(found.get("completion_tokens"))
    reasoning = _count(_object(found.get("completion_tokens_details")).get("reasoning_tokens"))
    beyond = _count(found.get("total_tokens")) - prompt - written_out
    if beyond > 0 and prompt and reasoning in (0, beyond):
        # xAI counts its thinking beside the completion, Gemini in nothing but the total; everybody else in
        # the completion (https://github.com/Clarifai/clarifai-python/pull/978).
        reasoning = beyond
        written_out += beyond
    usage.output_tokens = written_out
    usage.reasoning_tokens = min(reasoning, written_out)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0  # a bool is no figure
