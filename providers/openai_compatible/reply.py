"""An answer of an OpenAI-compatible upstream as a :class:`~providers.base.ChatReply`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson

from ..errors import ProviderError
from ..http.types import HttpResponse
from ..spent import is_refusal, so_far, words_in
from ..types import ChatCall, Usage
from . import usage as usages
from .errors import Errors, error_in

#: An answer is a few kilobytes; with many logprobs, megabytes.
MAX_ANSWER = 32 * 1024 * 1024


class WholeReply:
    """One ``chat.completion`` object, as the upstream wrote it. Call :meth:`start` first; it waits until
    something of it has arrived."""

    __slots__ = (
        "_answer",
        "_errors",
        "_exchange",
        "_pieces",
        "_response",
        "_size",
        "dropped",
        "finish_reason",
        "first_token_at",
        "model",
        "provider",
        "reported",
        "upstream_request_id",
    )

    def __init__(
        self,
        response: HttpResponse,
        errors: Errors,
        call: ChatCall,
        dropped: tuple[str, ...] = (),
        upstream_request_id: str | None = None,
    ) -> None:
        self._response = response
        self._errors = errors
        self._pieces: list[bytes] = []
        self._size = 0
        self._answer: dict[str, Any] | None = None
        self.provider = errors.provider
        self.dropped = dropped
        self.model = call.model
        self._exchange = call.exchange
        self._exchange.upstream_request_id = self.upstream_request_id = upstream_request_id
        self.reported = Usage()
        self.finish_reason: str | None = None
        self.first_token_at: float | None = None

    @property
    def usage(self) -> Usage:
        """See :class:`~providers.base.ChatReply`."""
        return so_far(self.reported, self._exchange.prompt, self._said)

    @property
    def attempts(self) -> int:
        """See :class:`~providers.base.ChatReply`."""
        return self._exchange.attempts

    @property
    def done(self) -> bool:
        """See :class:`~providers.base.ChatReply`."""
        return self._answer is not None

    async def start(self) -> None:
        """Wait for the beginning of the answer; as a rule it is all of it. Raises ``ProviderError``."""
        try:
            while self.first_token_at is None:
                piece = await self._read()
                if piece.strip():  # OpenRouter sends blanks while it has nothing to say
                    self.first_token_at = time.perf_counter()
                elif not piece:
                    break
            if self._response.ended:
                self._answer = self._understood()
        except BaseException:
            if self.first_token_at is not None:  # some of it has come, or all but the answer
                self._exchange.spend(self.usage)
            raise

    async def completion(self) -> dict[str, Any]:
        """See :class:`~providers.base.ChatReply`."""
        try:
            if self._answer is None:
                while await self._read():
                    pass
                self._answer = self._understood()
            return self._answer
        finally:
            await self.aclose()

    def failed(self, code: str, message: str) -> bytes:
        """A whole answer has no events."""
        return b""

    def sse(self) -> AsyncIterator[bytes]:
        """Not for a whole answer: an answer is asked for in the form in which it is wanted."""
        raise RuntimeError("this answer was asked for whole")

    async def aclose(self) -> None:
        """See :class:`~providers.base.ChatReply`."""
        await self._response.aclose()

    async def _read(self) -> bytes:
        try:
            piece = await self._response.read_some()
        except ProviderError as error:
            error.sign(self.provider, self.upstream_request_id)
            raise
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_ANSWER:
            raise self._errors.malformed(
                f"sent an answer of more than {MAX_ANSWER} bytes",
                request_id=self.upstream_request_id,
                code="upstream_too_large",
            )
        return piece

    def _understood(self) -> dict[str, Any]:
        """The answer. Raises ``ProviderError`` for a body that is an error after all, or no answer."""
        told = self.reported
        try:
            answer = parsed(b"".join(self._pieces), self._errors, told, self.upstream_request_id)
        except ProviderError as failure:
            if is_refusal(failure) and not told.input_told:
                told.input_told = told.output_told = True  # it has done nothing for the request
            raise
        choices = choices_in(answer, self._errors, self.upstream_request_id)
        if isinstance(model := answer.get("model"), str) and model:
            self.model = model
        reason = choices[0].get("finish_reason") if choices else None
        self.finish_reason = reason if isinstance(reason, str) else None
        if self.reported.output_told:
            self._pieces.clear()
        return answer

    def _said(self) -> tuple[int, int]:
        """See :class:`~providers.reply.Translator`: it comes in pieces that are no tokens."""
        return 1, words_in(b"".join(self._pieces), self._size)[1]


def parsed(body: bytes, errors: Errors, told: Usage, request_id: str | None = None) -> dict[str, Any]:
    """The JSON object that an answer of status 200 consists of. What it tells of its usage comes to ``told``
    first of all: what is no good is billed nevertheless. Raises ``ProviderError``, also for an error that
    came with that status."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise errors.malformed("answered with something that is not a JSON object", request_id=request_id)
    usages.note(told, answer.get("usage"))
    usages.note_tier(told, answer.get("service_tier"))
    if not answer.get("choices") and (error := error_in(answer)) is not None:
        raise errors.of_event(error, request_id=request_id)
    return answer


def choices_in(answer: dict[str, Any], errors: Errors, request_id: str | None = None) -> list[dict[str, Any]]:
    """The choices of a whole ``answer``. Raises ``ProviderError`` where there are none, or one has failed."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise errors.malformed("answered without choices", request_id=request_id)
    for choice in choices:
        if isinstance(error := choice.get("error"), dict):
            raise errors.of_event(error, request_id=request_id)
    return choices
