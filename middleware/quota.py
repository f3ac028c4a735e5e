"""Tokens per minute and requests at the same time, for each account that a caller belongs to.

Reads:   ``state["gateway.principal"]``: the ``tpm`` and ``concurrent`` of its accounts; of those with a
         ``tpm`` the body of POSTs to model paths (shared, see ``_body.py``); ``state["gateway.completion"]``
         when the request has ended
Writes:  ``x-ratelimit-{limit,remaining,reset}-tokens`` of the account that has the least left;
         ``retry-after`` on 429
Streams: never buffered; headers are added at response start
Limits:  counted per process unless ``store`` is shared; with several workers give each its share

What a request may use is put aside before it runs: its input, estimated from its bytes, and the most that it
may answer, up to ``max_output``. When it has ended the account is charged what was really used, cached input
included: what is left over is given back, also after a failure or an abort, and what is missing is a debt
that drains like the rest. So requests that answer at most ``max_output`` tokens cannot together use more than
their minute, however many arrive at once; one that answers more runs into debt, and others wait.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ._asgi import ASGIApp, Header, Receive, Scope, Send
from ._body import BodyError, ClientDisconnected, read_body
from ._chat import CHAT_PATHS, COUNT_PATHS, EMBEDDING_PATHS, STREAM_PATHS
from ._paths import canonical, remembered
from ._reject import FINAL, Dialect, OnReject, Rejection, dialect_of, reject_json
from ._send import adding
from ._state import COMPLETION, PRINCIPAL, Account, Completion, Principal
from .policy.allowance import Grant, Rate, Slots, Store
from .policy.attachments import attachments
from .policy.bucket import Verdict
from .rate_limit import duration, owner, retry_after, tightest
from .stores.memory import MemoryStore

#: Where models are asked. Counting tokens uses none.
MODEL_PATHS = (CHAT_PATHS | STREAM_PATHS | EMBEDDING_PATHS) - COUNT_PATHS
#: English text has four bytes a token, code and JSON rather fewer, other scripts about three.
BYTES_PER_TOKEN = 3.5
#: About what providers charge for a picture of a usual size (Claude: width * height / 750).
IMAGE_TOKENS = 1_500

#: A page of a PDF; and a file that is not in the request, of a few of them.
PAGE_TOKENS = 2_000
FILE_TOKENS = 10_000

#: By dialect: what else a request calls so is not read.
_BOUNDS: dict[Dialect, tuple[str, ...]] = {
    "anthropic": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "openai": ("max_tokens", "max_completion_tokens"),
}
_CHOICES = 128


class QuotaMiddleware:
    """Refuses what exceeds an account's tokens per minute (429 ``rate_limit_exceeded``) or its requests at
    the same time (429 ``concurrency_limit_exceeded``). All limits hold; one that refuses charges none.

    ``max_output``: of an answer's tokens so many are put aside at most (agents ask for 32,000 and use a few
    hundred). ``default_output``: so many, where the request names no bound. A request whose input alone is
    more than the account's whole minute can never pass and is told so; one that is only larger together
    with its answer is admitted when the whole minute is there.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: Store | None = None,
        max_output: int = 4_096,
        default_output: int = 1_200,
        bytes_per_token: float = BYTES_PER_TOKEN,
        paths: Collection[str] = MODEL_PATHS,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._store = MemoryStore() if store is None else store
        self._max_output = max_output
        self._default_output = default_output
        self._bytes_per_token = bytes_per_token
        covered = frozenset(map(canonical, paths))
        self._covers = remembered(lambda path: canonical(path) in covered)
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
        if (
            principal is None
            or not principal.accounts
            or scope["type"] != "http"
            or scope["method"] != "POST"
            or not self._covers(scope["path"])
        ):
            await self.app(scope, receive, send)
            return
        metered = [account for account in principal.accounts if account.tpm is not None]
        counted = [account for account in principal.accounts if account.concurrent is not None]
        if not metered and not counted:
            await self.app(scope, receive, send)
            return
        rejection = _closed(metered, counted)
        rates: list[Rate] = []
        headers: tuple[Header, ...] = ()
        if metered and rejection is None:
            try:
                scope, receive, body = await read_body(scope, receive)
                value = body.json()
            except ClientDisconnected:
                return
            except BodyError as error:
                await self._on_reject(error.rejection())(scope, receive, send)
                return
            asked, answer = self._input(body.raw, value), self._output(value, scope["path"])
            rejection = _never(metered, asked)
            rates = [_rate(account, asked + answer) for account in metered]
        if rejection is None:
            slots = [Slots(account.id, account.concurrent or 0) for account in counted]
            grant = await self._store.take(principal.project, rates, slots)
            headers = _headers(grant.rates)
            if grant.allowed:
                await self._admitted(grant, scope, receive, adding(send, headers) if headers else send)
                return
            rejection = _refusal(grant, metered, counted, headers)
        await self._on_reject(rejection)(scope, receive, send)

    async def _admitted(self, grant: Grant, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self._store.settle(grant, used_tokens(scope["state"].get(COMPLETION)))

    def _input(self, raw: bytes, value: Any) -> int:
        """About how many tokens the request is."""
        if not isinstance(value, dict):
            return int(len(raw) / self._bytes_per_token)
        files = attachments(value)
        attached = files.images * IMAGE_TOKENS + files.pages * PAGE_TOKENS + files.unseen * FILE_TOKENS
        return int((len(raw) - files.size) / self._bytes_per_token) + attached

    def _output(self, value: Any, path: str) -> int:
        """The most tokens that the answer may have, up to the option's."""
        if not isinstance(value, dict) or canonical(path) in EMBEDDING_PATHS:
            return 0
        names = _BOUNDS[dialect_of({"path": path})]
        bounds = [bound for name in names if type(bound := value.get(name)) is int and bound >= 0]
        answers = max(_choices(value, "n"), _choices(value, "best_of"))
        # The largest: which of several is read depends on the application.
        return min(max(bounds, default=self._default_output) * answers, self._max_output)


def used_tokens(completion: Completion | None) -> int:
    """What a request has used of its minute: 0 when no model was asked."""
    if completion is None or completion.cache_hit:
        return 0
    return (
        completion.input_tokens
        + completion.cache_read_tokens
        + completion.cache_write_5m_tokens
        + completion.cache_write_1h_tokens
        + completion.output_tokens
    )


def _choices(value: Mapping[str, Any], name: str) -> int:
    count = value.get(name)
    return min(count, _CHOICES) if type(count) is int and count > 0 else 1


def _rate(account: Account, tokens: int) -> Rate:
    limit = account.tpm or 0
    return Rate(f"tokens:{account.id}", limit, min(tokens, limit))


def _headers(verdicts: Collection[Verdict]) -> tuple[Header, ...]:
    if not verdicts:
        return ()
    verdict = tightest(verdicts)
    return (
        (b"x-ratelimit-limit-tokens", b"%d" % verdict.limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset-tokens", duration(verdict.reset_seconds)),
    )


def _closed(metered: list[Account], counted: list[Account]) -> Rejection | None:
    """A limit of 0 lets nothing pass."""
    for account in metered:
        if not account.tpm or account.tpm < 0:
            return _final(f"Limit of 0 tokens a minute of {owner(account)}.", "rate_limit_exceeded")
    for account in counted:
        if not account.concurrent or account.concurrent < 0:
            message = f"Limit of 0 requests at the same time of {owner(account)}."
            return _final(message, "concurrency_limit_exceeded")
    return None


def _never(metered: list[Account], asked: int) -> Rejection | None:
    for account in metered:
        if asked > (account.tpm or 0):
            return _final(
                f"This request of about {asked} tokens can never pass: the limit of {owner(account)} is "
                f"{account.tpm} tokens a minute. Send less, or have the operator raise it.",
                "rate_limit_exceeded",
            )
    return None


def _final(message: str, code: str) -> Rejection:
    return Rejection(429, message, type="rate_limit_error", code=code, headers=(FINAL,))


def _refusal(
    grant: Grant, metered: list[Account], counted: list[Account], headers: tuple[Header, ...]
) -> Rejection:
    for account, verdict in zip(counted, grant.slots, strict=True):
        if not verdict.allowed:
            return Rejection(
                429,
                f"Limit of {verdict.limit} requests at the same time of {owner(account)} reached. "
                "Try again when one has ended.",
                type="rate_limit_error",
                code="concurrency_limit_exceeded",
                headers=(*headers, retry_after(1)),
            )
    verdict = tightest(grant.rates)
    index = grant.rates.index(verdict)
    wait = retry_after(verdict.retry_seconds)
    return Rejection(
        429,
        f"Rate limit of {verdict.limit} tokens a minute of {owner(metered[index])} reached: this request may "
        f"use {int(grant.asked[index].amount)}, and {verdict.remaining} are left. "
        f"Try again in {wait[1].decode()} s.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers=(*headers, wait),
    )
