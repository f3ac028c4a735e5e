"""OpenAI's ``usage`` and its dialects → :class:`~providers.types.Usage`, whose classes are disjoint."""

from __future__ import annotations

from typing import Any

from ..translate.usage import counted
from ..types import Usage


def note(usage: Usage, found: object, *, final: bool = True) -> None:
    """Put the figures of ``found`` into ``usage``. A later report replaces an earlier one: servers that
    report more than once report totals. ``final``: nothing is written any more, so that the output is told.

    ``prompt_tokens`` counts cached tokens too; DeepSeek reports them as ``prompt_cache_hit_tokens``
    (https://api-docs.deepseek.com/guides/kv_cache).
    """
    if not isinstance(found, dict):
        return
    prompt, written_out = counted(found.get("prompt_tokens")), counted(found.get("completion_tokens"))
    total = counted(found.get("total_tokens")) or 0
    if prompt is not None:
        usage.input_told = True
        _note_prompt(usage, found, prompt)
        if written_out is None and total >= prompt:
            written_out = total - prompt
    if written_out is None:
        return
    usage.output_told = usage.output_told or final
    reasoning = _count(_object(found.get("completion_tokens_details")).get("reasoning_tokens"))
    beyond = total - (prompt or 0) - written_out
    if beyond > 0 and prompt and reasoning in (0, beyond):
        # xAI counts its thinking beside the completion, Gemini in nothing but the total; everybody else in
        # the completion (https://github.com/Clarifai/clarifai-python/pull/978).
        reasoning = beyond
        written_out += beyond
    usage.output_tokens = written_out
    usage.reasoning_tokens = min(reasoning, written_out)


def note_tier(usage: Usage, said: object) -> None:
    """``said``: the ``service_tier`` of an answer, by which it is charged, whatever was asked for."""
    if isinstance(said, str) and said != "auto":
        usage.variant = f"service_tier={said}"


def note_of_chunk(usage: Usage, chunk: dict[str, Any]) -> None:
    """Put the figures that ``chunk`` tells, if any, into ``usage``. Some servers say in each chunk how far
    they are, and one in the middle does not say it all."""
    found = chunk.get("usage") or _object(chunk.get("x_groq")).get("usage")  # Groq's first way to report it
    if not found:
        return
    choices = chunk.get("choices")
    ends = not isinstance(choices, list) or all(_object(choice).get("finish_reason") for choice in choices)
    note(usage, found, final=ends)


def ended(usage: Usage) -> None:
    """The answer is complete: what was reported last, if anything, was all."""
    usage.output_told = usage.output_told or usage.output_tokens > 0


def _note_prompt(usage: Usage, found: dict[str, Any], prompt: int) -> None:
    details = _object(found.get("prompt_tokens_details"))
    cached = _count(details.get("cached_tokens")) or _count(found.get("prompt_cache_hit_tokens"))
    written = _count(details.get("cache_write_tokens"))
    # Parts cannot exceed the whole, whatever was reported.
    usage.cache_read_tokens = min(cached, prompt)
    usage.cache_write_5m_tokens = min(written, prompt - usage.cache_read_tokens)
    usage.input_tokens = prompt - usage.cache_read_tokens - usage.cache_write_5m_tokens


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return counted(value) or 0
