"""``POST /v1/responses`` in OpenAI's Responses dialect, streamed or not; stateless.

What refers to a stored response is answered with what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from blacksheep import Request, Response

from middleware._reject import FINAL, Rejection
from middleware._state import DEFAULTED
from providers.base import CountsTokens
from providers.errors import BadRequest
from providers.estimate import TokenRatios, embedded
from providers.translate.places import in_their_terms
from providers.translate.responses_chat import THEIR_NAMES, place_of, their_names, to_chat, tool_of

from ..dispatch import Dispatcher
from ._ask import answer, ask, call_of, signs, wants_stream
from ._http import (
    ESTIMATED,
    Handler,
    dropped_header,
    guarded,
    json_object,
    json_response,
    refuse,
    state_of,
    target_headers,
)


def responses(dispatcher: Dispatcher) -> Handler:
    """The handler of ``/v1/responses``."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        stream = wants_stream(body)
        target = dispatcher.resolve(body.get("model"))
        defaulted = state_of(request).get(DEFAULTED, ())
        asked = to_chat(body, model=target.model, signed=signs(target), defaulted=defaulted)
        try:
            reply, headers = await ask(request, target, asked.body, asked.writer)
        except BadRequest as error:
            raise in_their_terms(
                error, THEIR_NAMES, partial(place_of, body), partial(tool_of, body)
            ) from None
        if dropped := (*asked.dropped, *their_names(reply.dropped)):
            headers.append(dropped_header(tuple(dict.fromkeys(dropped))))
        return await answer(reply, headers, stream=stream)

    return guarded(handle)


def input_tokens(dispatcher: Dispatcher) -> Handler:
    """The handler of ``/v1/responses/input_tokens``: an estimate, which a header says."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        target = dispatcher.resolve(body.get("model"))
        asked = to_chat(body, model=target.model, signed=signs(target))
        if isinstance(target.provider, CountsTokens):
            try:
                count = await target.provider.estimate(call_of(request, target, asked.body))
            except BadRequest as error:
                raise in_their_terms(
                    error, THEIR_NAMES, partial(place_of, body), partial(tool_of, body)
                ) from None
        else:  # Claude counts what is in its own dialect: /v1/messages/count_tokens
            count = _rough(asked.body)
        headers = [*target_headers(target, target.model, state_of(request)), ESTIMATED]
        return json_response({"object": "response.input_tokens", "input_tokens": count}, headers)

    return guarded(handle)


def _rough(body: Mapping[str, Any]) -> int:
    """About how many tokens the chat ``body`` is, to any model."""
    wire = orjson.dumps(body)
    images, size = embedded(wire)
    return TokenRatios().estimate("", len(wire) - size, images=images)


def stored() -> Handler:
    """The handler of everything that asks for a response of earlier on."""

    async def handle(request: Request) -> Response:
        message = (
            "Responses are not stored here (every one says `store: false`), so there is none to fetch, "
            "delete or cancel. To go on with a conversation, send its items again in `input`, with the "
            "`reasoning` items as they came."
        )
        return refuse(request, Rejection(404, message, code="response_not_found", headers=(FINAL,)))

    return guarded(handle)


def compact() -> Handler:
    """The handler of ``/v1/responses/compact``."""

    async def handle(request: Request) -> Response:
        message = (
            "Conversations are not compacted here: ask for a summary with POST /v1/responses, as clients do "
            "with a provider that is not OpenAI."
        )
        return refuse(request, Rejection(404, message, code="not_supported", headers=(FINAL,)))

    return guarded(handle)
