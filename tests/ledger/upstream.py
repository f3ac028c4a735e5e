"""A provider of every dialect whose answers and failures are known to the token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from providers.base import Feature
from providers.errors import Overloaded, ProtocolError
from providers.types import (
    ChatCall,
    CompletionCall,
    Embeddings,
    EmbeddingsCall,
    Exchange,
    MessagesCall,
    ModelInfo,
    Usage,
)

#: What a whole answer has used; of one that was left or broke off the output is an estimate.
WHOLE = Usage(1_000, 200, 3_000, 400, 50, 30)
PART = Usage(1_000, 7, 3_000, 400, 50, estimated=frozenset({"output"}))
#: What a call has used that came to no answer, as far as anybody knows.
UNANSWERED = Usage(900, 0, estimated=frozenset({"input", "output"}))
THEIR_ID = "req_of_the_upstream"


class _Reply:
    """Both kinds of reply at once: translated and passed on."""

    dropped: tuple[str, ...] = ()
    upstream_request_id: str | None = THEIR_ID
    finish_reason: str | None = "stop"
    first_token_at: float | None = None
    attempts = 2
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, upstream: Upstream, model: str, stream: bool) -> None:
        self.model = model
        self.usage = WHOLE
        self.done = False
        self.stream = stream
        self.content_type = b"text/event-stream" if stream else b"application/json"
        self._upstream = upstream

    async def sse(self) -> AsyncIterator[bytes]:
        async for piece in self.chunks():
            yield piece

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._upstream.breaks or self._upstream.hangs:
            self.usage = PART
        yield b'data: {"choices": []}\n\n' if self.stream else b'{"type": "message"}'
        if self._upstream.breaks:
            raise ProtocolError(
                "It broke off.", provider="anthropic", code="upstream_truncated", stage="stream"
            )
        if self._upstream.hangs:
            await self._upstream.wait()
        self.done = True

    async def completion(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "Hello."}
        return {"choices": [{"index": 0, "message": message}], "usage": {"total_tokens": 1}}

    def failed(self, code: str, message: str) -> bytes:
        return b""

    async def aclose(self) -> None:
        """Nothing is open."""


class Upstream:
    """``refuses``: 529 to every call. ``breaks``: in the middle of a stream. ``hangs``: it never ends, before
    the answer or, in a stream, in the middle of it; ``waiting`` is then set."""

    features: frozenset[Feature] = frozenset()
    name = "anthropic"

    def __init__(self, *, refuses: bool = False, breaks: bool = False, hangs: bool = False) -> None:
        self.refuses, self.breaks, self.hangs = refuses, breaks, hangs
        self.waiting = asyncio.Event()
        self.usage = WHOLE
        self.calls_itself = ""
        self.calls = 0

    async def wait(self) -> None:
        self.waiting.set()
        await asyncio.Event().wait()

    async def _answer(self, exchange: Exchange, model: str, stream: bool) -> _Reply:
        self.calls += 1
        exchange.attempts = 2
        exchange.upstream_request_id = THEIR_ID
        if self.refuses:
            raise Overloaded(
                "Too busy.", provider=self.name, upstream_status=529, upstream_request_id=THEIR_ID
            )
        if self.hangs and not stream:
            exchange.usage = UNANSWERED
            await self.wait()
        reply = _Reply(self, self.calls_itself or model, stream)
        reply.usage = self.usage
        return reply

    async def chat(self, call: ChatCall) -> _Reply:
        return await self._answer(call.exchange, call.model, call.body.get("stream") is True)

    async def messages(self, call: MessagesCall) -> _Reply:
        return await self._answer(call.exchange, call.model, b'"stream":true' in call.body)

    async def complete(self, call: CompletionCall) -> _Reply:
        return await self._answer(call.exchange, call.model, call.body.get("stream") is True)

    async def embed(self, call: EmbeddingsCall) -> Embeddings:
        reply = await self._answer(call.exchange, call.model, False)
        return Embeddings([[0.5]], reply.model, reply.usage)

    async def models(self) -> list[ModelInfo]:
        return []

    def known(self) -> list[ModelInfo]:
        return []

    async def aclose(self) -> None:
        """Nothing is open."""
