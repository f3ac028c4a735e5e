"""What every dialect does with a chat: ask the provider, name it, give its answer whole or as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, TypeGuard

from blacksheep import Request, Response

from middleware._asgi import Scope
from middleware._session import session_of
from middleware._state import BODY, COMPLETION, DEFAULTED, PRINCIPAL, Completion, Principal
from providers.base import ChatReply, Provider, SpeaksMessages
from providers.errors import BadRequest
from providers.types import MAX_MODEL_NAME, ChatCall, Exchange, NewWriter

from ..dispatch import Target
from ..errors import one_line
from ..ledger.book import LEDGER, Ledger
from ..settle import EXCHANGE, REPLY, presentable
from ._http import SSE_HEADERS, EventStream, Headers, json_response, scope_of, state_of, target_headers

#: Dialects → their names for what bounds an answer, which the limits layer may have filled in.
_BOUNDS = frozenset({"max_tokens", "max_output_tokens"})


@cache
def speaks(kind: type, protocol: type) -> bool:
    """Whether providers of the class ``kind`` have ``protocol``. (Asking each one each time costs 7 µs.)"""
    return issubclass(kind, protocol)


def passes_messages(provider: Provider) -> TypeGuard[SpeaksMessages]:
    """Whether requests in Anthropic's dialect pass ``provider`` unchanged."""
    return speaks(type(provider), SpeaksMessages)


def wants_stream(body: Mapping[str, Any]) -> bool:
    """Whether ``body`` asks for a stream. Raises ``BadRequest`` when it cannot be told."""
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("`stream` must be true or false.", param="stream", code="invalid_type")
    return stream is True


def signs(target: Target) -> bool:
    """Whether ``target`` signs its thinking, and takes it back."""
    return "signed_thinking" in target.provider.features


def call_of(
    request: Request, target: Target, body: Mapping[str, Any], writer: NewWriter | None = None
) -> ChatCall:
    """The chat ``body`` as ``target`` is asked it; the answer comes in the dialect of ``writer``."""
    scope = scope_of(request)
    defaulted = not _BOUNDS.isdisjoint(scope["state"].get(DEFAULTED, ()))
    session = partial(_session, scope)  # looked into only when something is kept for a session
    return ChatCall(body, target.model, target.requested, defaulted, writer, session)


def _session(scope: Scope) -> str:
    state = scope["state"]
    principal: Principal | None = state.get(PRINCIPAL)
    return session_of(scope, state[BODY].json(), "" if principal is None else principal.key_id)


def begin(request: Request, target: Target, exchange: Exchange, *, stream: bool = False) -> Completion:
    """What is told to everybody above: ``target`` is about to be asked, by a call of ``exchange``. The ledger
    writes it down first. Raises ``LedgerFull`` when it cannot."""
    scope = scope_of(request)
    state = scope["state"]
    wish = state[BODY].json().get("model")
    requested = wish if isinstance(wish, str) else target.requested
    completion = state[COMPLETION] = Completion(target.provider.name, target.model, stream)
    completion.requested_model = one_line(requested[:MAX_MODEL_NAME])
    completion.asked_model = target.model
    state[EXCHANGE] = exchange
    ledger: Ledger | None = state.get(LEDGER)
    if ledger is not None:
        ledger.asked(scope, completion)
    return completion


async def ask(
    request: Request, target: Target, body: Mapping[str, Any], writer: NewWriter | None = None
) -> tuple[ChatReply, list[tuple[bytes, bytes]]]:
    """The beginning of an answer to the chat ``body``, and the headers that say whose it is.

    From here on ``SettleMiddleware`` looks after the reply. Raises ``ProviderError`` and ``LedgerFull``.
    """
    state = state_of(request)
    call = call_of(request, target, body, writer)
    completion = begin(request, target, call.exchange, stream=bool(body.get("stream")))
    reply = state[REPLY] = await target.provider.chat(call)
    completion.model = presentable(reply.model)
    return reply, target_headers(target, completion.model, state)


async def answer(reply: ChatReply, headers: Headers, *, stream: bool) -> Response:
    """The response that carries ``reply``. Raises ``ProviderError`` for one that breaks off before it is
    whole; a stream's failure is told in the stream."""
    if not stream:
        return json_response(await reply.completion(), headers)
    content = EventStream(b"text/event-stream; charset=utf-8", reply.sse())
    return Response(200, [*headers, *SSE_HEADERS], content)
