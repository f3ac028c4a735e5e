"""The worker's side of the ledger: a record before an upstream is asked, and a row when all is over.

Both are written into the worker's journal, so that neither a database nor a system call stands in the way of
an answer. The cost is computed here, once, while the request is still at hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from time import time
from typing import Any, Protocol

import orjson

from middleware._asgi import Scope
from middleware._body import Body
from middleware._reject import Rejection
from middleware._state import (
    ABORTED,
    BODY,
    COMPLETION,
    PRINCIPAL,
    REFUSED,
    REQUEST_ID,
    RESERVATION,
    SAVINGS,
    Completion,
    Principal,
    Reservation,
    Saving,
)

from ..errors import one_line
from ..prices import PriceBook, Rates, variant_of, variant_told
from .asking import dialect_of, is_for_models, tokens_in, wish_of
from .row import ASKED, ROW

#: Where a request finds the ledger, and what it has of it: ``scope["state"]``.
LEDGER = "gateway.ledger"
_ENTRY = "gateway.ledger.entry"

#: Characters that the columns of the table hold.
_NAME, _STAGE, _CODE, _ABORTED = 256, 64, 128, 32
#: Seconds until the journal may have room again.
_RETRY_AFTER = 5
#: More than any model reads; what is reported beyond it would not fit into the table.
_MOST_TOKENS = 10**12


class Journal(Protocol):
    """Where records go; see ``journal.py``. ``full``: new requests should be refused."""

    @property
    def full(self) -> bool: ...

    def write(self, record: bytes) -> bool:
        """Keep ``record``; False: there was no place for it."""
        ...

    def begin(self, record: bytes) -> int:
        """Keep ``record`` until ``end`` is called with what this returns."""
        ...

    def end(self, slot: int) -> None: ...


class LedgerFull(Exception):
    """The request is not sent on: nobody could write down what it costs."""

    def rejection(self) -> Rejection:
        """The 503 that says so."""
        return Rejection(
            503,
            "The gateway cannot record requests now: its disk is full, or its database has been away "
            "for too long. Try again later.",
            type="api_error",
            code="ledger_full",
            headers=((b"retry-after", b"%d" % _RETRY_AFTER),),
        )


#: What the row of a request repeats of its first record: its id, the request's, the project, the key, the
#: dialect, the model that was asked for, the reservation.
_Head = tuple[str, str, str, str, str, str, str]
#: What is known of a request since its upstream was asked: the above, where the journal keeps the record,
#: when that was (Unix seconds), the upstream's name of the model, the variant of its prices, the prices.
#: (Named tuples take 0.3 µs more.)
_Entry = tuple[_Head, int, float, str, str, "Rates | None"]


class Ledger:
    """Writes rows for requests of known callers that reached a model's endpoint: answered, refused or broken
    off; not for those that a rate limit has turned away.

    ``refuse_when_full``: no upstream is asked while ``journal`` has no room, and :class:`LedgerFull` is
    raised instead. Rows are complete without it, too, as long as there is room for them.
    """

    def __init__(self, journal: Journal, prices: PriceBook, *, refuse_when_full: bool = True) -> None:
        self.prices = prices
        self._journal = journal
        self._refuse = refuse_when_full
        self._ids = _row_ids()

    def asked(self, scope: Scope, completion: Completion) -> None:
        """An upstream is about to be asked for ``completion``, the first time for this request or (another
        one) again: a request has one row. Raises :class:`LedgerFull`."""
        state: dict[str, Any] = scope["state"]
        known: _Entry | None = state.get(_ENTRY)
        body: Body = state[BODY]
        provider, model = completion.provider, completion.model
        at = time()
        if known is not None:
            head, slot = known[:2]
            variant = variant_of(body.json(), head[4])
            rates = self.prices.rates(provider, model, at, variant=variant)
            state[_ENTRY] = (head, slot, at, model, variant, rates)
            return
        principal: Principal | None = state.get(PRINCIPAL)
        if principal is None:
            return
        journal = self._journal
        if self._refuse and journal.full:
            raise LedgerFull
        dialect = dialect_of(scope["path"])
        variant = variant_of(body.json(), dialect)
        rates = self.prices.rates(provider, model, at, variant=variant)
        prompt = tokens_in(body.raw)
        row_id, request_id, requested = next(self._ids), state[REQUEST_ID], completion.requested_model
        project, key_id = principal.project, principal.key_id
        reservation: Reservation | None = state.get(RESERVATION)
        reserved = "" if reservation is None else reservation.id
        # The fields of Asked, in order.
        record = (
            ASKED,
            row_id,
            at,
            request_id,
            project,
            key_id,
            dialect,
            requested,
            model,
            provider,
            completion.stream,
            prompt,
            None if rates is None else rates.cost_of_prompt(prompt),
            reserved,
        )
        head = (row_id, request_id, project, key_id, dialect, requested, reserved)
        entry: _Entry = (head, journal.begin(_line(record)), at, model, variant, rates)
        state[_ENTRY] = entry

    def price(self, state: dict[str, Any]) -> None:
        """Put into the request's completion what it has cost, and saved, now that its usage is known."""
        completion: Completion | None = state.get(COMPLETION)
        entry: _Entry | None = state.get(_ENTRY)
        if completion is None or entry is None or completion.cost_nano is not None:
            return
        _, _, at, asked, variant, rates = entry
        told, geo = completion.variant, completion.geo
        charged = variant if told is geo is None else variant_told(variant, told, geo)
        if charged != variant:
            variant, rates = charged, self.prices.rates(completion.provider, asked, at, variant=charged)
        if completion.model != asked:
            rates = self.prices.rates(completion.provider, completion.model, at, asked=asked, variant=variant)
        counts = (
            completion.input_tokens,
            completion.output_tokens,
            completion.cache_read_tokens,
            completion.cache_write_5m_tokens,
            completion.cache_write_1h_tokens,
            completion.reasoning_tokens,
            completion.web_searches,
        )
        if not any(counts[:5]):
            completion.cost_nano = 0  # an upstream that has read and written nothing charges nothing
            return
        if rates is None:
            completion.unpriced = True
            return
        completion.cost_nano = rates.cost(*counts)
        if SAVINGS in state:
            counted = "input" not in completion.estimated
            completion.saved_nano = rates.saved(_tokens_saved(state), *counts, counted=counted)

    def finished(
        self,
        scope: Scope,
        state: dict[str, Any],
        at: float,
        status: int,
        seconds: float,
        ttft_seconds: float | None,
    ) -> None:
        """Write the row of a request that is over; see :data:`middleware.telemetry.Record`."""
        entry: _Entry | None = state.pop(_ENTRY, None)
        completion: Completion | None = state.get(COMPLETION)
        if entry is not None:
            head, slot = entry[:2]
            assert completion is not None  # whoever asks an upstream makes one
        else:
            principal: Principal | None = state.get(PRINCIPAL)
            # 429: a limit of the gateway's own, since no upstream was asked.
            if principal is None or status == 429 or scope["method"] != "POST":
                return
            # What little room there is belongs to those that cost something.
            if not is_for_models(scope["path"]) or self._journal.full:
                return
            completion = completion or Completion()
            completion.attempts = 0
            completion.cost_nano = completion.cost_nano or 0
            if not completion.requested_model:
                completion.requested_model, completion.stream = wish_of(state)
            head, slot = self._head_of(scope, state, principal, completion.requested_model), -1
        row_id, request_id, project, key_id, dialect, requested, reserved = head
        cost, saved = completion.cost_nano, completion.saved_nano
        failed = completion.upstream_error or state.get(REFUSED)
        # The fields of Row, in order; a dataclass and its values once more are 4 µs.
        record = (
            ROW,
            row_id,
            at,
            request_id,
            project,
            key_id,
            dialect,
            requested,
            completion.model,
            completion.provider,
            status,
            completion.stream,
            None if ttft_seconds is None else int(ttft_seconds * 1e6) / 1000,
            int(seconds * 1e6) / 1000,
            completion.input_tokens,
            completion.output_tokens,
            completion.cache_read_tokens,
            completion.cache_write_5m_tokens,
            completion.cache_write_1h_tokens,
            completion.reasoning_tokens,
            cost,
            cost if cost is None or not saved else cost + sum(saved.values()),
            completion.cache_hit,
            completion.route,
            completion.route_reason,
            completion.attempts,
            state[ABORTED][:_ABORTED] if ABORTED in state else "",
            ",".join(sorted(completion.estimated)) if completion.estimated else "",
            "" if failed is None else failed[0][:_STAGE],
            "" if failed is None else failed[1][:_CODE],
            completion.upstream_request_id[:_NAME],
            reserved,
            _saved(completion, state) if saved or SAVINGS in state else (),
        )
        if self._journal.write(_line(record)) and slot >= 0:
            self._journal.end(slot)

    def _head_of(self, scope: Scope, state: dict[str, Any], principal: Principal, requested: str) -> _Head:
        """Of a request whose upstream was never asked."""
        reservation: Reservation | None = state.get(RESERVATION)
        return (
            next(self._ids),
            state[REQUEST_ID],
            principal.project,
            principal.key_id,
            dialect_of(scope["path"]),
            requested,
            "" if reservation is None else reservation.id,
        )


