"""An upstream's answer, translated while it arrives, as a :class:`~providers.base.ChatReply`.

Generic over where the bytes come from (an HTTP response, a simulation in this process) and over the
dialect they are written in (the translator).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Protocol, Unpack

from .errors import ProviderError
from .spent import so_far
from .translate.answer import AnswerOptions
from .translate.chat_anthropic import ReplyShape
from .types import ChatCall, Exchange, Usage

#: How long to wait for the end of the HTTP body behind the last event, so that the connection can be
#: used again. It follows at once or not at all.
DRAIN_SECONDS = 0.5


class ByteSource(Protocol):
    """The body of an answer, cut anywhere. ``HttpResponse`` is one."""

    @property
    def ended(self) -> bool:
        """True when it is known, without waiting, that everything was read."""
        ...

    async def read_some(self) -> bytes:
        """At least one byte; ``b""`` at the end. Raises ``ProviderError``."""
        ...

    async def aclose(self) -> None:
        """Stop it. Idempotent."""
        ...


class Translator(Protocol):
    """A state machine without I/O: bytes of one upstream read in, bytes of the chunks they make out.

    It never raises: a failure is kept in ``failure`` beside what was translated before it, since that
    part has to reach the client first. ``usage``, ``finish_reason``, ``first_token_at``
    (``time.perf_counter()``) and ``upstream_model`` fill in on the way. ``started`` is true once the
    answer has begun, ``done`` once all of it was read.
    """

    usage: Usage
    finish_reason: str | None
    first_token_at: float | None
    upstream_model: str
    started: bool
    done: bool
    failure: ProviderError | None

    def feed(self, data: bytes) -> bytes:
        """The chunks that ``data`` completes; ``b""`` for none, and always when assembling."""
        ...

    def failed(self, code: str, message: str) -> bytes:
        """See :meth:`~providers.types.Writer.failed`."""
        ...

    def said(self) -> tuple[int, int]:
        """About how many pieces of words have come so far, and how many bytes these are."""
        ...

    def end(self) -> bytes:
        """The upstream has closed. Unless ``done``, that is a failure; what is returned is an end that a
        client waits for and the upstream forgot, ``b""`` as a rule."""
        ...


class Assembler(Translator, Protocol):
    """A translator that can make one completion of the answer instead of chunks."""

    def completion(self) -> dict[str, Any]:
        """The assembled answer, once ``done``. Raises ``ProtocolError`` when it cannot be decoded."""
        ...


class NewTranslator(Protocol):
    """Makes a translator: its class, as a rule."""

    def __call__(self, **options: Unpack[AnswerOptions]) -> Assembler: ...


class StreamedReply:
    """An answer that arrives as a stream. Call :meth:`start` first; it waits until the answer has begun.

    ``model`` is the upstream's id of the model that was asked. ``reported`` is what the upstream has told of
    its usage so far.
    """

    __slots__ = (
        "_exchange",
        "_head",
        "_ready",
        "_source",
        "_translator",
        "dropped",
        "model",
        "provider",
        "reported",
        "upstream_request_id",
    )

    def __init__(
        self,
        source: ByteSource,
        translator: Translator,
        *,
        model: str,
        provider: str,
        exchange: Exchange,
        dropped: tuple[str, ...] = (),
        upstream_request_id: str | None = None,
    ) -> None:
        exchange.upstream_request_id = upstream_request_id
        self._exchange = exchange
        self._source = source
        self._translator = translator
        self.model = model
        self.provider = provider
        self.dropped = dropped
        self.upstream_request_id = upstream_request_id
        self.reported = translator.usage
        self._head: list[bytes] = []  # what start() has read
        self._ready: list[bytes] = []  # what it has translated

    @property
    def usage(self) -> Usage:
        """See :class:`~providers.base.ChatReply`."""
        return so_far(self.reported, self._exchange.prompt, self._translator.said)

    @property
    def attempts(self) -> int:
        """See :class:`~providers.base.ChatReply`."""
        return self._exchange.attempts

    @property
    def finish_reason(self) -> str | None:
        return self._translator.finish_reason

    @property
    def done(self) -> bool:
        """See :class:`~providers.base.ChatReply`."""
        return self._translator.done

    @property
    def first_token_at(self) -> float | None:
        return self._translator.first_token_at

    async def start(self) -> None:
        """Wait until the answer has begun. Raises ``ProviderError`` for a failure before any content."""
        translator = self._translator
        try:
            while not translator.started and translator.failure is None:
                self._head.append(await self._read())
            if translator.failure is not None and translator.first_token_at is None:
                self._sign(translator.failure)
                raise translator.failure
        except BaseException:
            if translator.started or self.reported.input_told:
                self._exchange.spend(self.usage)
            await self.aclose()
            raise
        if self.reported.input_told:
            self._exchange.prompt = None  # it may keep the whole request
        self.model = translator.upstream_model or self.model

    async def sse(self) -> AsyncIterator[bytes]:
        """See :class:`~providers.base.ChatReply`."""
        ready = b"".join(self._begun())
        translator = self._translator
        read, feed = self._source.read_some, translator.feed
        try:
            if ready:
                yield ready
            # Failures are looked at last: what was understood before one is the client's.
            while not translator.done and translator.failure is None:
                data = await read()
                if piece := feed(data) if data else translator.end():
                    yield piece
            await self._finish()
        except ProviderError as error:
            self._sign(error)
            raise
        finally:
            await self.aclose()

    def failed(self, code: str, message: str) -> bytes:
        """See :class:`~providers.base.ChatReply`."""
        return self._translator.failed(code, message)

    async def completion(self) -> dict[str, Any]:
        """Not for a stream that is passed through: it is asked for in the form in which it is wanted."""
        raise RuntimeError("this answer was asked for as a stream")

    async def aclose(self) -> None:
        """See :class:`~providers.base.ChatReply`."""
        await self._source.aclose()

    def _begun(self) -> list[bytes]:
        """What start() has translated."""
        ready = self._ready
        self._ready, self._head = [], []
        return ready

    async def _read(self) -> bytes:
        """Translate one read of the upstream; failures of the stream stay in the translator."""
        try:
            data = await self._source.read_some()
        except ProviderError as error:
            self._sign(error)
            raise
        self._ready.append(self._translator.feed(data) if data else self._translator.end())
        return data

    def _sign(self, error: ProviderError) -> None:
        error.sign(self.provider, self.upstream_request_id)

    async def _finish(self) -> None:
        """Behind the last event: raise the failure that ended the answer, or read the end of the body,
        so that the connection goes back to the pool."""
        if (failure := self._translator.failure) is not None:
            self._sign(failure)
            raise failure
        if self._source.ended:
            return  # as a rule it came along
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._source.read_some():
                    pass
        except (ProviderError, TimeoutError):
            pass  # the answer is complete; only the connection is lost


class TranslatedReply(StreamedReply):
    """A streamed answer in another dialect, for a caller who wants it streamed or whole.

    ``shape`` and ``dropped`` come from the
    translation of the request of ``call``.
    """

    __slots__ = ("_assembler", "_new_translator", "_streaming")
    _assembler: Assembler

    def __init__(
        self,
        source: ByteSource,
        new_translator: NewTranslator,
        *,
        call: ChatCall,
        shape: ReplyShape,
        provider: str,
        dropped: tuple[str, ...] = (),
        upstream_request_id: str | None = None,
    ) -> None:
        self._new_translator = partial(
            new_translator,
            model=call.requested_model,
            shape=shape,
            usage=Usage(),
            provider=provider,
            request_id=upstream_request_id,
            writer=call.writer,
        )
        super().__init__(
            source,
            self._translate(call.body.get("stream") is True),
            model=call.model,
            provider=provider,
            exchange=call.exchange,
            dropped=dropped,
            upstream_request_id=upstream_request_id,
        )

    async def completion(self) -> dict[str, Any]:
        """See :class:`~providers.base.ChatReply`."""
        self._turn(streaming=False)
        assembler = self._assembler
        try:
            while not assembler.done and assembler.failure is None:
                await self._read()
            await self._finish()
            return assembler.completion()
        finally:
            await self.aclose()

    def _translate(self, streaming: bool) -> Assembler:
        self._streaming = streaming
        self._assembler = self._new_translator(streaming=streaming)
        return self._assembler

    def _begun(self) -> list[bytes]:
        self._turn(streaming=True)
        return super()._begun()

    def _turn(self, *, streaming: bool) -> None:
        """To the other form, if the answer is wanted in that after all: its head is translated again."""
        if streaming != self._streaming:
            first_token_at = self.first_token_at
            self._translator = self._translate(streaming)
            self._translator.first_token_at = first_token_at
            self._ready = [self._translator.feed(data) for data in self._head]
