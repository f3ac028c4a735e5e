"""A whole answer, read as the stream that it would have been, for servers that do not stream.

OpenAI streams some models to verified organisations only
(https://help.openai.com/en/articles/10910291-api-organization-verification); some servers do not stream calls
of tools.
"""

from __future__ import annotations

from typing import Any

import orjson

from ..http.types import HttpResponse
from ..spent import paid
from ..types import Exchange, Usage
from .errors import Errors
from .reply import MAX_ANSWER, choices_in, parsed
from .stream import DONE


class WholeStream:
    """A :class:`~providers.reply.ByteSource`: one chunk that says everything, its usage, and the end."""

    __slots__ = ("_errors", "_exchange", "_read", "_request_id", "_response")

    def __init__(
        self, response: HttpResponse, errors: Errors, exchange: Exchange, request_id: str | None
    ) -> None:
        self._response = response
        self._errors = errors
        self._exchange = exchange
        self._request_id = request_id
        self._read = False

    @property
    def ended(self) -> bool:
        """See :class:`~providers.reply.ByteSource`."""
        return self._read

    async def read_some(self) -> bytes:
        """See :class:`~providers.reply.ByteSource`. Raises ``ProviderError`` for what is no answer."""
        if self._read:
            return b""
        body = await self._response.read(MAX_ANSWER)
        self._read = True
        told = Usage()
        with paid(self._exchange, told):
            answer = parsed(body, self._errors, told, self._request_id)
            choices = choices_in(answer, self._errors, self._request_id)
        return _events(answer, choices)

    async def aclose(self) -> None:
        """See :class:`~providers.reply.ByteSource`."""
        await self._response.aclose()


def _events(answer: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
    kind = "chat.completion.chunk" if answer.get("object") == "chat.completion" else answer.get("object")
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    chunk = {**head, "object": kind, "choices": [_chunked(choice) for choice in choices]}
    chunks = [chunk]
    if (usage := answer.get("usage")) is not None:
        chunks.append({**head, "object": kind, "choices": [], "usage": usage})
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + DONE


def _chunked(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a chunk: a text completion's is the same."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        numbered = [{"index": index, **call} for index, call in enumerate(calls) if isinstance(call, dict)]
        message = {**message, "tool_calls": numbered}
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": message}
