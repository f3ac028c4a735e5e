"""What a key's policy changes in a request: the bound of its answer, and what stands before its prompt.

Pure and deterministic: the same request becomes the same bytes, so providers' prompt caches stay warm. A body
is never changed, always copied.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

Body = dict[str, Any]

#: What the dialects call the most tokens that an answer may have.
BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: The least ``thinking.budget_tokens`` that Claude takes; it has to be below ``max_tokens``
#: (https://platform.claude.com/docs/en/build-with-claude/extended-thinking).
MIN_BUDGET = 1_024

_GAP = "\n\n"


class WrongType(ValueError):
    """What stands at ``place`` bounds nothing."""

    def __init__(self, place: str) -> None:
        super().__init__(f"`{place}` must be a whole number, and not below 0.")
        self.place = place


def bounded(body: Body, most: int, own: Collection[str], add: str) -> Body:
    """``body`` with an answer of at most ``most`` tokens; the same object when it asks for no more.

    Whatever bound is named is lowered. When none of ``own`` is, those that its dialect knows, ``add`` is
    set. Thinking counts as part of the answer, as providers count it: a budget that would leave no room
    for anything else is lowered to half, or thinking is left out. Raises :class:`WrongType`.
    """
    changed: Body = {}
    named, least = False, most
    for name in BOUNDS:
        bound = body.get(name)
        if bound is None:
            continue
        if type(bound) is not int or bound < 0:
            raise WrongType(name)
        named = named or name in own
        if bound > most:
            changed[name] = most
        least = min(least, bound)
    if not named:
        changed[add] = least
    thinking = body.get("thinking")
    if changed and isinstance(thinking, dict):
        budget = thinking.get("budget_tokens")
        if type(budget) is int and budget >= least:
            half = least // 2
            fits = half >= MIN_BUDGET
            changed["thinking"] = {**thinking, "budget_tokens": half} if fits else {"type": "disabled"}
    return {**body, **changed} if changed else body


def prefixed(body: Body, prefix: str, place: str) -> Body:
    """``body`` with ``prefix`` before its system prompt, which is at ``place``: the parameter ``system`` or
    ``instructions``, the first of its ``messages``, or a ``prompt`` that is only gone on with. What has a
    type that no system prompt has stays as it is, for the application to refuse."""
    if place == "messages":
        return {**body, "messages": _before_messages(body["messages"], prefix)}
    if place == "prompt":
        return {**body, "prompt": _before_prompt(body.get("prompt"), prefix)}
    return {**body, place: _before(body.get(place), prefix)}


def _before(prompt: Any, prefix: str) -> Any:
    if prompt is None or prompt == "":
        return prefix
    if isinstance(prompt, str):
        return prefix + _GAP + prompt
    if isinstance(prompt, list):
        return [{"type": "text", "text": prefix}, *prompt]
    return prompt


def _before_messages(messages: list[Any], prefix: str) -> list[Any]:
    # One message, not two: the templates of some models take only one, and only at the beginning.
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return [{**first, "content": _before(first.get("content"), prefix)}, *messages[1:]]
    return [{"role": "system", "content": prefix}, *messages]


def _before_prompt(prompt: Any, prefix: str) -> Any:
    if isinstance(prompt, list):
        return [_before(text, prefix) if isinstance(text, str) else text for text in prompt]
    return _before(prompt, prefix)
