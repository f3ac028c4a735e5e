"""Keys that an object has twice: parsers differ in which of the two they believe."""

from __future__ import annotations

import re
from json import JSONDecoder, loads
from typing import Any

import orjson

_BETWEEN = re.compile(r"[\s:,]*")
#: Numbers stay text: thousands of digits are JSON, and int() refuses them.
_decoder = JSONDecoder(parse_int=str, parse_float=str)


def repeated_key(raw: bytes, value: dict[str, Any]) -> str | None:
    """A key that stands twice at the top of ``raw``, however it is written; ``value`` is ``raw`` parsed.

    What clients' JSON libraries write (compact, nothing escaped without need) is recognised by writing the
    value again: 1 ms for a megabyte. Anything else is read once more, which takes five.
    """
    if orjson.dumps(value) == raw:
        return None
    text = raw.decode()
    seen: set[str] = set()
    at = _after(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        if key in seen:
            return str(key)
        seen.add(key)
        _, at = _decoder.raw_decode(text, _after(text, at))
        at = _after(text, at)
    return None


def _after(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    assert found is not None  # it matches the empty text
    return found.end()


def repeats_keys(raw: bytes, value: dict[str, Any]) -> bool:
    """Whether any object in ``raw``, however deep, has a key twice; ``value`` is ``raw`` parsed."""
    if orjson.dumps(value) == raw:
        return False
    repeated = False

    def seen(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({key for key, _ in pairs}) < len(pairs)

    loads(raw, parse_int=str, parse_float=str, object_pairs_hook=seen)
    return repeated
