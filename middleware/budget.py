"""Budgets in money, per UTC day and month: a request that could exceed one is refused before it costs any.

Reads:   ``state["gateway.principal"]`` (its accounts), the body; when the request is over
         ``state["gateway.completion"].cost_nano``
Writes:  the body, where a key stands in it twice; ``state["gateway.reservation"]``; 402 ``budget_exceeded``
         or ``price_unknown``, 503 ``budget_unavailable``; 400 for a body that is not a JSON object
Streams: the request body is read whole (shared, see ``_body.py``); the answer is not touched
Limits:  counts what requests *could* cost until it is known what they did: near its end a budget refuses
         requests that would have fitted. Callers without a budget are not looked at.

What a request may cost at most is put aside, in every budget of every account of the caller, before it goes
on; whoever writes down what it did cost gives back the rest. A request that costs nothing always passes.

A refusal has no ``retry-after``: both SDKs sleep as long as it says, and "until next month" is a program that
hangs. It says ``x-should-retry: false`` instead, and in words when the budget begins anew. Only where the
budget is not spent but put aside, for requests that are under way, is it worth trying again in a moment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

from ._asgi import ASGIApp, Header, Message, Receive, Scope, Send
from ._body import Body, BodyError, ClientDisconnected, read_body
from ._chat import CHAT_PATHS, COUNT_PATHS, STREAM_PATHS
from ._paths import canonical, remembered
from ._reject import FINAL, OnReject, Rejection, reject_json
from ._state import COMPLETION, PRINCIPAL, RESERVATION, Account, Completion, Principal, Reservation
from .policy.budget import Exceeded, dollars, has_budget
from .policy.json_keys import repeats_keys
from .stores.budgets import MemoryBudgets

#: Where answers cost money. Counting tokens is free.
PRICED_PATHS = (CHAT_PATHS - COUNT_PATHS) | STREAM_PATHS | {"/v1/embeddings", "/embeddings"}

#: ``(body, scope)`` → the most that the request may cost, in nano-dollars; the body is a JSON object. 0:
#: nothing, or the application is going to refuse it. None: nobody knows the price.
Price = Callable[[Body, Scope], "int | None"]

_MAX_NAME = 200
_TYPE = "insufficient_quota"  # https://platform.openai.com/docs/guides/error-codes
_log = logging.getLogger(__name__)


class Budgets(Protocol):
    """Who keeps count. Each call is atomic, bounded in time, and raises when it cannot be done."""

    async def reserve(self, reservation_id: str, accounts: Sequence[Account], nano: int) -> Exceeded | None:
        """Put ``nano`` aside in every budget of ``accounts``; where it does not fit into one, in none, and
        say which. When the caller is cancelled nothing stays put aside."""
        ...

    async def settle(self, reservation: Reservation, cost_nano: int | None) -> None:
        """The request is over and has cost so much; None: nobody knows, and the whole reservation counts."""
        ...


class BudgetMiddleware:
    """Refuses what could exceed a budget of the caller's accounts.

    ``price`` bounds the cost of a request. ``budgets`` keeps count: in this process, unless given.
    ``refuse_unavailable``: 503 while ``budgets`` cannot tell; False lets requests pass uncounted then.
    ``price_hint`` ends the refusal of a model without a price: what the operator can do about it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        price: Price,
        budgets: Budgets | None = None,
        refuse_unavailable: bool = True,
        price_hint: str = "",
        paths: Collection[str] = PRICED_PATHS,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._price = price
        self._budgets = MemoryBudgets() if budgets is None else budgets
        self._refuse_unavailable = refuse_unavailable
        self._price_hint = price_hint
        priced = frozenset(map(canonical, paths))
        self._covers = remembered(lambda path: canonical(path) in priced)
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = (scope.get("state") or {}).get(PRINCIPAL)
        if (
            principal is None
            or not has_budget(principal.accounts)
            or scope["type"] != "http"
            or scope["method"] != "POST"
            or not self._covers(scope["path"])
        ):
            await self.app(scope, receive, send)
            return
        try:
            scope, receive, body = await read_body(scope, receive)
            request = body.json_object()
        except ClientDisconnected:
            return
        except BodyError as error:
            await self._on_reject(error.rejection())(scope, receive, send)
            return
        if not body.replaced and repeats_keys(body.raw, request):
            # Of two limits one is priced and the other one read: what goes on is what is priced.
            scope = body.replace(scope, request)
        nano = self._price(body, scope)
        if nano is None:
            await self._on_reject(_unpriced(request, self._price_hint))(scope, receive, send)
        elif nano <= 0:
            await self.app(scope, receive, send)
        else:
            await self._reserved(principal.accounts, nano, scope, receive, send)

    async def _reserved(
        self, accounts: Sequence[Account], nano: int, scope: Scope, receive: Receive, send: Send
    ) -> None:
        reservation = Reservation(os.urandom(16).hex(), nano)
        try:
            exceeded = await self._budgets.reserve(reservation.id, accounts, nano)
        except Exception as error:  # noqa: BLE001 - a store's trouble is not the caller's
            # Its name only: a store's messages like to quote the values they failed on.
            _log.error("budgets cannot be checked: %s", type(error).__name__)
            app = self._on_reject(_UNAVAILABLE) if self._refuse_unavailable else self.app
            await app(scope, receive, send)
            return
        if exceeded is not None:
            await self._on_reject(_exceeded(exceeded))(scope, receive, send)
            return
        state = scope["state"]
        state[RESERVATION] = reservation
        answer = _Answer(send)
        try:
            await self.app(scope, receive, answer.send)
        finally:
            await self._budgets.settle(reservation, _cost(state.get(COMPLETION), answer.status))


