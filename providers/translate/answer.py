"""What the translators of streamed answers share: how they are fed, how they fail, how they end.

A translator is a state machine without I/O (:class:`~providers.reply.Translator`): bytes of one upstream
read in, bytes of the chunks they make out. It never raises: a failure is kept in ``failure`` beside
what was translated before it, since that part has to reach the client first.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Required, TypedDict, Unpack

from ..errors import ProtocolError, ProviderError
from ..types import NewWriter, Usage, Writer
from ._event import Malformed
from .chat_anthropic import ReplyShape
from .chunks import chat_writer, escaped, unescaped
from .deltas import is_utf8
from .fences import FenceStripper


class Parser(Protocol):
    """Cuts the upstream's bytes into events. ``idle``: nothing of the next one has arrived."""

    @property
    def idle(self) -> bool: ...


class AnswerOptions(TypedDict, total=False):
    """What a translator is made with. ``model`` is the name that the caller is shown; ``shape`` comes from
    the translation of the request; ``streaming`` asks for events rather than one object; ``usage`` is filled
    in; ``writer`` writes in the caller's dialect (chat completions without one)."""

    model: Required[str]
    shape: Required[ReplyShape]
    streaming: Required[bool]
    usage: Usage
    provider: str
    request_id: str | None
    writer: NewWriter | None


class AnswerTranslator(ABC):
    """Translates one answer.

    ``usage``, ``finish_reason``, ``first_token_at`` (``time.perf_counter()``), ``upstream_model`` fill in
    on the way. ``started`` is true once the answer has begun, ``done`` once the upstream has said that
    it is complete.
    """

    __slots__ = (
        "_express",
        "_fence",
        "_model",
        "_parser",
        "_pieces",
        "_provider",
        "_request_id",
        "_shape",
        "_size",
        "_writer",
        "done",
        "failure",
        "finish_reason",
        "first_token_at",
        "started",
        "upstream_model",
        "usage",
    )

    #: Whose answers these are, where nobody says another name.
    default_provider: ClassVar[str]

    def __init__(self, parser: Parser, **options: Unpack[AnswerOptions]) -> None:
        shape = options["shape"]
        self._parser = parser
        self._model = options["model"]
        self._shape = shape
        self._provider = options.get("provider", self.default_provider)
        self._request_id = options.get("request_id")
        self._writer: Writer = (options.get("writer") or chat_writer)(
            streaming=options["streaming"],
            include_usage=shape.include_usage,
            legacy=shape.legacy_functions,
        )
        # How to recognise a read that is one plain token, as they arrive from a model at work.
        self._express: Callable[[bytes], re.Match[bytes] | None] | None = None
        # Of the words that have come: how many, in bytes.
        self._pieces = self._size = 0
        self._fence = FenceStripper() if shape.json_object else None
        self.usage = options.get("usage") or Usage()
        self.finish_reason: str | None = None
        self.first_token_at: float | None = None
        self.upstream_model = ""
        self.started = False
        self.done = False
        self.failure: ProviderError | None = None

    def feed(self, data: bytes) -> bytes:
        """The chunks that ``data`` completes; ``b""`` for none, and always when assembling."""
        if self.done or self.failure is not None:
            return b""
        if (express := self._express) is not None and self._parser.idle:
            match = express(data)
            if match is not None and (token := match[1]) and (token.isascii() or is_utf8(token)):
                if self.first_token_at is None:
                    self.first_token_at = time.perf_counter()
                self._pieces += 1
                self._size += len(token)
                return self._writer.token(token)
        try:
            self._consume(data)
        except ProviderError as failure:
            self.failure = failure
        except Malformed as what:
            self.failure = self._malformed(str(what))
        return self._writer.take()

    def end(self) -> bytes:
        """The upstream has closed. If it has not said before that it is done, that is a failure."""
        if not self.done and self.failure is None:
            self.failure = self._error(
                "The upstream's answer broke off before its end.", code="upstream_truncated"
            )
        return b""

    def completion(self) -> dict[str, Any]:
        """The assembled answer, once ``done``. Raises ``ProtocolError`` when it cannot be decoded."""
        try:
            return self._writer.whole()
        except ValueError:
            raise self._malformed("a text that is not valid Unicode") from None

    def said(self) -> tuple[int, int]:
        """See :class:`~providers.reply.Translator`."""
        return self._pieces, self._size

    def failed(self, code: str, message: str) -> bytes:
        """See :meth:`~providers.types.Writer.failed`."""
        return self._writer.failed(code, message)

    @abstractmethod
    def _consume(self, data: bytes) -> None:
        """Translate one read. Raises ``ProviderError`` and ``Malformed``."""

    def _heard(self, pieces: int, size: int) -> None:
        """So many words have come, in ``size`` bytes."""
        self._pieces += pieces
        self._size += size

    def _content_begins(self) -> None:
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()

    def _text(self, tokens: list[bytes]) -> None:
        """Text for the client. ``tokens`` are escaped and not empty."""
        if self._fence is not None:
            # Token by token, so that chunks do not depend on how the bytes arrived.
            texts = [self._fence.feed(unescaped((token,))) for token in tokens]
            tokens = [escaped(text) for text in texts if text]
        if tokens:
            self._writer.text(tokens)

    def _finish(self, reason: str) -> None:
        """The upstream has said that the answer is complete."""
        if self._fence is not None and (rest := self._fence.close()):
            self._writer.text([escaped(rest)])
        if reason == "tool_calls" and self._shape.legacy_functions:
            reason = "function_call"
        self.finish_reason = reason
        self._writer.finish(reason, self.usage)
        self.done = True

    def _malformed(self, what: str) -> ProtocolError:
        return self._error(f"The upstream sent {what}.", code="upstream_malformed")

    def _error(self, message: str, *, code: str) -> ProtocolError:
        return ProtocolError(
            message,
            provider=self._provider,
            code=code,
            stage="stream",
            upstream_request_id=self._request_id,
        )
