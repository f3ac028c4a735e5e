"""Content blocks of Anthropic's Messages API → parts of chat messages."""

from __future__ import annotations

from . import _check, content
from ._check import Block


def compact(parts: list[Block]) -> str | list[Block]:
    """Content as most servers know it: a string, where it is one text."""
    if not parts:
        return ""
    only = parts[0]
    return only["text"] if len(parts) == 1 and only.keys() == {"type", "text"} else parts


def image_part(part: Block, at: str) -> Block:
    """An image block as a part of a chat. Raises ``BadRequest``, also for an uploaded file."""
    source = _source(part, at)
    if source["type"] == "url":
        return {"type": "image_url", "image_url": {"url": source["url"]}}
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{source['media_type']};base64,{source['data']}"},
    }


def document_parts(part: Block, at: str) -> list[Block]:
    """A document as parts of a chat: a PDF as a file, anything else as what it says."""
    title = _optional(part, "title", at)
    head = "\n".join(filter(None, (title, _optional(part, "context", at))))
    given = _check.obj(part.get("source"), f"{at}.source")
    match given.get("type"):
        case "text":
            text = _check.text(given.get("data"), f"{at}.source.data")
            return _texts(head, text)
        case "content":
            place = f"{at}.source.content"
            inner = given.get("content")
            if isinstance(inner, str):
                return _texts(head, inner)
            found = _texts(head)
            for block, kind, where in content.parts(inner, place):
                if kind == "image":
                    found.append(image_part(block, where))
                elif kind == "text":
                    found += _texts(_check.text(block.get("text"), f"{where}.text"))
                else:
                    raise content.unsupported(kind, where)
            return found
    source = _source(part, at)
    if source["type"] == "url":
        raise _check.invalid(
            f"{at}.source",
            "This model takes documents as base64 or as text only; nothing is fetched.",
            "unsupported_value",
        )
    data = f"data:{source['media_type']};base64,{source['data']}"
    return [{"type": "file", "file": {"filename": title or "document.pdf", "file_data": data}}]


def search_text(part: Block, at: str) -> str:
    """A search result as text: its title, where it was found, and what it says."""
    lines = [_optional(part, "title", at), _optional(part, "source", at)]
    for block, kind, place in content.parts(part.get("content"), f"{at}.content"):
        if kind != "text":
            raise content.unsupported(kind, place)
        lines.append(_check.text(block.get("text"), f"{place}.text"))
    return "\n".join(filter(None, lines))


def _source(part: Block, at: str) -> Block:
    """The source of an image or a PDF: a URL or base64."""
    source = part.get("source")
    if isinstance(source, dict) and source.get("type") == "file":
        raise _check.invalid(
            f"{at}.source", "Uploaded files are not supported here: send the content.", "unsupported_value"
        )
    block = content.user_block(part, part["type"], at)
    assert block is not None
    found: Block = block["source"]
    return found


def _optional(part: Block, name: str, at: str) -> str:
    value = part.get(name)
    return "" if value is None else _check.text(value, f"{at}.{name}")


def _texts(*texts: str) -> list[Block]:
    joined = "\n".join(filter(None, texts))
    return [{"type": "text", "text": joined}] if joined else []
