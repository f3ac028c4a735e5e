"""``/v1/messages`` to Claude itself: the caller's bytes up, the upstream's bytes down, usage tapped.

Nothing is translated and no event is written anew; the events are only looked at as they pass, so that
the gateway knows what was used and whether the stream really ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import orjson

from ..errors import ProtocolError, ProviderError, wrong_content_type
from ..http.types import Header
from ..reply import DRAIN_SECONDS, ByteSource
from ..spent import so_far
from ..translate.anthropic_errors import from_event
from ..translate.usage import in_all
from ..types import MessagesCall, Usage
from .headers import downward
from .tap import Tap

_STREAM = b"text/event-stream"
_JSON = b"application/json"
#: Bytes of an answer that is no stream; as a rule they are some kilobytes.
MAX_ANSWER = 32 * 1024 * 1024


class Answer(ByteSource, Protocol):
    """The upstream's response of status 200. ``HttpResponse`` is one."""

    @property
    def headers(self) -> Sequence[Header]: ...

    def header(self, name: bytes) -> bytes | None: ...


class MessagesReply:
    """See :class:`~providers.base.RawReply`. Call :meth:`start` first."""

    def __init__(
        self,
        response: Answer,
        call: MessagesCall,
        *,
        provider: str,
    ) -> None:
        request_id = response.header(b"request-id")
        self.upstream_request_id = request_id.decode("latin-1") if request_id else None
        self.headers: tuple[Header, ...] = downward(response.headers)
        self.content_type = response.header(b"content-type") or b""
        self.stream = self.content_type.lower().startswith(_STREAM)
        self._tap = Tap(call.model)
        self._exchange = call.exchange
        self._exchange.upstream_request_id = self.upstream_request_id
        self._response = response
        self._provider = provider
        self._endpoint = call.endpoint
        self._first = b""

    @property
    def usage(self) -> Usage:
        """See :class:`~providers.base.RawReply`. Counting tokens costs none."""
        if self._endpoint != "messages":
            return Usage()
        return in_all(so_far(self._tap.usage, self._exchange.prompt, self._tap.said))

    @property
    def attempts(self) -> int:
        """See :class:`~providers.base.RawReply`."""
        return self._exchange.attempts

    @property
    def model(self) -> str:
        return self._tap.model

    @property
    def first_token_at(self) -> float | None:
        return self._tap.first_token_at

    @property
    def done(self) -> bool:
        """See :class:`~providers.base.RawReply`."""
        return self._tap.ended and self._tap.error is None

    async def start(self) -> None:
        """Wait for the first event that says something, or for the whole body. Raises ``ProviderError`` for
        an ``error`` in place of an answer: nothing has been said yet, so it can have its own status."""
        try:
            self._check_encoding()
            if self.stream:
                await self._begin()
            else:
                await self._read_whole()
        except BaseException as error:
            if self._tap.usage.input_told or any(self._tap.said()):  # an answer that has begun
                self._exchange.spend(self.usage)
            await self.aclose()
            if isinstance(error, ProviderError):
                error.sign(self._provider, self.upstream_request_id)
            raise
        if self._tap.usage.input_told:
            self._exchange.prompt = None  # it keeps the whole request

    async def chunks(self) -> AsyncIterator[bytes]:
        """The upstream's bytes, one item per read. Raises ``ProviderError`` when they break off."""
        yield self._first
        if not self.stream:
            return
        tap = self._tap
        read, feed = self._response.read_some, tap.feed
        try:
            while not tap.ended:
                if not (piece := await read()):
                    raise _truncated()
                feed(piece)
                yield piece
            if tap.error is not None:
                raise from_event(tap.error, provider=self._provider)
            while piece := await self._rest():
                yield piece
        except ProviderError as error:
            error.sign(self._provider, self.upstream_request_id)
            raise
        finally:
            await self.aclose()

    def failed(self, code: str, message: str) -> bytes:
        """A comment in place of an event where the upstream's own ``error`` event has passed."""
        return b": the upstream has ended its answer itself\n\n" if self._tap.error is not None else b""

    async def aclose(self) -> None:
        """Stop the upstream now, if it is still writing. Idempotent."""
        await self._response.aclose()

    def _check_encoding(self) -> None:
        coding = self._response.header(b"content-encoding")
        if coding is not None and coding.strip().lower() not in (b"", b"identity"):
            raise ProtocolError(
                "The upstream has encoded an answer that was to come as it is.",
                code="upstream_content_encoding",
                stage="response",
            )

    async def _begin(self) -> None:
        tap = self._tap
        while not tap.started:
            if not (piece := await self._response.read_some()):
                raise _truncated()
            self._first += piece
            tap.feed(piece)
        if tap.error is not None and tap.first_token_at is None:
            raise from_event(tap.error, provider=self._provider)

    async def _read_whole(self) -> None:
        if not self.content_type.lower().startswith(_JSON):
            raise wrong_content_type(self.content_type, _JSON, provider=self._provider)
        body = self._first = await self._body()
        try:
            message = orjson.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._tap.sample(body)
            raise ProtocolError("The upstream's answer is not a JSON object.")
        if message.get("type") == "error":
            raise from_event(message.get("error"), provider=self._provider)
        if self._endpoint == "messages":
            self._tap.message(message, whole=True)
            if not self._tap.usage.output_told:
                self._tap.sample(body)
            self._tap.first_token_at = time.perf_counter()

    async def _body(self) -> bytes:
        """All of it. What has come of one that breaks off, or is left, the tap has seen."""
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self._response.read_some():
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER:
                    raise ProtocolError(
                        f"The upstream's answer exceeds {MAX_ANSWER} bytes.",
                        code="upstream_too_large",
                        retryable=False,
                    )
        except BaseException:
            self._tap.sample(b"".join(pieces))
            raise
        return b"".join(pieces)

    async def _rest(self) -> bytes:
        """What follows the last event: nothing, as a rule, but the end of the body, without which the
        connection cannot be used again."""
        if self._response.ended:
            return b""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                return await self._response.read_some()
        except (ProviderError, TimeoutError):
            return b""  # the answer is complete; only the connection is lost


def _truncated() -> ProtocolError:
    return ProtocolError(
        "The upstream ended its answer before it was complete.", code="upstream_truncated", stage="stream"
    )
