"""``POST /v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's own dialect.

To Claude it is passed through byte for byte. Every other provider is asked the chat that the request comes
to, and its answer is written in this dialect.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal
from urllib.parse import quote_from_bytes

from blacksheep import Content, Request, Response

from middleware._body import Body
from middleware._state import BODY, COMPLETION, Completion
from providers.anthropic.wire import with_model
from providers.base import CountsTokens, SpeaksMessages
from providers.errors import BadRequest
from providers.translate.message_writer import MessageWriter
from providers.translate.messages_chat import THEIR_NAMES, place_of, to_chat, tool_of
from providers.translate.places import in_their_terms
from providers.translate.unsigned import without_unsigned
from providers.types import MessagesCall

from ..dispatch import Dispatcher, Target
from ..settle import REPLY, presentable
from ._ask import answer, ask, begin, call_of, passes_messages, wants_stream
from ._http import (
    ESTIMATED,
    SSE_HEADERS,
    EventStream,
    Handler,
    cannot_count,
    dropped_header,
    guarded,
    json_object,
    json_response,
    scope_of,
    state_of,
    target_headers,
)
from ._repeated import refuse_repeated_model

Endpoint = Literal["messages", "count_tokens"]

#: What may stand in a query as it is (RFC 3986 §3.4), the percent sign of what is encoded already included.
_QUERY = "%/?:@!$&'()*+,;=-._~"


def messages(dispatcher: Dispatcher) -> Handler:
    """The handler of ``/v1/messages``."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        target = dispatcher.resolve(body.get("model"))
        if passes_messages(target.provider):
            return await _pass_on(request, target, target.provider, body, "messages")
        stream = wants_stream(body)
        chat = to_chat(body)
        try:
            reply, headers = await ask(request, target, chat.body, MessageWriter)
        except BadRequest as error:
            raise in_their_terms(
                error, THEIR_NAMES, partial(place_of, body), partial(tool_of, body)
            ) from None
        if dropped := (*chat.dropped, *reply.dropped):
            headers.append(dropped_header(dropped))
        return await answer(reply, headers, stream=stream)

    return guarded(handle)


def count_tokens(dispatcher: Dispatcher) -> Handler:
    """The handler of ``/v1/messages/count_tokens``. An estimate says so in a header."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        target = dispatcher.resolve(body.get("model"))
        if passes_messages(target.provider):
            return await _pass_on(request, target, target.provider, body, "count_tokens")
        if not isinstance(target.provider, CountsTokens):
            raise cannot_count(target)
        call = call_of(request, target, to_chat(body).body)
        try:
            count = await target.provider.estimate(call)
        except BadRequest as error:
            raise in_their_terms(
                error, THEIR_NAMES, partial(place_of, body), partial(tool_of, body)
            ) from None
        headers = [*target_headers(target, target.model, state_of(request)), ESTIMATED]
        return json_response({"input_tokens": count}, headers)

    return guarded(handle)


async def _pass_on(
    request: Request, target: Target, provider: SpeaksMessages, body: dict[str, Any], endpoint: Endpoint
) -> Response:
    """Claude's own answer. Only ``model`` is changed on the way up, and only when it is an alias or retired;
    and thinking that no Claude has written is left out."""
    state = state_of(request)
    raw: Body = state[BODY]
    if not raw.replaced:
        refuse_repeated_model(raw.raw)
    call = _call(request, raw, body, target, endpoint)
    stream = body.get("stream") is True
    if endpoint == "messages":
        completion = begin(request, target, call.exchange, stream=stream)
    else:  # counting is free
        completion = state[COMPLETION] = Completion(target.provider.name, target.model, stream, counting=True)
    reply = state[REPLY] = await provider.messages(call)
    completion.model, completion.stream = presentable(reply.model), reply.stream
    headers = [*target_headers(target, completion.model, state), *reply.headers]
    if reply.upstream_request_id:
        # What Anthropic's SDK shows as `_request_id`, and what Anthropic's support asks for.
        headers.append((b"request-id", reply.upstream_request_id.encode("latin-1")))
    if reply.stream:
        return Response(200, [*headers, *SSE_HEADERS], EventStream(reply.content_type, reply.chunks()))
    whole = b"".join([piece async for piece in reply.chunks()])
    return Response(200, headers, Content(reply.content_type, whole))


def _call(
    request: Request, body: Body, value: dict[str, Any], target: Target, endpoint: Endpoint
) -> MessagesCall:
    scope = scope_of(request)
    wire = body.bytes()
    if value.get("model") != target.model:
        wire = with_model(wire, value, target.model)
        value = {**value, "model": target.model}
    wire = without_unsigned(wire, value) or wire
    # Servers let any byte through here; on the wire to the upstream only ASCII may stand.
    query = quote_from_bytes(scope.get("query_string", b""), safe=_QUERY).encode()
    return MessagesCall(wire, target.model, tuple(scope["headers"]), query, endpoint)
