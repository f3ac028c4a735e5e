"""Which conversation a request belongs to, as far as that can be seen from the outside.

A client that names its conversation is believed; of any other, the beginning of the conversation is its
fingerprint, since every request repeats it. Either way the name is bound to the caller's key: nobody reaches
another caller's conversation by naming it.

What a fingerprint cannot know: two conversations of one key that begin with the same words under the same
system prompt are one to it (pictures are not looked at), and a conversation whose beginning is rewritten (a
compaction, a system prompt with the time of day) becomes another one. Whoever keeps something under this name
must cope with both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import orjson

from ._asgi import Scope

#: The clients' own names, the surest first: Claude Code; opencode; Codex, now and before.
HEADERS = (b"x-claude-code-session-id", b"x-session-id", b"session-id", b"session_id")
#: Bytes; longer values are no names.
MAX_NAME = 512

#: Claude Code's ``metadata.user_id``: ``user_…_account_…_session_<uuid>``, or JSON with a ``session_id``.
_MARK = "_session_"
#: Claude Code's block of its system prompt that changes with every request.
_BILLING = "x-anthropic-billing-header"
_NAMES = frozenset(HEADERS)


def session_of(scope: Scope, body: Any, key_id: str) -> str:
    """32 hexadecimal digits that name the conversation of a request; the same for all of its requests.

    ``body`` is the parsed body of any of the chat shapes, ``key_id`` names the caller's key. What it has to
    read, beside headers, is the beginning of the conversation (a system prompt of 40 KB: 0.1 ms), so ask when
    there is something to be kept for a session.
    """
    name = _named(scope["headers"], body)
    if name is None:
        return _digest(key_id, b"begins", *_beginning(body))
    return _digest(key_id, b"named", name)


def _named(headers: Iterable[tuple[bytes, bytes]], body: Any) -> bytes | None:
    """What the client itself calls its conversation."""
    given: dict[bytes, bytes] = {}
    for header, value in headers:
        if header in _NAMES and 0 < len(value := value.strip()) <= MAX_NAME:
            given.setdefault(header, value)
    for header in HEADERS:
        if header in given:
            return given[header]
    if not isinstance(body, dict):
        return None
    metadata = body.get("metadata")
    found: list[Any] = [body.get("prompt_cache_key")]
    if isinstance(metadata, dict):
        found += [metadata.get("session_id"), _of_user_id(metadata.get("user_id"))]
    for name in found:
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME:
            return _bytes(name)
    return None


def _of_user_id(user_id: Any) -> Any:
    if not isinstance(user_id, str) or len(user_id) > MAX_NAME:
        return None
    if user_id.startswith("{"):
        try:
            said = orjson.loads(user_id)
        except ValueError:
            return None
        return said.get("session_id")
    head, mark, session = user_id.rpartition(_MARK)
    return session if mark and head else None


def _beginning(body: Any) -> Iterator[bytes]:
    """The system prompt and everything up to the first words of the user's."""
    if not isinstance(body, dict):
        return
    for prompt in ("system", "instructions"):
        yield from _texts(body.get(prompt))
    for turns in ("messages", "input"):
        value = body.get(turns)
        if isinstance(value, str):
            yield _bytes(value)
            return
        if isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from _texts(item.get("content"))
                    if item.get("role") == "user":
                        return
            return
    yield from _texts(body.get("message"))


def _texts(content: Any) -> Iterator[bytes]:
    """The texts of a content; markers of the cache and the like are not among them, and wander."""
    if isinstance(content, str):
        yield _bytes(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                text = part.get("text")
                if isinstance(text, str) and not text.startswith(_BILLING):
                    yield _bytes(text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(key_id: str, *parts: bytes) -> str:
    """Each part with its length, so that no two lists of parts are one."""
    digest = blake2b(_bytes(key_id), digest_size=16)
    for part in parts:
        digest.update(b"\0%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()
