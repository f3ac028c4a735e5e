"""The innermost layer: whatever became of an answer, end it honestly, stop its upstream, record its use."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from functools import partial
from typing import Any

from middleware._asgi import ASGIApp, Receive, Scope, Send
from middleware._reject import dialect_of, sse_error
from middleware._state import ANSWERED, COMPLETION, FAILED, REQUEST_ID, Completion
from providers.base import ChatReply, RawReply
from providers.errors import ProviderError
from providers.types import MAX_MODEL_NAME, Exchange, Usage

from .errors import one_line, rejection_of, without_secrets
from .ledger.book import LEDGER, Ledger

REPLY = "gateway.reply"
EXCHANGE = "gateway.exchange"
#: Tokens of one class; what a broken upstream reports beyond them fits into no table.
_MOST_TOKENS = 10**12


class SettleMiddleware:
    """Closes the reply that a handler left in ``state["gateway.reply"]``, copies its usage and prices it.

    ``ledger``: told before each call of an upstream, and asked for the price; None: nobody is.

    A stream whose upstream breaks off ends with an error event in the caller's dialect, and with no
    ``[DONE]`` behind it. That is done here and not in a generator around the reply's own, which would
    cost every event a frame.

    A response that is cancelled while it waits in ``send`` leaves its generator suspended until it
    is collected; closing the reply here stops the upstream in the same instant instead.
    """

    def __init__(self, app: ASGIApp, *, ledger: Ledger | None = None) -> None:
        self.app = app
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        state[ANSWERED] = partial(_is_answered, state)
        if self._ledger is not None:
            state[LEDGER] = self._ledger
        try:
            await self.app(scope, receive, send)
        except ProviderError as error:
            # Handlers turn what fails before the answer into a refusal, so this one has begun.
            note_error(state, error)
            dialect = dialect_of(scope)
            rejection = rejection_of(error, dialect)
            broken: ChatReply | RawReply | None = state.get(REPLY)
            event = broken.failed(rejection.code or "api_error", rejection.message) if broken else b""
            event = event or sse_error(rejection, dialect, state.get(REQUEST_ID))
            # The blank line ends an event that the upstream may have left half-written.
            await send({"type": "http.response.body", "body": b"\n\n" + event, "more_body": False})
        except asyncio.CancelledError:
            # Whoever breaks the answer off from above may have to say so in the stream. (Not set before: the
            # reply and the state would keep each other in memory.)
            if (cut := state.get(REPLY)) is not None:
                state[FAILED] = cut.failed
            raise
        finally:
            del state[ANSWERED]  # it knows the state: the two would wait for the garbage collector
            reply: ChatReply | RawReply | None = state.pop(REPLY, None)
            record(state.get(COMPLETION), reply, state.pop(EXCHANGE, None))
            if self._ledger is not None:
                self._ledger.price(state)
            if reply is not None:
                await reply.aclose()


def _is_answered(state: dict[str, Any]) -> bool:
    reply: ChatReply | RawReply | None = state.get(REPLY)
    return reply is not None and reply.done


def note_error(state: dict[str, Any], error: ProviderError) -> None:
    """Tell telemetry which upstream failed where; refusals of the caller's own request are not failures."""
    if error.status >= 500 or error.upstream_status is not None:
        completion = state.setdefault(COMPLETION, Completion())
        completion.upstream_error = (error.stage, one_line(without_secrets(error.code)))
        completion.provider = completion.provider or error.provider


def record(
    completion: Completion | None, reply: ChatReply | RawReply | None, exchange: Exchange | None
) -> None:
    """Copy what the provider reported into the record that telemetry reads: of the ``reply``, and, in
    ``exchange``, of attempts that came to none."""
    if completion is None:
        return
    if exchange is not None:
        completion.attempts = exchange.attempts or 1
        if exchange.upstream_request_id:
            completion.upstream_request_id = presentable(exchange.upstream_request_id)
        if reply is None:
            _record_usage(completion, exchange.usage)
    if reply is not None:
        completion.model = presentable(reply.model)
        completion.first_token_at = reply.first_token_at
        if reply.upstream_request_id:
            completion.upstream_request_id = presentable(reply.upstream_request_id)
        usage = reply.usage
        if exchange is not None and exchange.attempts > 1:
            usage = exchange.usage.plus(usage)
        _record_usage(completion, usage)


def presentable(model: str) -> str:
    """An upstream's own name, of its model or of a request, as a header, a log and a table can carry it."""
    return one_line(model[:MAX_MODEL_NAME])


def _record_usage(completion: Completion, usage: Usage) -> None:
    if usage.prompt_tokens + usage.output_tokens > _MOST_TOKENS:
        usage = _bounded(usage)
    completion.input_tokens = usage.input_tokens
    completion.output_tokens = usage.output_tokens
    completion.cache_read_tokens = usage.cache_read_tokens
    completion.cache_write_5m_tokens = usage.cache_write_5m_tokens
    completion.cache_write_1h_tokens = usage.cache_write_1h_tokens
    completion.reasoning_tokens = min(usage.reasoning_tokens, completion.output_tokens)
    completion.web_searches = usage.web_searches
    completion.estimated = usage.estimated
    completion.variant = usage.variant
    completion.geo = usage.geo


def _bounded(usage: Usage) -> Usage:
    counts = {
        f.name: min(getattr(usage, f.name), _MOST_TOKENS) for f in fields(usage) if f.name.endswith("_tokens")
    }
    return replace(usage, **counts)
