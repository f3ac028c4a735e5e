"""Keys of callers: ``gw_<id>_<secret>``. The id is public; of the secret only a keyed hash is kept.

The *pepper* is the secret of this installation under which keys are hashed, so that whoever reads the
table can neither use a key nor try secrets. It is also what an id's last characters are made with: an id
that this installation never gave out is told from its text alone, and costs no question to the database.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

#: Lower-case letters and digits without i, l, o and u, which are misread: sorted, as ids by their time are.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME, _RANDOM, _TAG = 7, 5, 6  # characters of 5 bits each; seconds fit until the year 3058
_KEY = re.compile(r"gw_([0-9a-hjkmnp-tv-z]{18})_([0-9a-f]{64})")
_SECRET_BYTES = 32
_PEPPER_FILE = "key-pepper"
_PEPPER_CHARS = 64


class PepperError(Exception):
    """There is no pepper to hash keys with. The message names the file and the fix."""


@dataclass(slots=True, frozen=True)
class Credential:
    """A well-formed key, not yet known to be anybody's."""

    id: str
    secret: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Minted:
    """A new key: ``token`` goes to its holder, ``id`` and ``digest`` into the table."""

    id: str
    digest: str
    token: str = field(repr=False)


def mint(pepper: bytes, clock: Callable[[], float] = time.time) -> Minted:
    """A new key with 256 bits of secret. Ids sort by the second in which they were made."""
    stamp = int(clock())
    body = "".join(_ALPHABET[stamp >> shift & 31] for shift in range(5 * (_TIME - 1), -1, -5))
    body += "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    public = body + _tag(pepper, body)
    secret = secrets.token_hex(_SECRET_BYTES)
    return Minted(public, digest(pepper, secret), f"gw_{public}_{secret}")


def parse(text: str) -> Credential | None:
    """The parts of a key, or None for whatever else callers send."""
    match = _KEY.fullmatch(text)
    return None if match is None else Credential(match[1], match[2])


def is_ours(pepper: bytes, id: str) -> bool:
    """Whether an id of the right form was made under ``pepper``; a guess is right once in 2**30 times."""
    body, tag = id[: _TIME + _RANDOM], id[_TIME + _RANDOM :]
    return hmac.compare_digest(_tag(pepper, body), tag)


def digest(pepper: bytes, secret: str) -> str:
    """HMAC-SHA256 in hex, of the text that the secret is written as: no two texts are one key."""
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


def _tag(pepper: bytes, body: str) -> str:
    # Another message than any secret (those are 64 hex digits), so neither says anything about the other.
    mac = hmac.digest(pepper, b"gateway key id\0" + body.encode(), "sha256")
    return "".join(_ALPHABET[byte & 31] for byte in mac[:_TAG])


def load_pepper(configured: str | None, folder: Callable[[], Path]) -> bytes:
    """``KEY_PEPPER``, or else what is kept in a file of the data directory, made at first use.

    ``folder`` is asked for only then. Processes that make it at once agree on one. Raises
    :class:`PepperError`, and what ``folder`` raises.
    """
    if configured is not None:
        return configured.encode()
    file = folder() / _PEPPER_FILE
    try:
        try:
            text = file.read_text("ascii")
        except FileNotFoundError:
            text = _make(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not text"
        raise PepperError(f"{file} cannot be read or made ({reason}): set KEY_PEPPER instead.") from error
    text = text.strip()
    if len(text) != _PEPPER_CHARS:
        raise PepperError(
            f"{file} is damaged: restore it from a backup. Without it no key of a project is valid; "
            "if there are none yet, delete it."
        )
    return text.encode()


def _make(file: Path) -> str:
    """Write a new pepper to ``file``, whole or not at all, and return what is in it then."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as output:
            output.write(secrets.token_hex(_PEPPER_CHARS // 2) + "\n")
            output.flush()
            os.fsync(output.fileno())
        with suppress(FileExistsError):
            os.link(name, file)  # unlike a rename, it never takes the place of another process'
    finally:
        Path(name).unlink()
    return file.read_text("ascii")
