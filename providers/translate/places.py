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

_MESSAGE = re.compile(r"\bmessages\.(\d+)(?:\.content\.(\d+))?(?:\.\w+)*")
_QUOTED = re.compile(r"`(\w+)`")
_HEAD = re.compile(r"\w*")


def in_their_terms(error: BadRequest, names: Mapping[str, str], place_of: PlaceOf) -> BadRequest:
    """``error``, that the chat made of a caller's request has met, with the caller's names and places.

    ``names`` are a chat's parameters → the caller's. What an upstream itself has said stays as it is: it
    counts the messages that it was sent, which adapters merge and divide.
    """
    if error.upstream_status is None:
        error.message = _QUOTED.sub(lambda m: f"`{names.get(m[1], m[1])}`", _placed(error.message, place_of))
        error.param = error.param and _placed(error.param, place_of)
    if error.param:
        head = _HEAD.match(error.param)
        error.param = names.get(head[0], error.param) if head else error.param
    return error


def _placed(text: str, place_of: PlaceOf) -> str:
    return _MESSAGE.sub(lambda m: place_of(int(m[1]), None if m[2] is None else int(m[2])), text)
