"""From a URL and headers to the bytes of a request head. Nothing here touches a socket.

Everything that could smuggle a second request or header past this process is refused with
``ValueError`` (a caller's bug, not an upstream's failure): CR, LF or NUL anywhere, names that are no
RFC 9110 tokens, URLs with user information, and the headers that belong to the connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from .types import Header

#: RFC 9110 §5.6.2.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

#: Framing and the hop belong to the client (RFC 9110 §7.6.1); a second opinion on them is a smuggling bug.
RESERVED = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: RFC 9110 §8.6: these say how long their body is even when it is empty.
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})

_known_names: set[bytes] = set()
_known_methods = {"GET", "HEAD", "POST"}
_KNOWN_MAX = 1024

Origin = tuple[str, str, int]


@dataclass(slots=True, frozen=True)
class Target:
    """A parsed URL. ``origin`` is ``(scheme, host, port)``, the key of a pool; ``line`` is what follows
    the method: path, version and the Host header."""

    origin: Origin
    line: bytes


@lru_cache(maxsize=512)
def parse_url(url: str) -> Target:
    """Parse an absolute ``http`` or ``https`` URL. Raises ``ValueError``, which never quotes the URL:
    it may carry a password."""
    if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        raise ValueError("a URL is printable ASCII: percent-encode the path, write the host in punycode")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("a URL starts with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("user information in a URL is refused: send an Authorization header")
    host = parts.hostname
    if not host:
        raise ValueError("the URL names no host")
    default = 443 if parts.scheme == "https" else 80
    port = parts.port or default
    name = f"[{host}]" if ":" in host else host
    if port != default:
        name = f"{name}:{port}"
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    line = f" {path} HTTP/1.1\r\nHost: {name}".encode("ascii")
    return Target((parts.scheme, host, port), line)


def check_method(method: str) -> None:
    """Raise ``ValueError`` for what is no method, and for CONNECT, which opens a tunnel."""
    if not _TOKEN.fullmatch(method.encode("ascii", "replace")) or method.upper() == "CONNECT":
        raise ValueError("not an HTTP method that can be sent")
    if len(_known_methods) < _KNOWN_MAX:
        _known_methods.add(method)


def check_name(name: bytes) -> None:
    """Raise ``ValueError`` for a header name that is no token or is set by the client itself."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("not a header name")
    if name.lower() in RESERVED:
        raise ValueError(f"{name.decode('ascii')} is set by the client itself")
    if len(_known_names) < _KNOWN_MAX:
        _known_names.add(name)


def check(method: str, url: str, headers: Sequence[Header]) -> None:
    """The refusals of :func:`serialise` for a client that writes its own bytes."""
    serialise(method, parse_url(url), headers, 0)


def serialise(method: str, target: Target, headers: Sequence[Header], length: int) -> bytes:
    """The request head, up to and including the empty line. Raises ``ValueError``."""
    # A tuple cannot change, so it is checked once; a request of its own headers gives a list.
    begin = _known_beginning if type(headers) is tuple else _beginning
    if length or method in _WITH_LENGTH:
        return begin(method, target.line, headers) + b"Content-Length: %d\r\n\r\n" % length
    return begin(method, target.line, headers) + b"\r\n"


def _beginning(method: str, line: bytes, headers: Sequence[Header]) -> bytes:
    if method not in _known_methods:
        check_method(method)
    lines = [method.encode() + line]
    for name, value in headers:
        if name not in _known_names:
            check_name(name)
        lines.append(name + b": " + value)
    lines.append(b"")
    head = b"\r\n".join(lines)
    # One look at the joined bytes instead of three at each value: every line break is accounted for.
    breaks = len(lines)
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise ValueError("CR, LF or NUL in a header value")
    return head


_known_beginning = lru_cache(maxsize=64)(_beginning)
