"""Images and files in a request: how many there are, and how much of its text they are not.

Only where a message has its content is a block one: the same object in a tool's arguments is text, and so is
every string that merely looks like base64. What is not known for an image or a PDF counts as text.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Mapping
from operator import add
from typing import Any, NamedTuple

#: Pages of a file that nobody here can look into: what most models take of one.
MOST_PAGES = 100

_IMAGES = frozenset({"image", "image_url", "input_image", "computer_screenshot"})
_FILES = frozenset({"document", "file", "input_file"})
_ATTACHED = (*_IMAGES, *_FILES)
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
#: PDFs keep their pages in compressed objects since version 1.5.
_OBJECTS = re.compile(rb"/ObjStm\b[^\0]{0,400}?stream\r?\n")
#: Bytes of them that are looked into; in one with more, and in one without a page, the pages are not known.
_MOST_INFLATED = 8 * 2**20


class Attachments(NamedTuple):
    """``pages`` of PDFs; ``unseen``: files that are known by an address or an id; ``size``: characters of
    base64, which stand for no text."""

    images: int = 0
    pages: int = 0
    unseen: int = 0
    size: int = 0


def attachments(request: Mapping[str, Any]) -> Attachments:
    """Those of ``request``, parsed, in any dialect."""
    blocks: list[dict[str, Any]] = []
    for turns in (request.get("messages"), request.get("input")):
        for turn in turns if isinstance(turns, list) else ():
            if isinstance(turn, dict):
                _collect(turn.get("content"), blocks)
                _collect(turn.get("output"), blocks)
    found = Attachments()
    for block in blocks:
        found = Attachments(*map(add, found, _measured(block)))
    return found


def _collect(content: object, blocks: list[dict[str, Any]]) -> None:
    if content is None or isinstance(content, str):
        return
    for block in content if isinstance(content, list) else (content,):
        if isinstance(block, dict):
            if block.get("type") in _ATTACHED:
                blocks.append(block)
                source = block.get("source")
                if isinstance(source, dict):  # of a document that is made of blocks
                    _collect(source.get("content"), blocks)
            if "content" in block:  # a tool's result
                _collect(block["content"], blocks)


def _measured(block: dict[str, Any]) -> Attachments:
    kind, data = _source(block)
    if block["type"] in _IMAGES:
        return Attachments(images=1, size=len(data) if kind.startswith("image/") else 0)
    if kind == "application/pdf":
        return Attachments(pages=_pages(data), size=len(data))
    return Attachments() if kind == "text" else Attachments(unseen=1)


def _source(block: dict[str, Any]) -> tuple[str, str]:
    """``(media type, base64)``. The type is ``text`` for what stands in the request as text, and empty for
    what is not in it."""
    source = block.get("source")
    if isinstance(source, dict):
        if source.get("type") in ("text", "content"):
            return "text", ""
        media, data = source.get("media_type"), source.get("data")
        if isinstance(media, str) and isinstance(data, str):
            return media.lower(), data
    holder, name = ("image_url", "url") if block["type"] in _IMAGES else ("file", "file_data")
    inner = block.get(holder)
    url = inner.get(name) if isinstance(inner, dict) else inner or block.get(name)
    if not isinstance(url, str):
        return "", ""
    if url[:5].lower() != "data:":
        # OpenAI takes the base64 of a file alone, too.
        return ("", "") if holder == "image_url" else ("application/pdf", url)
    head, _, data = url[5:].partition(",")
    return head.partition(";")[0].lower(), data


def _pages(data: str) -> int:
    try:
        pdf = binascii.a2b_base64(data)
    except ValueError:
        return MOST_PAGES
    pages, left = len(_PAGE.findall(pdf)), _MOST_INFLATED
    for found in _OBJECTS.finditer(pdf):
        try:
            objects = zlib.decompressobj().decompress(memoryview(pdf)[found.end() :], left)
        except zlib.error:
            return max(pages, MOST_PAGES)
        pages += len(_PAGE.findall(objects))
        if (left := left - len(objects)) <= 0:
            return max(pages, MOST_PAGES)
    return pages or MOST_PAGES
