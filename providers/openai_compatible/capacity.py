"""How many tokens a model writes, read from what a server says when it is asked for more.

Every server says it in its own words; the figures are what they have in common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadRequest, ContextTooLong
from .manner import LIMITS, Manner

#: An answer that has no room for more than this is no answer to an agent: then the prompt is too long.
LEAST_ROOM = 1_024
#: Characters. What a server repeats of a request stands behind its own words.
OWN_WORDS = 120
#: An estimated prompt may be longer by one token in so many.
_SLACK = 32

#: A figure behind words that make it the most that may be asked for. OpenAI: "supports at most 16384
#: completion tokens"; Groq: "must be less than or equal to `8192`"; DeepSeek, DashScope: "[1, 8192]";
#: Claude: "128000 > 64000, which is the maximum"; Bedrock: "exceeds the model limit of 8192", "lower than
#: 8192".
_MOST = re.compile(
    r"(?:at most|less than or equal to|lower than|<=|(?:can ?not|must not) exceed|no more than|up to"
    r"|limit (?:of|is)|maximum (?:of|is)|between [01] and|\[[01],|\d > )\s{0,2}[`'\"]?(\d{1,9})(?!\d)",
    re.IGNORECASE,
)
#: Gemini: "the supported range is from 1 (inclusive) to 8193 (exclusive)".
_BELOW = re.compile(r"to (\d{1,9}) \(exclusive\)")
#: Of servers that tell no figure: "max_tokens is too large", Zhipu's "max_tokens 参数非法".
_TOO_MUCH = re.compile(
    r"too (?:large|high|big|many|long)|exceed|greater than|out of range|参数非法", re.IGNORECASE
)
_ABOUT = re.compile(r"max_(?:completion_|output_|new_)?tokens|maxOutputTokens|maximum tokens", re.IGNORECASE)

_WINDOW = re.compile(
    r"(?:maximum|max|model's) context (?:length|size|window)[^\d]{0,20}(\d{1,9})", re.IGNORECASE
)
#: OpenAI, vLLM, SGLang, OpenRouter: the prompt and what was asked for.
_TOTAL = re.compile(r"requested (?:about )?(?:a total of )?(\d{1,9}) tokens\b", re.IGNORECASE)
#: vLLM: "your request has 123 input tokens".
_PROMPT = re.compile(r"request has (\d{1,9}) input tokens", re.IGNORECASE)
#: vLLM since 2026 stops counting the prompt where it is too long: the sum is but the window and one.
_AT_LEAST = re.compile(r"(\d{1,9}) output tokens and your prompt contains at least", re.IGNORECASE)


def asked_for(body: Mapping[str, Any], manner: Manner) -> int | None:
    """The most tokens that ``body`` asks for, as it is sent in ``manner``."""
    given = [value for name in LIMITS if type(value := body.get(name)) is int]
    bounds = [bound for bound in (manner.most, manner.room) if bound is not None]
    return min(given + bounds) if given else None


def fitting(sent: int, manner: Manner, error: BadRequest) -> Manner | None:
    """``manner`` with less ``room``, and the ``window``, or ``most`` tokens, than the ``sent`` limit; None
    when ``error`` tells of neither."""
    said = error.message
    if isinstance(error, ContextTooLong) or (_WINDOW.search(said) and _PROMPT.search(said)):
        room = _room(sent, said)
        if room is None or not LEAST_ROOM <= room < sent:
            return None
        return replace(with_window(manner, error), room=room)
    if error.param not in (None, *LIMITS) or not _ABOUT.search(f"{error.param} {said}"):
        return None
    if (below := _BELOW.search(said)) is not None:
        most: int | None = int(below[1]) - 1
    else:
        figures = (int(found[1]) for found in _MOST.finditer(said))
        most = next((figure for figure in figures if figure < sent), None)
    if most is None and _TOO_MUCH.search(said):
        most = sent // 2
    return replace(manner, most=most) if most is not None and 1 <= most < sent else None


def with_window(manner: Manner, error: BadRequest) -> Manner:
    """``manner`` with the window that ``error`` tells of, if it does so in words of its own."""
    found = _WINDOW.search(error.message)
    return replace(manner, window=int(found[1])) if found and found.start() < OWN_WORDS else manner


def with_room(manner: Manner, prompt: int) -> Manner:
    """``manner`` with the room that a prompt of about ``prompt`` tokens leaves in the window that is known.
    Where that is hardly any, the estimate may be wrong, and it is for the upstream to say so."""
    if manner.window is None:
        return manner
    room = manner.window - prompt - prompt // _SLACK
    return replace(manner, room=room) if room >= LEAST_ROOM else manner


def _room(sent: int, said: str) -> int | None:
    window, total = _WINDOW.search(said), _TOTAL.search(said)
    if window is None:
        return None
    if (prompt := _PROMPT.search(said)) is not None:
        return int(window[1]) - int(prompt[1])
    if total is not None:
        return sent - (int(total[1]) - int(window[1]))
    return sent // 2 if _AT_LEAST.search(said) else None
