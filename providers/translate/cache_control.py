"""Cache markers of the caller, kept within the API's limit.

A request may carry four (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
Markers that the *gateway* places by itself belong here too, before :func:`limit`; they are placed
only when the caller has set none.
"""

from __future__ import annotations

from typing import Any

from . import _check
from ._check import Block

MAX_MARKERS = 4


def marker(holder: Block, param: str) -> Block | None:
    """The marker that ``holder`` carries, reduced to what the API knows. Raises ``BadRequest``."""
    value = holder.get("cache_control")
    if value is None:
        return None
    place = f"{param}.cache_control"
    value = _check.obj(value, place)
    if value.get("type") != "ephemeral":
        raise _check.invalid(f"{place}.type", f"`{place}.type` must be 'ephemeral'.")
    ttl = value.get("ttl")
    if ttl is None:
        return {"type": "ephemeral"}
    if ttl not in ("5m", "1h"):
        raise _check.invalid(f"{place}.ttl", f"`{place}.ttl` must be '5m' or '1h'.")
    return {"type": "ephemeral", "ttl": ttl}


def limit(tools: list[Block], system: list[Block], messages: list[dict[str, Any]]) -> bool:
    """Take surplus markers out of the freshly built blocks; True when there were any.

    The first marker stays, since it covers the prefix that sessions share, and so do the last three:
    the further back a marker stands, the longer the prefix that it saves.
    """
    marked = [block for block in tools if "cache_control" in block]
    marked += [block for block in system if "cache_control" in block]
    marked += [block for message in messages for block in message["content"] if "cache_control" in block]
    surplus = marked[1 : len(marked) - MAX_MARKERS + 1] if len(marked) > MAX_MARKERS else []
    for block in surplus:
        del block["cache_control"]
    return bool(surplus)
