"""Who is calling: an API key becomes a principal, or the request is refused.

Reads:   headers ``authorization: Bearer``, ``x-api-key``, ``api-key``
Writes:  ``state["gateway.principal"]`` (project and key fingerprint; never the key)
Streams: not touched. Body: not read.
Limits:  every configured key is compared on every request, so that time says nothing about which
         one was close: fine for dozens. For many keys give ``verify``, which looks one up by its id.

Clients disagree about the header and some send two of them, one being a placeholder that they cannot
be told to leave out. So every credential in the request is tried, in the order above, and the first
valid one decides; a request that carries more than :data:`MAX_CREDENTIALS` different ones is guessing
and is refused. A CORS preflight (``OPTIONS``) is a request like any other.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2s, sha256
from operator import itemgetter

from ._asgi import ASGIApp, Header, Receive, Scope, Send, with_state
from ._paths import PathPrefixes, canonical, remembered
from ._reject import FINAL, OnReject, Rejection, reject_json
from ._state import PRINCIPAL, Principal

Verify = Callable[[str], "Principal | Awaitable[Principal | None] | None"]

#: Different credentials that one request may carry (there are three headers to put one in).
MAX_CREDENTIALS = 3
#: Bytes; no vendor's key comes near it, and hashing a longer one would be work for nothing.
MAX_KEY_LENGTH = 512

_PRECEDENCE = {b"authorization": 0, b"x-api-key": 1, b"api-key": 2}
_log = logging.getLogger(__name__)


def key_fingerprint(key: str) -> str:
    """12 hex digits that name ``key`` in logs and rows without giving it away."""
    return sha256(b"gateway-key-id\0" + key.encode()).hexdigest()[:12]


class AuthMiddleware:
    """Admits requests that carry a known key.

    ``keys``: either key → project (or a ready :class:`Principal`), or just keys (project ``default``).
    ``verify``: asked instead of ``keys``, with one credential; may be async. It raises when it cannot
    tell (a database is down): the answer is then 503, never 401.
    With neither, what this instance guards is closed: 403 with the text ``closed``.

    ``only``: guard these path prefixes and pass everything else through (None: guard everything).
    ``skip``: path prefixes that somebody else guards. ``public``: exact paths that need no key.
    Paths are compared without regard to case, doubled slashes and dot segments.

    Raises ``ValueError`` for an empty, overlong or non-ASCII configured key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Mapping[str, str | Principal] | Iterable[str] = (),
        verify: Verify | None = None,
        only: Iterable[str] | None = None,
        skip: Iterable[str] = (),
        public: Iterable[str] = ("/health", "/live", "/ready"),
        closed: str = "No key is configured for this part of the gateway, so it is closed.",
        on_reject: OnReject = reject_json,
    ) -> None:
        if isinstance(keys, str):
            raise TypeError("keys is a mapping or a sequence of keys, not one string")
        self.app = app
        # Digests under a secret that lives as long as the process: of one length to compare, and nothing
        # in memory that a stolen dump could be searched with.
        self._pepper = secrets.token_bytes(32)
        self._known = [
            (self._digest(_checked(key)), _principal(key, owner))
            for key, owner in (keys.items() if isinstance(keys, Mapping) else ((key, None) for key in keys))
        ]
        self._verify = verify
        self._only = None if only is None else PathPrefixes(only)
        self._skip = PathPrefixes(skip)
        self._public = frozenset(canonical(path) for path in public)
        self._guards = remembered(self._is_guarded)
        self._closed = Rejection(403, closed, type="permission_error", code="closed")
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._guards(scope["path"]):
            await self.app(scope, receive, send)
            return
        if self._verify is not None:
            verdict = await self._ask(self._verify, _credentials(scope["headers"]))
        elif self._known:
            verdict = self._compare(_credentials(scope["headers"]))
        else:
            verdict = self._closed
        if isinstance(verdict, Principal):
            scope, state = with_state(scope)
            state[PRINCIPAL] = verdict
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._on_reject(verdict)(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})

    def _is_guarded(self, raw: str) -> bool:
        path = canonical(raw)
        if self._only is not None and path not in self._only:
            return False
        return path not in self._public and path not in self._skip

    def _compare(self, credentials: list[bytes]) -> Principal | Rejection:
        if len(credentials) <= MAX_CREDENTIALS:
            for credential in credentials:
                digest = self._digest(credential)
                match: Principal | None = None
                for known, principal in self._known:  # all of them, always
                    if hmac.compare_digest(known, digest):
                        match = principal
                if match is not None:
                    return match
        return _unknown(credentials)

    async def _ask(self, verify: Verify, credentials: list[bytes]) -> Principal | Rejection:
        if len(credentials) <= MAX_CREDENTIALS:
            for credential in credentials:
                try:
                    found = verify(credential.decode("ascii"))
                    # Not `isawaitable`: it costs as much as checking a remembered key.
                    principal = found if found is None or isinstance(found, Principal) else await found
                except Exception as error:  # noqa: BLE001 - a store's trouble is not the caller's
                    # Its name only: a store's messages like to quote the value they failed on.
                    _log.error("keys cannot be checked: %s", type(error).__name__)
                    return Rejection(
                        503,
                        "Keys cannot be checked at the moment.",
                        type="api_error",
                        code="auth_unavailable",
                        headers=((b"retry-after", b"1"),),
                    )
                if principal is not None:
                    return principal
        return _unknown(credentials)

    def _digest(self, key: bytes) -> bytes:
        # Keyed BLAKE2 (RFC 7693) is a MAC by itself; HMAC-SHA-256 by OpenSSL costs four times as much.
        return blake2s(key, key=self._pepper).digest()


def _credentials(headers: Iterable[Header]) -> list[bytes]:
    """The distinct, well-formed credentials of a request, in order of precedence."""
    found: list[tuple[int, bytes]] = []
    for name, value in headers:
        if name in _PRECEDENCE:
            if name == b"authorization":
                scheme, _, value = value.partition(b" ")
                if scheme.lower() != b"bearer":
                    continue
            value = value.strip()
            if value and value.isascii() and len(value) <= MAX_KEY_LENGTH:
                found.append((_PRECEDENCE[name], value))
    if len(found) > 1:
        found.sort(key=itemgetter(0))
        return list(dict.fromkeys(value for _, value in found))
    return [value for _, value in found]


def _checked(key: str) -> bytes:
    raw = key.encode()
    # Never the key itself in the message: this one ends up in a log at start-up.
    if not raw or raw != raw.strip() or not raw.isascii() or len(raw) > MAX_KEY_LENGTH:
        raise ValueError(f"a configured key is empty, padded, not ASCII or over {MAX_KEY_LENGTH} bytes")
    return raw


def _principal(key: str, owner: str | Principal | None) -> Principal:
    if isinstance(owner, Principal):
        return owner
    return Principal(project=owner or "default", key_id=key_fingerprint(key))


def _unknown(credentials: list[bytes]) -> Rejection:
    if not credentials:
        return _refusal("You did not provide an API key. Send it as Authorization: Bearer KEY.")
    return _refusal("Incorrect API key provided.")


def _refusal(message: str) -> Rejection:
    # RFC 9110 section 11.6.1: a 401 names the scheme that would be accepted. Claude Code repeats a refused
    # request for three minutes unless it is told that this is final (its "gateway protocol", Errors).
    return Rejection(401, message, code="invalid_api_key", headers=((b"www-authenticate", b"Bearer"), FINAL))
