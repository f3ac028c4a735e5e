"""``POST /v1/chat/completions`` in OpenAI's dialect, streamed or not.

Clients post shapes of other dialects here, too (Cursor: an ``input``, Anthropic's tools). They are recognised
by their shape and answered as a chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from blacksheep import Request, Response

from providers.errors import BadRequest
from providers.translate.places import in_their_terms
from providers.translate.responses_chat import place_of, tool_of
from providers.translate.shapes import as_chat

from ..dispatch import Dispatcher
from ._ask import answer, ask, signs, wants_stream
from ._http import Handler, dropped_header, guarded, json_object


def chat_completions(dispatcher: Dispatcher) -> Handler:
    """The handler. It waits for the upstream's first event before it answers, so that every earlier
    failure has a status of its own."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        stream = wants_stream(body)
        target = dispatcher.resolve(body.get("model"), body.get("provider"))
        asked = as_chat(without_provider(body), signed=signs(target))
        try:
            reply, headers = await ask(request, target, asked)
        except BadRequest as error:
            if body.get("messages") is not None:
                raise
            names = {"messages": "input"}
            raise in_their_terms(error, names, partial(place_of, body), partial(tool_of, body)) from None
        if reply.dropped:
            headers.append(dropped_header(reply.dropped))
        return await answer(reply, headers, stream=stream)

    return guarded(handle)


def without_provider(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """``body`` without a ``provider`` that was meant for this gateway, and is obeyed by now: a name.
    (OpenRouter's is an object, and is its business.)"""
    if "provider" not in body or not isinstance(body["provider"], str | None):
        return body
    return {name: value for name, value in body.items() if name != "provider"}
