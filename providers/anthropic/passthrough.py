"""``/v1/messages`` to Claude itself: the caller's bytes up, the upstream's bytes down, usage tapped.

Nothing is translated and no event is written anew; the events are only looked at as they pass, so that
the gateway knows what was used and whether the stream really ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson

from ..errors import ProtocolError
from ..http import HttpResponse
from ..http.types import Header
from ..sse import Event, SseParser
from ..translate.anthropic_errors import from_event
from ..translate.usage import merge
from ..types import Usage


class MessagesReply:
    """An answer in Anthropic's own dialect whose first event (or whole body) has arrived."""

    def __init__(self, response: HttpResponse, *, provider: str, model: str) -> None:
        self.model = model
        self.usage = Usage()
        self.first_token_at: float | None = None
        request_id = response.header(b"request-id")
        self.upstream_request_id = request_id.decode("latin-1") if request_id else None
        self.headers: tuple[Header, ...] = ()
        self.content_type = response.header(b"content-type") or b"application/json"
        self.stream = self.content_type.startswith(b"text/event-stream")
        self._response = response
        self._provider = provider
        self._parser = SseParser()
        self._first = b""
        self._ended = False

    async def start(self) -> None:
        """Wait for the first event. An ``error`` event there is raised: nothing has been answered yet."""
        if not self.stream:
            self._first = await self._response.read()
            self._note_body(self._first)
            return
        while not (events := self._parser.feed(piece := await self._response.read_some())):
            self._first += piece
            if not piece:
                raise self._truncated()
        self._first += piece
        if events[0].event == b"error":
            raise from_event(_parsed(events[0]).get("error"), provider=self._provider)
        self._note(events)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The upstream's bytes, one item per read. Raises ``ProviderError`` when they break off."""
        yield self._first
        if not self.stream:
            return
        while piece := await self._response.read_some():
            self._note(self._parser.feed(piece))
            yield piece
        if not self._ended:
            raise self._truncated()

    def failed(self, code: str, message: str) -> bytes:
        """The dialect's error event needs nothing from here."""
        return b""

    async def aclose(self) -> None:
        await self._response.aclose()

    def _note(self, events: list[Event]) -> None:
        for event in events:
            match event.event:
                case b"content_block_delta":
                    if self.first_token_at is None:
                        self.first_token_at = time.perf_counter()
                case b"message_start":
                    message = _parsed(event).get("message")
                    if isinstance(message, dict):
                        self._note_message(message)
                case b"message_delta":
                    merge(self.usage, _parsed(event).get("usage"))
                case b"message_stop" | b"error":
                    # After an `error` event the stream has said itself that it is over.
                    self._ended = True

    def _note_body(self, body: bytes) -> None:
        try:
            message = orjson.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise ProtocolError("The upstream's answer is not JSON.", provider=self._provider)
        self.first_token_at = time.perf_counter()
        self._note_message(message)

    def _note_message(self, message: dict[str, Any]) -> None:
        if isinstance(model := message.get("model"), str):
            self.model = model
        merge(self.usage, message.get("usage"))

    def _truncated(self) -> ProtocolError:
        return ProtocolError(
            "The upstream ended its answer before it was complete.",
            provider=self._provider,
            code="upstream_truncated",
            stage="stream",
        )


def _parsed(event: Event) -> dict[str, Any]:
    try:
        value = orjson.loads(event.data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
