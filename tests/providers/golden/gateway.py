"""What stands between the two: the adapters over a played-back upstream, and what ends broken answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from gw.settle import REPLY, SettleMiddleware
from middleware._asgi import ASGIApp, Message, Receive, Scope, Send
from providers.anthropic.adapter import AnthropicProvider
from providers.base import ChatReply, Provider, RawReply
from providers.http.types import Header, Timeouts
from providers.ollama.adapter import OllamaProvider
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.types import ChatCall, MessagesCall

from .dialects import PATHS, call_of, question
from .transcripts import Transcript

_JSON = b"application/json"
_LINES = b"application/x-ndjson"
_EVENTS = b"text/event-stream"
MODELS = {"anthropic": "claude-opus-5-5", "ollama": "qwen3:8b", "openai": "gpt-5.1-2025-11-13"}
#: What Ollama tells of a model that thinks and calls tools.
_SHOWN = {
    "details": {"family": "qwen3", "format": "gguf"},
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40_960},
    "capabilities": ["completion", "tools", "thinking"],
}


class Played:
    """A response whose body comes in the given pieces, one for each read."""

    status = 200
    attempts = 1

    def __init__(self, kind: bytes, pieces: Sequence[bytes]) -> None:
        self.headers: Sequence[Header] = ((b"content-type", kind),)
        self._pieces = list(reversed(pieces))

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def ended(self) -> bool:
        return not self._pieces

    async def read_some(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        rest = b"".join(reversed(self._pieces))
        self._pieces.clear()
        return rest

    async def aclose(self) -> None:
        self._pieces.clear()

    async def __aenter__(self) -> Played:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class Upstream:
    """An HTTP client whose upstream answers every chat with ``pieces``."""

    def __init__(self, kind: bytes) -> None:
        self._kind = kind
        self.pieces: Sequence[bytes] = ()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> Played:
        if url.endswith(("/chat", "/messages", "/chat/completions")):
            return Played(self._kind, self.pieces)
        return Played(_JSON, [orjson.dumps(_SHOWN if url.endswith("/show") else {"models": []})])

    async def aclose(self) -> None:
        """There is nothing to close."""


class Gateway:
    """One provider for callers of each dialect. Make it inside the event loop that it is used in."""

    def __init__(self, upstream: str) -> None:
        self._client = Upstream(_LINES if upstream == "ollama" else _EVENTS)
        self._model = MODELS[upstream]
        self._provider = self._make(upstream)

    def _make(self, upstream: str) -> Provider:
        if upstream == "anthropic":
            return AnthropicProvider(self._client, api_key="sk-golden")
        if upstream == "ollama":
            return OllamaProvider(self._client, models=(self._model,))
        return OpenAICompatibleProvider(self._client, name="openai", base_url="https://openai.test/v1")

    async def stream(self, asked: Transcript, pieces: Sequence[bytes]) -> bytes:
        """Everything that the caller gets when the upstream's bytes arrive in ``pieces``."""
        self._client.pieces = pieces
        got = bytearray()

        async def send(message: Message) -> None:
            got.extend(message.get("body", b""))

        async def receive() -> Message:
            raise AssertionError("the request was read long ago")

        scope: Scope = {"type": "http", "path": PATHS[asked.caller], "state": {}}
        await SettleMiddleware(self._app(asked))(scope, receive, send)
        return bytes(got)

    async def whole(self, asked: Transcript) -> dict[str, Any]:
        """The same answer for a caller who wants it in one piece."""
        self._client.pieces = [asked.said()]
        reply = await self._provider.chat(self._call(asked, stream=False))
        return await reply.completion()

    async def aclose(self) -> None:
        await self._provider.aclose()

    def _app(self, asked: Transcript) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            reply, pieces = await self._ask(asked)
            scope["state"][REPLY] = reply
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        return app

    async def _ask(self, asked: Transcript) -> tuple[ChatReply | RawReply, AsyncIterator[bytes]]:
        if asked.passed_through:
            assert isinstance(self._provider, AnthropicProvider)
            body = orjson.dumps(question(asked.caller, self._model, stream=True))
            raw = await self._provider.messages(MessagesCall(body, self._model))
            return raw, raw.chunks()
        reply = await self._provider.chat(self._call(asked, stream=True))
        return reply, reply.sse()

    def _call(self, asked: Transcript, *, stream: bool) -> ChatCall:
        signed = "signed_thinking" in self._provider.features
        return call_of(asked.caller, self._model, stream=stream, signed=signed)
