"""The innermost layer: whatever became of an answer, stop its upstream and record what it used."""

from __future__ import annotations

from middleware._asgi import ASGIApp, Receive, Scope, Send
from middleware._state import COMPLETION, Completion
from providers.base import ChatReply, RawReply

REPLY = "gateway.reply"


class SettleMiddleware:
    """Closes the reply that a handler left in ``state["gateway.reply"]`` and copies its usage.

    A response that is cancelled while it waits in ``send`` leaves its generator suspended until it
    is collected; closing the reply here stops the upstream in the same instant instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        try:
            await self.app(scope, receive, send)
        finally:
            reply: ChatReply | RawReply | None = state.pop(REPLY, None)
            if reply is not None:
                record(state.get(COMPLETION), reply)
                await reply.aclose()


def record(completion: Completion | None, reply: ChatReply | RawReply) -> None:
    """Copy what the provider reported into the record that telemetry reads."""
    if completion is None:
        return
    usage = reply.usage
    completion.model = reply.model
    completion.input_tokens = usage.input_tokens
    completion.output_tokens = usage.output_tokens
    completion.cache_read_tokens = usage.cache_read_tokens
    completion.cache_write_tokens = usage.cache_write_tokens
    completion.reasoning_tokens = usage.reasoning_tokens
    completion.first_token_at = reply.first_token_at
