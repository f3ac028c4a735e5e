"""A Messages request as it goes over the wire, with another model in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

#: A member called ``model`` (of whatever object) and its text.
_MODEL = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]|\\.)*+")')
#: Where to look for the request's own one; clients write it at the beginning or the end.
_CANDIDATES = 8


def with_model(body: bytes, value: Mapping[str, Any], model: str) -> bytes:
    """The JSON object ``body``, of which ``value`` is the parsed form, with ``model`` as its model and not a
    byte changed beside: what a request is bound to (the prompt cache, signatures of thinking) stays the same,
    and so do numbers that no double holds.

    Written anew where the place cannot be found.
    """
    wanted = {**value, "model": model}
    name = orjson.dumps(model)
    for count, match in enumerate(_MODEL.finditer(body)):
        if count == _CANDIDATES:
            break
        begin, end = match.span(1)
        found = body[:begin] + name + body[end:]
        if orjson.loads(found) == wanted:
            return found
    return orjson.dumps(wanted)
