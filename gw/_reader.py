"""Typed reading of environment variables: every wrong value becomes a sentence that names the fix."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from middleware.cors import ORIGIN

from .variables import of

#: Shorter keys are guessable; the start-up line recommends ``openssl rand -hex 32``.
MIN_KEY_CHARS = 8

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_DATABASE = re.compile(r"postgres(?:ql)?://[^\s/?#]*[^\s]*|sqlite:///[^\s?]+")
_URL_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9:.-]*[A-Za-z0-9])?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


class Reader:
    """Reads typed values and collects ``problems`` instead of stopping at the first.

    A variable that is unset or blank has the default of its row in ``variables.py``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def given(self, name: str) -> bool:
        """Whether the operator has set ``name`` to anything."""
        return bool(self.environ.get(name, "").strip())

    def text(self, name: str) -> str | None:
        value = self.environ.get(name, "").strip()
        return value or of(name).default

    def integer(self, name: str, low: int, high: int = 2**31 - 1) -> int:
        text = self.text(name) or ""
        try:
            value = int(text)
        except ValueError:
            self._bad(name, text, f"a whole number, for example {of(name).default or low}")
            return low
        if not low <= value <= high:
            self._bad(name, text, f"between {low} and {high}")
        return value

    def optional_integer(self, name: str, low: int, high: int = 2**31 - 1) -> int | None:
        """The number, or None where the variable has neither a value nor a default."""
        return self.integer(name, low, high) if self.given(name) else None

    def seconds(self, name: str, *, zero: bool = False) -> float:
        """``zero``: 0 is a value, too (it switches something off)."""
        text = self.text(name) or ""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
            bound = "or 0" if zero else "above 0"
            self._bad(name, text, f"a number of seconds {bound}, for example {of(name).default}")
        return value

    def flag(self, name: str) -> bool:
        text = (self.text(name) or "0").lower()
        if text not in _TRUE and text not in _FALSE:
            self._bad(name, text, "1 or 0")
        return text in _TRUE

    def choice(self, name: str, *allowed: str) -> str:
        text = (self.text(name) or "").lower()
        if text not in allowed:
            self._bad(name, text, "one of " + ", ".join(allowed))
        return text

    def url(self, name: str) -> str | None:
        text = self.text(name)
        if text is None:
            return None
        if not _is_plain_url(text):
            # A password in the URL would reach logs and error messages.
            shown = "…" if "@" in text else text
            self._bad(name, shown, "an http(s)://host[:port][/path] without credentials")
            return None
        return text.rstrip("/")

    def redis_url(self, name: str) -> str | None:
        text = self.text(name)
        if text is not None and not _is_redis_url(text):
            self._bad(name, text, "redis://[:password@]host[:6379][/0], or rediss:// for TLS")
        return text

    def database_url(self, name: str) -> str | None:
        """PostgreSQL's URL, as libpq and every host of databases writes it, or ``sqlite:///path``."""
        text = self.text(name)
        if text is not None and not _DATABASE.fullmatch(text):
            self._bad(name, text, "postgresql://user:password@host:5432/name, or sqlite:///path/to/file.db")
        return text

    def origins(self, name: str) -> tuple[str, ...]:
        """A comma list of origins as browsers write them, each once, in order."""
        found: list[str] = []
        for item in self.listed(name):
            origin = item.lower().rstrip("/")
            if item == "*":
                self.problems.append(
                    f"{name}=* would open this gateway to every page on the web: name the origins that may "
                    "call it, for example https://chat.example.com,http://localhost:3000."
                )
            elif not ORIGIN.fullmatch(origin):
                self._bad(name, item, "a list of origins, scheme://host[:port] without a path")
            elif origin.endswith(_DEFAULT_PORTS.get(origin.partition(":")[0], "\0")):
                self._bad(name, item, "written as browsers do, without the scheme's own port")
            found.append(origin)
        return tuple(dict.fromkeys(found))

    def url_part(self, name: str) -> str | None:
        """A region or project: it becomes part of a host name or of a path."""
        text = self.text(name)
        if text is not None and not _URL_PART.fullmatch(text):
            self._bad(name, text, "letters, digits and hyphens")
        return text

    def models(self, name: str) -> tuple[str, ...]:
        """A comma list of model ids, each once, in order."""
        ids = self.listed(name)
        for item in ids:
            if not _MODEL_ID.fullmatch(item):
                self._bad(name, item, "a list of model ids with commas between them")
        return ids

    def listed(self, name: str) -> tuple[str, ...]:
        """The items of a comma list, each once, in order."""
        text = self.text(name) or ""
        return tuple(dict.fromkeys(item for part in text.split(",") if (item := part.strip())))

    def model(self, name: str) -> str:
        text = self.text(name) or ""
        if not _MODEL_ID.fullmatch(text):
            self._bad(name, text, f"a model id, for example {of(name).default}")
        return text

    def own_key(self, name: str, *, required: bool) -> str | None:
        """A key that this gateway checks, so its length is this gateway's concern."""
        value = self.credential(name)
        if value is None:
            if required:
                self.problems.append(
                    f"{name} is not set. Clients authenticate with it: "
                    f"set {name} to a long random text, for example from `openssl rand -hex 32`."
                )
        elif len(value) < MIN_KEY_CHARS:
            self.problems.append(
                f"{name} is too short ({len(value)} characters, at least {MIN_KEY_CHARS} are needed): "
                f"use a long random text, for example from `openssl rand -hex 32`."
            )
        return value

    def credential(self, name: str) -> str | None:
        """A text that is sent in a header: a key, ours or an upstream's (vLLM's may be ``EMPTY``)."""
        value = self.text(name)
        if value is not None and (not value.isascii() or not value.isprintable() or " " in value):
            self.problems.append(
                f"{name} holds characters that no HTTP header can carry: use ASCII without spaces."
            )
        return value

    def _bad(self, name: str, value: str, wanted: str) -> None:
        shown = "…" if of(name).secret else value
        self.problems.append(f"{name}={shown!r} is not valid: it must be {wanted}.")


def _is_redis_url(text: str) -> bool:
    """What the driver takes; it is imported only where there is a Redis, since that takes a while."""
    from redis.asyncio.connection import parse_url

    try:
        parse_url(text)
    except ValueError:
        return False
    return True


def _is_plain_url(text: str) -> bool:
    """An http(s) URL of host, port and path, and nothing else."""
    try:
        parts = urlsplit(text)
        reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return reachable and not ("@" in parts.netloc or parts.query or parts.fragment)
