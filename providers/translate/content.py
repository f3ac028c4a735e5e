"""Content of messages: OpenAI's parts (and the Anthropic-shaped ones that some clients mix in) → blocks.

``str`` content is one text block. Blocks that the API would refuse as empty or blank are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import BadRequest
from . import _check
from ._check import Block
from .cache_control import marker
from .unsigned import UNSIGNED

#: https://platform.claude.com/docs/en/build-with-claude/vision
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXT = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
#: Reasoning that a client replays.
_REASONING = frozenset({"thinking", "redacted_thinking", "reasoning"})
#: What of it Claude can take back.
THINKING = frozenset({"thinking", "redacted_thinking"})


def parts(content: object, param: str) -> Iterator[tuple[Block, str, str]]:
    """Each part of an array content with its type and its path. Raises ``BadRequest``."""
    for index, item in enumerate(_check.array(content, param)):
        at = f"{param}.{index}"
        part = _check.obj(item, at)
        yield part, _check.text(part.get("type"), f"{at}.type"), at


def text_block(value: str) -> Block | None:
    """A text block, or None where the API wants something other than white space."""
    return {"type": "text", "text": value} if value and not value.isspace() else None


def text_blocks(content: object, param: str) -> list[Block]:
    """Content that can only be text (system and assistant turns); None is empty."""
    if content is None or isinstance(content, str):
        block = text_block(content or "")
        return [block] if block else []
    return [block for part in parts(content, param) if (block := plain_block(*part)) is not None]


def plain_block(part: Block, kind: str, at: str) -> Block | None:
    """One part of a system or assistant turn; None when there is nothing to send."""
    if kind in _REASONING:
        return None
    if kind not in _TEXT:
        raise unsupported(kind, at)
    return _text_part(part, at)


def signed_thinking(part: Block) -> Block | None:
    """A block of thinking as the API takes it back, byte for byte; None for thinking without a signature of
    Claude's, which can only be left out: the API refuses it, and a made-up signature would be a lie."""
    if part["type"] == "redacted_thinking":
        data = part.get("data")
        return {"type": "redacted_thinking", "data": data} if isinstance(data, str) and data else None
    thinking, signature = part.get("thinking"), part.get("signature")
    if not isinstance(thinking, str) or not isinstance(signature, str) or signature in ("", UNSIGNED):
        return None
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def user_block(part: Block, kind: str, at: str) -> Block | None:
    """One part of a user turn or of a tool's result; None when there is nothing in it."""
    match kind:
        case "text" | "input_text" | "output_text" | "refusal":
            return _text_part(part, at)
        case "image_url" | "input_image":
            block = _image_url(part, at)
        case "image" | "document":
            block = {"type": kind, "source": _source(part.get("source"), kind, f"{at}.source")}
        case "file" | "input_file":
            block = _file(part, at)
        case "input_audio":
            raise _check.invalid(f"{at}.type", "Audio input is not supported.", "unsupported_value")
        case _:
            raise unsupported(kind, at)
    return _marked(block, part, at)


def user_blocks(content: object, param: str) -> list[Block]:
    """Content of a user turn or of a tool's result; None is empty."""
    if content is None or isinstance(content, str):
        block = text_block(content or "")
        return [block] if block else []
    return [block for part in parts(content, param) if (block := user_block(*part)) is not None]


def _text_part(part: Block, at: str) -> Block | None:
    field = _TEXT[part["type"]]
    block = text_block(_check.text(part.get(field), f"{at}.{field}"))
    return _marked(block, part, at) if block else None


def _marked(block: Block, part: Block, at: str) -> Block:
    if (mark := marker(part, at)) is not None:
        block["cache_control"] = mark
    return block


def _image_url(part: Block, at: str) -> Block:
    at = f"{at}.image_url"
    value: Any = part.get("image_url")
    if isinstance(value, dict):
        value, at = value.get("url"), f"{at}.url"
    url = _check.text(value, at)
    if url[:5].lower() == "data:":
        return {"type": "image", "source": _data_url(url, at, IMAGE_TYPES)}
    return {"type": "image", "source": {"type": "url", "url": _https(url, at)}}


def _https(url: str, at: str) -> str:
    """The URL, which only the upstream will fetch: never this gateway."""
    if url[:8].lower() != "https://" or len(url) == 8:
        raise _check.invalid(at, f"`{at}` must be an https:// or a base64 data: URL.", "invalid_url")
    return url


def _file(part: Block, at: str) -> Block:
    if part["type"] == "file":
        part, at = _check.obj(part.get("file"), f"{at}.file"), f"{at}.file"
    data = part.get("file_data")
    if data is None:
        raise _check.invalid(
            at, "Only files sent in `file_data` are supported, not uploaded ones.", "unsupported_value"
        )
    at_data = f"{at}.file_data"
    data = _check.text(data, at_data)
    if data[:5].lower() == "data:":
        source = _data_url(data, at_data, frozenset({"application/pdf"}))
    elif data and not data.isspace():
        # The SDK's documentation calls it "the base64 encoded file data": some send it bare.
        source = {"type": "base64", "media_type": "application/pdf", "data": data}
    else:
        raise _check.invalid(at_data, f"`{at_data}` is empty.")
    block: Block = {"type": "document", "source": source}
    name = part.get("filename")
    if name is not None and _check.text(name, f"{at}.filename"):
        block["title"] = name
    return block


def _data_url(url: str, at: str, allowed: frozenset[str]) -> Block:
    """``data:<type>[;…];base64,<data>`` (RFC 2397) as a base64 source."""
    head, comma, data = url.partition(",")
    media_type, *options = head[5:].lower().split(";")
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if media_type not in allowed:
        raise _check.invalid(
            at,
            f"`{at}` has the type {media_type[:60]!r}; supported: {', '.join(sorted(allowed))}.",
            "unsupported_media_type",
        )
    if "base64" not in options or not comma or not data:
        raise _check.invalid(at, f"`{at}` must carry base64 data.")
    return {"type": "base64", "media_type": media_type, "data": data}


def _source(value: object, kind: str, at: str) -> Block:
    """An Anthropic-shaped source, limited to what a chat caller may use."""
    source = _check.obj(value, at)
    if source.get("type") == "url":
        return {"type": "url", "url": _https(_check.text(source.get("url"), f"{at}.url"), f"{at}.url")}
    allowed = IMAGE_TYPES if kind == "image" else frozenset({"application/pdf"})
    media_type = source.get("media_type")
    if source.get("type") != "base64" or not isinstance(media_type, str) or media_type not in allowed:
        raise _check.invalid(at, f"`{at}` must be a url or base64 source of: {', '.join(sorted(allowed))}.")
    data = _check.text(source.get("data"), f"{at}.data")
    if not data:
        raise _check.invalid(f"{at}.data", f"`{at}.data` is empty.")
    return {"type": "base64", "media_type": media_type, "data": data}


def unsupported(kind: str, at: str) -> BadRequest:
    """A 400 about a part of an unknown type."""
    return _check.invalid(f"{at}.type", f"{kind[:60]!r} parts are not supported here.", "unsupported_value")
