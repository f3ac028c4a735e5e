"""``POST /v1/completions``: a text goes on, or a gap in it is filled (``suffix``), for editors."""

from __future__ import annotations

from blacksheep import Request, Response

from providers.base import SpeaksCompletions
from providers.errors import ModelNotFound
from providers.types import CompletionCall

from ..dispatch import Dispatcher
from ..settle import REPLY, presentable
from ._ask import answer, begin, wants_stream
from ._http import Handler, dropped_header, guarded, json_object, state_of, target_headers
from .chat import without_provider


def completions(dispatcher: Dispatcher) -> Handler:
    """The handler. A provider whose models only chat is answered 404 with those that can."""

    async def handle(request: Request) -> Response:
        state = state_of(request)
        body = json_object(request)
        stream = wants_stream(body)
        target = dispatcher.resolve(body.get("model"), body.get("provider"))
        provider = target.provider
        if not isinstance(provider, SpeaksCompletions):
            raise ModelNotFound(
                f"{target.requested!r} only chats: use POST /v1/chat/completions. {dispatcher.completers()}",
                provider=provider.name,
                param="model",
                code="unsupported_model",
            )
        call = CompletionCall(without_provider(body), target.model, target.requested)
        completion = begin(request, target, call.exchange, stream=stream)
        reply = state[REPLY] = await provider.complete(call)
        completion.model = presentable(reply.model)
        headers = target_headers(target, completion.model, state)
        if reply.dropped:
            headers.append(dropped_header(reply.dropped))
        return await answer(reply, headers, stream=stream)

    return guarded(handle)