class _Answer:
    """Remembers the status of the response that passes; 0 until it starts."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        return self._send(message)


def _cost(completion: Completion | None, status: int) -> int | None:
    """None: unknown. An error costs nothing unless somebody says what."""
    known = None if completion is None else completion.cost_nano
    return 0 if known is None and status >= 400 else known


_UNAVAILABLE = Rejection(
    503,
    "Budgets cannot be checked at the moment, so nothing is spent.",
    type="api_error",
    code="budget_unavailable",
    headers=((b"retry-after", b"1"),),
)


def _exceeded(exceeded: Exceeded) -> Rejection:
    slot, balance = exceeded.slot, exceeded.balance
    kind, _, name = slot.account.partition(":")
    of = f"{kind} {name[:_MAX_NAME]!r}" if name else repr(kind[:_MAX_NAME])
    period = "daily" if slot.period == "day" else "monthly"
    text = (
        f"The {period} budget of {of} is {dollars(exceeded.limit)}: {dollars(balance.spent)} of it is spent"
    )
    if balance.reserved:
        text += f" and {dollars(balance.reserved)} is put aside for requests under way"
    text += f", and this request may cost up to {dollars(exceeded.nano)}."
    headers: tuple[Header, ...] = (FINAL,)
    if exceeded.passing:
        headers = ((b"retry-after", b"1"), (b"x-should-retry", b"true"))
        text += " Try again when those are over."
    elif balance.spent < exceeded.limit:
        text += " A lower limit of output tokens makes it cheaper."
    text += f" The budget begins anew at {exceeded.begins_anew:%Y-%m-%d %H:%M} UTC."
    return Rejection(402, text, type=_TYPE, code="budget_exceeded", headers=headers)


def _unpriced(request: dict[str, Any], hint: str) -> Rejection:
    model = request.get("model")
    of = f"the model {model[:_MAX_NAME]!r}" if isinstance(model, str) else "this model"
    text = f"Nobody knows what {of} costs, and there is a budget to keep. {hint}".strip()
    param = "model" if isinstance(model, str) else None
    return Rejection(402, text, type=_TYPE, code="price_unknown", param=param, headers=(FINAL,))
