"""``encrypted_content`` of a reasoning item: a block of thinking, carried by the caller.

The gateway keeps no conversations, so a client of the Responses API brings its reasoning back in each
request. Claude takes its thinking back only byte for byte, with its signature; both travel here. Nothing in
it is secret (the client may read its thinking) and nothing in it is trusted: the signature is Claude's own
to verify.

``gw1.<base64url of {"model": …, "block": …}>``. The block is Anthropic's ``thinking`` or
``redacted_thinking`` block, or null for a model without signatures, whose thinking the item's summary tells.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NamedTuple

import orjson

VERSION = "gw1."
#: The members of a block that can be replayed; all of them strings, and nothing beside them.
_SHAPES = {
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
}


class Damaged(Exception):
    """The blob is of this gateway, but not as it was written."""


class Blob(NamedTuple):
    """``block`` was written by ``model``; None: it has none."""

    model: str
    block: dict[str, Any] | None


def pack(model: str, block: bytes) -> bytes:
    """A blob for ``block``, which is JSON."""
    content = b'{"model":%b,"block":%b}' % (orjson.dumps(model), block)
    return VERSION.encode() + urlsafe_b64encode(content).rstrip(b"=")


def unpack(blob: str) -> Blob | None:
    """What was packed; None for a blob of another maker. Raises :class:`Damaged`."""
    if not blob.startswith(VERSION):
        return None
    packed = blob[len(VERSION) :]
    try:
        content = orjson.loads(urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except ValueError:
        raise Damaged from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), str):
        raise Damaged
    block = content.get("block")
    if block is not None and not _is_block(block):
        raise Damaged
    return Blob(content["model"], block)


def _is_block(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    shape = _SHAPES.get(str(block.get("type")))
    return block.keys() == shape and all(isinstance(value, str) for value in block.values())
