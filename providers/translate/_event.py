"""Reading the upstream's events: what is not as documented is ``Malformed``, with words for it."""

from __future__ import annotations

from typing import Any

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # Only server tools pause, and a chat request cannot declare any; there is nothing to continue.
    "pause_turn": "stop",
}


class Malformed(Exception):
    """``The upstream sent …``: the rest of that sentence."""


def obj(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The object called ``name``. Raises ``Malformed``."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"an event without its {name}")
    return value


def text(body: dict[str, Any], name: str) -> str:
    """The string called ``name``. Raises ``Malformed``."""
    value = body.get(name)
    if not isinstance(value, str):
        raise Malformed(f"an event without its {name}")
    return value


def refusal(details: dict[str, Any]) -> str:
    """What to tell a client whom the model has refused, from ``stop_details``."""
    explanation, category = details.get("explanation"), details.get("category")
    if isinstance(explanation, str) and explanation:
        return explanation
    reason = f" ({category})" if isinstance(category, str) else ""
    return f"The model declined to answer{reason}."
