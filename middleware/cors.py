"""Let web pages of named origins call the service from a browser.

Reads:   ``origin``, ``access-control-request-method``, ``access-control-request-headers``
Writes:  ``access-control-*`` and ``vary: origin``; answers preflights (204, or 403 for other origins)
Streams: headers are added at response start. Body: not read
Limits:  no credentials mode: keys travel in headers that the page sets itself, never in cookies

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol. An origin is allowed by being named,
character by character; nothing of a request is reflected but an origin that is on the list and, in a
preflight from one, the names of the headers it asks for. Above authentication, since a preflight carries
no key, and above everything that refuses, since a page may read a refusal only with these headers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable

from ._asgi import ASGIApp, Header, Message, Receive, Scope, Send
from ._reject import OnReject, Rejection, reject_json
from ._send import with_headers

#: ``scheme://host[:port]`` as browsers write it (RFC 6454 §6.2): lower case, no path. Programs made of web
#: pages have schemes of their own (``app://obsidian.md``, ``tauri://localhost``).
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")

_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2048}")
_METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
#: Every header of the answer. The wildcard holds because there are no credentials, and it holds for the
#: headers of tomorrow.
_EXPOSED: Header = (b"access-control-expose-headers", b"*")
_VARY: Header = (b"vary", b"origin")
_OURS = (b"access-control-allow-origin", b"access-control-allow-credentials", _EXPOSED[0])


class CorsMiddleware:
    """Allows the pages of ``origins`` to call and to read every header of an answer.

    ``max_age``: seconds for which a browser need not ask again. Raises ``ValueError`` for an origin that
    no browser would send, and for ``*``: an open list is a decision about every page in the world.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: Iterable[str],
        max_age: int = 600,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._allowed: dict[bytes, tuple[Header, ...]] = {}
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: write scheme://host or scheme://host:port")
            value = origin.encode()
            self._allowed[value] = ((b"access-control-allow-origin", value), _EXPOSED)
        self._max_age = b"%d" % max_age
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin = asked = wanted = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"access-control-request-method":
                asked = value
            elif name == b"access-control-request-headers":
                wanted = value
        allowed = None if origin is None else self._allowed.get(origin)
        if scope["method"] == "OPTIONS" and origin is not None and asked is not None:
            await self._preflight(allowed, wanted, scope, receive, send)
            return
        headers = allowed or ()

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = with_headers(message, headers, drop=_OURS)
                message["headers"].append(_VARY)  # beside what else the answer varies by
            return send(message)

        await self.app(scope, receive, send_with_headers)

    async def _preflight(
        self,
        allowed: tuple[Header, ...] | None,
        wanted: bytes | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        vary = (b"vary", b"origin, access-control-request-headers")
        if allowed is None:
            message = "Pages of this origin may not call this service."
            refusal = Rejection(403, message, "permission_error", "origin_not_allowed", headers=(vary,))
            await self._on_reject(refusal)(scope, receive, send)
            return
        headers = [
            allowed[0],
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", self._max_age),
            vary,
        ]
        if wanted is not None and _NAMES.fullmatch(wanted):
            headers.append((b"access-control-allow-headers", wanted))
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
