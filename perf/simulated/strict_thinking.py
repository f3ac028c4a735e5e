"""Thinking that is replayed: bound to its text on every model, on some to the very conversation before it.

https://platform.claude.com/docs/en/build-with-claude/thinking, and ``BetaThinkingBlockBindingParam`` in the
anthropic SDK for what a request may say of blocks that fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providers.simulated.models import SimulatedModel, find
from providers.simulated.prefix import ANOTHER_CONVERSATION, blocks_of, verify

from .refusal import invalid

#: The beta that takes ``thinking.block_binding``.
BINDING_CONTROLS = "thinking-binding-controls-2026-08-01"


def check_block_binding(binding: Any, at: str) -> None:
    """Raise the API's refusal of ``thinking.block_binding``."""
    if binding is None:
        return
    if not isinstance(binding, dict):
        raise invalid(f"{at}: Input should be a valid dictionary")
    for name in binding:
        if name != "prefix_mismatch_behavior":
            raise invalid(f"{at}.{name}: Extra inputs are not permitted")
    if binding.get("prefix_mismatch_behavior") not in (None, "error", "drop_block"):
        raise invalid(f"{at}.prefix_mismatch_behavior: Input should be 'error' or 'drop_block'")


def check_thinking_blocks(request: dict[str, Any], model: SimulatedModel) -> None:
    """Raise the API's refusal of a thinking block in ``messages``; call after all else was checked."""
    dropping = _is_dropping(request)
    for path, reason in _failing(request, model):
        if not (dropping and reason == ANOTHER_CONVERSATION):
            raise invalid(f"{path}: {reason}")


def dropped_thinking(request: dict[str, Any]) -> list[str]:
    """Where the thinking blocks of an accepted ``request`` stand that the model will not see."""
    model = find(request["model"])
    if model is None or not _is_dropping(request):
        return []
    return [path for path, _ in _failing(request, model)]


def _is_dropping(request: dict[str, Any]) -> bool:
    binding = (request.get("thinking") or {}).get("block_binding") or {}
    return bool(binding.get("prefix_mismatch_behavior") == "drop_block")


def _failing(request: dict[str, Any], model: SimulatedModel) -> Iterator[tuple[str, str]]:
    for index, message in enumerate(request["messages"]):
        if message["role"] == "assistant":
            for place, block in enumerate(blocks_of(message["content"])):
                if block["type"] == "thinking":
                    reason = verify(request, index, block, bound=model.bound_thinking)
                    if reason is not None:
                        yield f"messages.{index}.content.{place}", reason
