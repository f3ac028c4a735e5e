"""ASGI vocabulary shared by every middleware: types, scope state, header look-ups.

The ASGI specification (https://asgi.readthedocs.io/en/latest/specs/www.html) is the source of
every message shape used here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

_OWNED = "gateway.owned"


def with_state(scope: Scope) -> tuple[Scope, dict[str, Any]]:
    """Return ``(scope, state)`` where ``state`` belongs to this request alone.

    ``scope["state"]`` starts as the server's lifespan state. Servers copy it for each request,
    but the specification only says they *should*, so the first gateway middleware to touch it makes
    a copy of its own (and of the scope: a middleware changes its copy, never its caller's).
    """
    state = scope.get("state")
    if state is not None and _OWNED in state:
        return scope, state
    own: dict[str, Any] = {**(state or {}), _OWNED: True}
    return {**scope, "state": own}, own


def header(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first value of ``name`` (given in lower case, as ASGI servers deliver names)."""
    for key, value in headers:
        if key == name:
            return value
    return None


def client_address(scope: Scope) -> str:
    """``host`` of the peer, or ``"unknown"`` (a Unix socket has none)."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
