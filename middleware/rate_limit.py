"""Requests per minute, for each caller.

Reads:   ``state["gateway.principal"]`` (falls back to the client's address)
Writes:  response headers ``x-ratelimit-limit/-remaining/-reset`` and OpenAI's ``x-ratelimit-*-requests``;
         ``retry-after`` on 429
Streams: never buffered; headers are added at response start. Body: not read.
Limits:  counted per process unless ``limiter`` is shared; with several workers give each its share of
         the rate. A leaky bucket admits a burst: see ``stores/memory.py`` for the exact bound.

``x-ratelimit-reset`` is in whole seconds from now (not a date); ``x-ratelimit-reset-requests`` is
OpenAI's duration (https://platform.openai.com/docs/guides/rate-limits), ``12ms``, ``1s``, ``1m30s``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import ceil

from ._asgi import ASGIApp, Header, Message, Receive, Scope, Send, client_address
from ._paths import PathPrefixes, canonical, remembered
from ._reject import OnReject, Rejection, reject_json
from ._state import PRINCIPAL, Principal
from .policy.bucket import Limiter, Verdict
from .stores.memory import MemoryLimiter


def caller(scope: Scope) -> str:
    """The key that requests are counted under: the principal's API key, else the peer's address."""
    principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
    return f"key:{principal.key_id}" if principal else f"address:{client_address(scope)}"


class RateLimitMiddleware:
    """Refuses a caller's requests beyond ``rpm`` a minute with 429 ``rate_limit_exceeded``.

    A share below 1 (2 a minute over 4 workers) admits one request each ``1 / rpm`` minutes.
    ``limiter`` replaces the in-process one (``rpm`` is then its business). ``key`` names who is
    counted. ``skip``: path prefixes that are neither counted nor refused; ``only``: count these path
    prefixes and pass everything else through (None: count everything).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rpm: float = 60,
        limiter: Limiter | None = None,
        key: Callable[[Scope], str] = caller,
        only: Iterable[str] | None = None,
        skip: Iterable[str] = ("/health", "/live", "/ready"),
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._limiter = _in_process(rpm) if limiter is None else limiter
        self._key = key
        skipped, counted = PathPrefixes(skip), None if only is None else PathPrefixes(only)

        def skips(path: str) -> bool:
            path = canonical(path)
            return path in skipped or (counted is not None and path not in counted)

        self._skips = remembered(skips)
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._skips(scope["path"]):
            await self.app(scope, receive, send)
            return
        verdict = await self._limiter.take(self._key(scope))
        headers = rate_limit_headers(verdict)
        if not verdict.allowed:
            await self._on_reject(_refusal(verdict, headers))(scope, receive, send)
            return

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            return send(message)

        await self.app(scope, receive, send_with_headers)


def _in_process(rpm: float) -> Limiter:
    if not rpm > 0:
        raise ValueError(f"a rate of {rpm:g} requests a minute would admit nobody")
    return MemoryLimiter(rpm) if rpm >= 1 else MemoryLimiter(1, period=60 / rpm)


def rate_limit_headers(verdict: Verdict) -> tuple[Header, ...]:
    """Both spellings of what ``verdict`` says."""
    limit = b"%d" % verdict.limit
    remaining = b"%d" % verdict.remaining
    return (
        (b"x-ratelimit-limit", limit),
        (b"x-ratelimit-remaining", remaining),
        (b"x-ratelimit-reset", b"%d" % ceil(verdict.reset_seconds)),
        (b"x-ratelimit-limit-requests", limit),
        (b"x-ratelimit-remaining-requests", remaining),
        (b"x-ratelimit-reset-requests", duration(verdict.reset_seconds)),
    )


def duration(seconds: float) -> bytes:
    """``seconds`` in OpenAI's notation, rounded up: ``0s``, ``12ms``, ``1s``, ``1m30s``."""
    if seconds < 1:
        millis = ceil(seconds * 1000)
        if millis < 1000:
            return b"%dms" % millis if millis > 0 else b"0s"
    minutes, rest = divmod(ceil(seconds), 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


def _refusal(verdict: Verdict, headers: tuple[Header, ...]) -> Rejection:
    seconds = max(ceil(verdict.retry_seconds), 1)
    return Rejection(
        429,
        f"Rate limit of {verdict.limit} requests reached. Try again in {seconds} s.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers=(*headers, (b"retry-after", b"%d" % seconds)),
    )
