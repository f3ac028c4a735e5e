"""Requests per minute, for each caller and for each account that the caller belongs to.

Reads:   ``state["gateway.principal"]`` (falls back to the client's address)
Writes:  response headers ``x-ratelimit-limit/-remaining/-reset`` and OpenAI's ``x-ratelimit-*-requests``,
         of the limit that has the least left; ``retry-after`` on 429
Streams: never buffered; headers are added at response start. Body: not read.
Limits:  counted per process unless ``store`` and ``limiter`` are shared; with several workers give each
         its share. Both admit a burst: see ``stores/memory.py`` and ``policy/allowance.py``.

``x-ratelimit-reset`` is in whole seconds from now (not a date); ``x-ratelimit-reset-requests`` is
OpenAI's duration (https://platform.openai.com/docs/guides/rate-limits), ``12ms``, ``1s``, ``1m30s``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from ._asgi import ASGIApp, Header, Receive, Scope, Send, client_address
from ._paths import PathPrefixes, canonical, remembered
from ._reject import FINAL, OnReject, Rejection, reject_json
from ._send import adding
from ._state import PRINCIPAL, Account, Principal
from .policy.allowance import Rate, Store
from .policy.bucket import Limiter, Verdict
from .stores.memory import MemoryLimiter, MemoryStore


def caller(scope: Scope) -> str:
    """The key that requests are counted under: the principal's API key, else the peer's address."""
    principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
    return f"key:{principal.key_id}" if principal else f"address:{client_address(scope)}"


class RateLimitMiddleware:
    """Refuses requests beyond so many a minute with 429 ``rate_limit_exceeded``.

    A caller whose principal has accounts with an ``rpm`` is held to those, each of them and all at once: a
    request that one refuses is charged to none. They take the place of ``rpm``, which holds for everybody
    else, for each ``key`` (see :func:`caller`) by itself. A share below 1 (2 a minute over 4 workers)
    admits one request each ``1 / rpm`` minutes.

    ``store`` counts accounts (None: in this process). ``limiter`` replaces the in-process one of everybody
    else (``rpm`` is then its business); :class:`StoreLimiter` makes one of a store. ``factor`` multiplies
    the accounts' limits, and ``name`` keeps the count apart from that of another instance of this class.
    ``skip``: path prefixes that are neither counted nor refused; ``only``: count these path prefixes and
    pass everything else through (None: count everything).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rpm: float = 60,
        limiter: Limiter | None = None,
        store: Store | None = None,
        factor: float = 1.0,
        name: str = "requests",
        key: Callable[[Scope], str] = caller,
        only: Iterable[str] | None = None,
        skip: Iterable[str] = ("/health", "/live", "/ready"),
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._limiter = in_process(rpm) if limiter is None else limiter
        self._store = MemoryStore() if store is None else store
        self._factor = factor
        self._name = name
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
        principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
        if principal is not None and principal.accounts and _is_limited(principal.accounts):
            whose, verdict = await self._take(principal)
        else:
            whose, verdict = None, await self._limiter.take(self._key(scope))
        headers = rate_limit_headers(verdict)
        if not verdict.allowed:
            await self._on_reject(_refusal(whose, verdict, headers))(scope, receive, send)
            return
        await self.app(scope, receive, adding(send, headers))

    async def _take(self, principal: Principal) -> tuple[Account, Verdict]:
        """The account that decides, and how it stands."""
        limited = [account for account in principal.accounts if account.rpm is not None]
        rates = []
        for account in limited:
            if not account.rpm or account.rpm < 0:
                return account, NOTHING
            rates.append(Rate(f"{self._name}:{account.id}", account.rpm * self._factor))
        grant = await self._store.take(principal.project, rates)
        verdict = tightest(grant.rates)
        return limited[grant.rates.index(verdict)], verdict


class StoreLimiter:
    """A :class:`~.policy.bucket.Limiter` of ``rpm`` requests a minute for each key, counted in ``store``."""

    def __init__(self, store: Store, rpm: float, *, name: str = "requests") -> None:
        if not rpm > 0:
            raise ValueError(_nobody(rpm))
        self._store = store
        self._rpm = rpm
        self._name = name

    async def take(self, key: str) -> Verdict:
        """See :meth:`~.policy.bucket.Limiter.take`."""
        grant = await self._store.take(key, [Rate(f"{self._name}:{key}", self._rpm)])
        return grant.rates[0]


#: A limit of 0 lets nothing pass, ever.
NOTHING = Verdict(False, 0, 0, 0.0, 0.0)


def tightest(verdicts: Iterable[Verdict]) -> Verdict:
    """The one that decides: that refuses for longest, else that has the least left."""
    return min(verdicts, key=lambda v: (v.allowed, -v.retry_seconds, v.remaining, -v.reset_seconds))


def _is_limited(accounts: Iterable[Account]) -> bool:
    for account in accounts:  # noqa: SIM110  any() would make a generator for each request
        if account.rpm is not None:
            return True
    return False


def in_process(rpm: float) -> Limiter:
    """``rpm`` requests a minute for each key, counted in this process. Raises ``ValueError`` for none."""
    if not rpm > 0:
        raise ValueError(_nobody(rpm))
    return MemoryLimiter(rpm) if rpm >= 1 else MemoryLimiter(1, period=60 / rpm)


def _nobody(rpm: float) -> str:
    return f"a rate of {rpm:g} requests a minute would admit nobody"


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


def retry_after(seconds: float) -> Header:
    """Whole seconds, at least 1: 0 would have clients come back at once."""
    return (b"retry-after", b"%d" % max(ceil(seconds), 1))


def owner(account: Account) -> str:
    """``project acme``: whose limit it is, as the caller is told."""
    return account.id.replace(":", " ", 1)


def _refusal(whose: Account | None, verdict: Verdict, headers: tuple[Header, ...]) -> Rejection:
    of = "" if whose is None else f" a minute of {owner(whose)}"
    wait = retry_after(verdict.retry_seconds)
    said = f"Try again in {wait[1].decode()} s." if verdict.limit else "The operator has to raise it."
    return Rejection(
        429,
        f"Rate limit of {verdict.limit} requests{of} reached. {said}",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers=(*headers, wait if verdict.limit else FINAL),
    )
