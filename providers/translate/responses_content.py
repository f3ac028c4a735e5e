"""Content of Responses items → content of chat messages."""

from __future__ import annotations

from typing import Any

from . import _check
from ._check import Block
from .cache_control import marker
from .content import parts, unsupported
from .messages_parts import compact, image_part

Content = str | list[Block]

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
#: Parts that stand in a chat as they are.
_SAME = frozenset({"image_url", "file", "input_audio", "document"})


def read_content(value: object, at: str) -> Content:
    """Content of a user's or system's message, or of a tool's output: a text or parts. Raises
    ``BadRequest``."""
    if isinstance(value, str):
        return value
    return compact([read_part(*given) for given in parts(value, at)])


def read_texts(value: object, at: str) -> list[Block]:
    """Content of an assistant's message, which can only be text."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    found = []
    for given, kind, place in parts(value, at):
        if kind not in _TEXTS:
            raise unsupported(kind, place)
        if (text := read_part(given, kind, place))["text"]:
            found.append(text)
    return found


def read_part(given: Block, kind: str, at: str) -> Block:
    """One part as chat completions have it. Raises ``BadRequest``."""
    if (field := _TEXTS.get(kind)) is not None:
        made: Block = {"type": "text", "text": _check.text(given.get(field), f"{at}.{field}")}
    elif kind == "input_image":
        made = _image(given, at)
    elif kind == "input_file":
        made = _file(given, at)
    elif kind == "image":
        made = image_part(given, at)
    elif kind in _SAME:
        return given
    else:
        raise unsupported(kind, at)
    return marked(made, given, at)


def marked(made: Block, given: Block, at: str) -> Block:
    """``made`` with the mark that ``given`` has, if it has one: up to here, the prompt is to be cached.
    OpenAI's marker of a prefix to be cached (``prompt_cache_breakpoint``) is Anthropic's ``cache_control``;
    its longest time to live is Anthropic's longer one."""
    breakpoint_ = given.get("prompt_cache_breakpoint")
    if breakpoint_ is None:
        mark = marker(given, at)
    else:
        lasting = _check.obj(breakpoint_, f"{at}.prompt_cache_breakpoint").get("ttl") == "12h"
        mark = {"type": "ephemeral", "ttl": "1h"} if lasting else {"type": "ephemeral"}
    if mark is not None:
        made["cache_control"] = mark
    return made


def _image(given: Block, at: str) -> Block:
    url = given.get("image_url")
    if url is None:
        raise _no_uploads(
            f"{at}.file_id" if given.get("file_id") is not None else f"{at}.image_url", "image_url"
        )
    if isinstance(url, dict):  # as in chat completions
        url = url.get("url")
    image: Block = {"url": _check.text(url, f"{at}.image_url")}
    if (detail := given.get("detail")) is not None:
        image["detail"] = _check.text(detail, f"{at}.detail")
    return {"type": "image_url", "image_url": image}


def _file(given: Block, at: str) -> Block:
    data: Any = given.get("file_data")
    if data is None:
        if (url := given.get("file_url")) is not None:
            return {"type": "document", "source": {"type": "url", "url": _check.text(url, f"{at}.file_url")}}
        raise _no_uploads(
            f"{at}.file_id" if given.get("file_id") is not None else f"{at}.file_data", "file_data"
        )
    file: Block = {"file_data": _check.text(data, f"{at}.file_data")}
    if (name := given.get("filename")) is not None:
        file["filename"] = _check.text(name, f"{at}.filename")
    return {"type": "file", "file": file}


def _no_uploads(at: str, instead: str) -> Exception:
    return _check.invalid(
        at,
        f"Nothing is uploaded to this gateway: send the content itself in `{instead}`.",
        "unsupported_value",
    )
