"""Errors about a translated request, in the terms of the request that was translated.

Whoever refuses something below a translation sees a chat, and says where in that chat it stands
(``messages.3.content.0``). The caller has written something else, and counts otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..errors import BadRequest

#: Index of a chat's message, index of a part of its content → the place in the caller's request.
PlaceOf = Callable[[int, int | None], str]
#: Index of a chat's tool → where the caller describes it; None where there is no such tool.
ToolOf = Callable[[int], str | None]

_MESSAGE = re.compile(r"\bmessages\.(\d+)(?:\.content\.(\d+))?(?:\.\w+)*")
#: Behind the tool's index: where a chat describes it, and what of it is meant.
_TOOL = re.compile(r"(?<![\w.])tools\.(\d+)(\.function\b|\.custom\b)?(?:\.(\w+))?")
_QUOTED = re.compile(r"`(\w+)`")
_HEAD = re.compile(r"\w*")


def in_their_terms(
    error: BadRequest, names: Mapping[str, str], place_of: PlaceOf, tool_of: ToolOf
) -> BadRequest:
    """``error``, that the chat made of a caller's request has met, with the caller's names and places.

    ``names`` are a chat's parameters → the caller's. What an upstream itself has said stays as it is: it
    counts the messages that it was sent, which adapters merge and divide.
    """
    if error.upstream_status is None:

        def placed(text: str) -> str:
            return _placed_tool(_placed(text, place_of), names, tool_of)

        error.message = _QUOTED.sub(lambda m: f"`{names.get(m[1], m[1])}`", placed(error.message))
        error.param = error.param and placed(error.param)
    if error.param:
        head = _HEAD.match(error.param)
        error.param = names.get(head[0], error.param) if head else error.param
    return error


def _placed(text: str, place_of: PlaceOf) -> str:
    return _MESSAGE.sub(lambda m: place_of(int(m[1]), None if m[2] is None else int(m[2])), text)


def _placed_tool(text: str, names: Mapping[str, str], tool_of: ToolOf) -> str:
    def place(found: re.Match[str]) -> str:
        at = tool_of(int(found[1]))
        if at is None:
            return found[0]
        if not found[2]:  # not what describes it, but the tool
            at = at.removesuffix(".function").removesuffix(".custom")
        return f"{at}.{names.get(found[3], found[3])}" if found[3] else at

    return _TOOL.sub(place, text)