def _row_ids() -> Iterator[str]:
    """Unlike any other, and not to be guessed: 96 random bits, behind the time (Unix seconds, 8 hexadecimal
    digits) so that the index of the table grows at its end. For ever; fetched when the first is asked for,
    since processes that were forked before that must not share them."""
    return chain.from_iterable(iter(_batch_of_ids, None))


def _batch_of_ids() -> list[str]:
    digits = os.urandom(12 * 256).hex()  # one system call for many, and one time
    now = f"{int(time()):08x}"
    return [now + digits[at : at + 24] for at in range(0, len(digits), 24)]


def _tokens_saved(state: dict[str, Any]) -> dict[str, int]:
    """Tokens that each layer took out, in the order of their first; nobody can take out less than none."""
    found: dict[str, int] = {}
    savings: list[Saving] = state.get(SAVINGS) or []
    for saving in savings:
        found[saving.layer] = found.get(saving.layer, 0) + max(saving.tokens, 0)
    return found


def _saved(completion: Completion, state: dict[str, Any]) -> list[tuple[str, int, int | None]]:
    """``(layer, tokens, nano-dollars)`` of each layer. A request that read nothing has saved nothing."""
    nano = completion.saved_nano
    tokens = _tokens_saved(state) if completion.unpriced or nano else {}
    return [(layer, count, nano.get(layer)) for layer, count in tokens.items()]


def _line(record: tuple[Any, ...]) -> bytes:
    try:
        return orjson.dumps(record)
    except TypeError:
        return orjson.dumps(_storable(record))  # a lone surrogate, or a number of more than 64 bits


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if type(value) is int:
        return max(-_MOST_TOKENS, min(value, _MOST_TOKENS))
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value
