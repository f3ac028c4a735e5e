"""An answer of the Messages API as a :class:`~providers.base.ChatReply`.

Generic over where the bytes come from: an HTTP response, or a simulation in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from ..errors import ProviderError
from ..translate.anthropic_chat import ChatTranslator
from ..translate.chat_anthropic import AnthropicRequest
from ..types import Usage

#: How long to wait for the end of the HTTP body behind the last event, so that the connection can be
#: used again. It follows at once or not at all.
DRAIN_SECONDS = 0.5


class ByteSource(Protocol):
    """Anthropic server-sent events as bytes, cut anywhere. ``HttpResponse`` is one."""

    async def read_some(self) -> bytes:
        """At least one byte; ``b""`` at the end. Raises ``ProviderError``."""
        ...

    async def aclose(self) -> None:
        """Stop it. Idempotent."""
        ...


class AnthropicReply:
    """Call :meth:`start` first; it waits until ``message_start`` was read."""

    __slots__ = (
        "_head",
        "_ready",
        "_requested_model",
        "_shape",
        "_source",
        "_streaming",
        "_translator",
        "dropped",
        "finish_reason",
        "first_token_at",
        "model",
        "provider",
        "upstream_request_id",
        "usage",
    )

    def __init__(
        self,
        source: ByteSource,
        request: AnthropicRequest,
        *,
        requested_model: str,
        streaming: bool,
        provider: str = "anthropic",
        upstream_request_id: str | None = None,
    ) -> None:
        self._source = source
        self._shape = request.reply
        self._requested_model = requested_model
        self.provider = provider
        self.upstream_request_id = upstream_request_id
        self.dropped = request.dropped
        self.model: str = request.body["model"]
        self.usage = Usage()
        self.finish_reason: str | None = None
        self.first_token_at: float | None = None
        self._head: list[bytes] = []  # what start() has read, in case the other form is asked for
        self._ready: list[bytes] = []
        self._translator = self._new_translator(streaming)

    async def start(self) -> None:
        """Wait for ``message_start``. Raises ``ProviderError`` for a failure before any content."""
        translator = self._translator
        try:
            while not translator.started and translator.failure is None:
                if piece := await self._read(self._head):
                    self._ready.append(piece)
            if translator.failure is not None and translator.first_token_at is None:
                raise translator.failure
        except BaseException:
            await self.aclose()
            raise
        self.model = translator.upstream_model

    async def sse(self) -> AsyncIterator[bytes]:
        """See :class:`~providers.base.ChatReply`."""
        self._prepare(streaming=True)
        piece = b"".join(self._ready)
        self._ready.clear()
        try:
            while True:
                if piece:
                    yield piece
                # Only now: what was understood before a failure is the client's.
                if self._finished():
                    break
                piece = await self._read()
            await self._drain()
        finally:
            await self.aclose()

    async def completion(self) -> dict[str, Any]:
        """See :class:`~providers.base.ChatReply`."""
        self._prepare(streaming=False)
        try:
            while not self._finished():
                await self._read()
            result = self._translator.completion()
            await self._drain()
        finally:
            await self.aclose()
        return result

    async def aclose(self) -> None:
        """See :class:`~providers.base.ChatReply`."""
        await self._source.aclose()

    def _new_translator(self, streaming: bool) -> ChatTranslator:
        self._streaming = streaming
        return ChatTranslator(
            model=self._requested_model,
            shape=self._shape,
            streaming=streaming,
            usage=self.usage,
            provider=self.provider,
            request_id=self.upstream_request_id,
        )

    def _prepare(self, *, streaming: bool) -> None:
        """Let go of the head, or read it again if the answer is wanted in the other form."""
        if streaming != self._streaming:
            self._translator = self._new_translator(streaming)
            self._ready = [self._translator.feed(data) for data in self._head]
        self._head.clear()
        self._note()

    async def _read(self, keep: list[bytes] | None = None) -> bytes:
        """Translate one read of the upstream; failures of the stream stay in the translator."""
        try:
            data = await self._source.read_some()
        except ProviderError as error:
            error.provider = error.provider or self.provider
            error.upstream_request_id = error.upstream_request_id or self.upstream_request_id
            raise
        if not data:
            self._translator.end()
            return b""
        if keep is not None:
            keep.append(data)
        piece = self._translator.feed(data)
        self._note()
        return piece

    def _note(self) -> None:
        if self.first_token_at is None:
            self.first_token_at = self._translator.first_token_at
        self.finish_reason = self._translator.finish_reason

    def _finished(self) -> bool:
        """True behind ``message_stop``. Raises the failure that ended the answer before it."""
        if self._translator.failure is not None:
            raise self._translator.failure
        return self._translator.done

    async def _drain(self) -> None:
        """Read the end of the body, so that the connection goes back to the pool."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._source.read_some():
                    pass
        except (ProviderError, TimeoutError):
            pass  # the answer is complete; only the connection is lost
