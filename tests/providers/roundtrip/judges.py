"""The strict simulated upstreams as judges, without sockets: they refuse what the real ones refuse."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import orjson

from perf.simulated import check
from perf.simulated.ollama import chat as ollama_chat
from perf.simulated.ollama.models import MODELS as OLLAMA_MODELS
from perf.simulated.ollama.refusal import OllamaRefusal
from perf.simulated.ollama.requests import decode
from perf.simulated.openai.models import find
from perf.simulated.openai.refusal import OpenAIRefusal
from perf.simulated.openai.strict import check_request
from providers.anthropic.adapter import AnthropicProvider
from providers.base import Provider
from providers.errors import BadRequest
from providers.http.types import Header, Timeouts
from providers.ollama.adapter import OllamaProvider
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.simulated.models import MODELS as CLAUDE_MODELS
from providers.translate import messages_chat, responses_chat
from providers.translate.message_writer import MessageWriter
from providers.translate.unsigned import without_unsigned
from providers.types import ChatCall, MessagesCall

from ..golden.gateway import Played
from ..golden.transcripts import Transcript

Json = dict[str, Any]

_JSON = b"application/json"
_ANSWERS = {name: Transcript("chat", name, "text").said() for name in ("anthropic", "ollama", "openai")}


class Refused(Exception):
    """The judge's words, with the request that it refused."""

    def __init__(self, message: str, request: Json) -> None:
        super().__init__(f"{message}\n{orjson.dumps(request).decode()[:4000]}")


class Judge:
    """An HTTP client whose upstream judges every chat. ``refused`` counts the refusals."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.refused = 0
        self.words = ""
        self.request_seen: Json = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> Played:
        if url.endswith(("/show", "/ps")):
            asked = orjson.loads(body)["model"] if body else ""
            shown = OLLAMA_MODELS[asked].shown() if asked else {"models": []}
            return Played(_JSON, [orjson.dumps(shown)])
        self.request_seen = orjson.loads(body)
        refusal = self._refusal(body, {name.decode(): value.decode() for name, value in headers})
        if refusal is not None:
            self.refused += 1
            self.words = str(refusal)
            response = Played(_JSON, [orjson.dumps(refusal)])
            response.status = 400
            return response
        kind = b"application/x-ndjson" if self._upstream == "ollama" else b"text/event-stream"
        return Played(kind, [_ANSWERS[self._upstream]])

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _refusal(self, body: bytes, headers: dict[str, str]) -> Json | None:
        """The envelope of the upstream's refusal."""
        match self._upstream:
            case "anthropic":
                refused = check(self.request_seen, headers)
                return refused.envelope() if refused is not None else None
            case "ollama":
                try:
                    ollama_chat.answer(decode("/api/chat", body), None, strict=True)
                except OllamaRefusal as said:
                    return {"error": said.message}
                return None
        model = find(self.request_seen["model"])
        assert model is not None
        try:
            check_request(self.request_seen, model)
        except OpenAIRefusal as said:
            return said.envelope()
        return None


class Court:
    """One provider before its judge, for callers of each dialect. Models take turns. Make it inside the event
    loop that it is used in."""

    def __init__(self, upstream: str) -> None:
        self.judge = Judge(upstream)
        self.models = _models(upstream)
        self._turns = cycle(self.models)
        self._provider = _provider(upstream, self.judge)
        self._upstream = upstream

    async def hear(self, dialect: str, body: Json, *, model: str = "") -> None:
        """Translate ``body`` and ask. Raises :class:`Refused`, also for what the translation refuses."""
        model = model or next(self._turns)
        try:
            if dialect == "messages" and self._upstream == "anthropic":
                await self._pass(body, model)
                return
            reply = await self._provider.chat(
                call_of(dialect, body, model, signs=self._upstream == "anthropic")
            )
        except BadRequest as error:
            raise Refused(f"{error.param}: {error.message} ({self.judge.words})", body) from error
        await reply.aclose()

    async def _pass(self, body: Json, model: str) -> None:
        assert isinstance(self._provider, AnthropicProvider)
        asked = {**body, "model": model}
        raw = orjson.dumps(asked)
        sent = without_unsigned(raw, asked) or raw
        reply = await self._provider.messages(MessagesCall(sent, model))
        await reply.aclose()

    async def aclose(self) -> None:
        await self._provider.aclose()


def call_of(dialect: str, body: Json, model: str, *, signs: bool) -> ChatCall:
    """What a provider is asked when a client of ``dialect`` asks ``body``."""
    if dialect == "messages":
        return ChatCall(messages_chat.to_chat(body).body, model, model, writer=MessageWriter)
    if dialect == "responses":
        request = responses_chat.to_chat(body, model=model, signed=signs)
        return ChatCall(request.body, model, model, writer=request.writer)
    return ChatCall(body, model, model)


def _models(upstream: str) -> list[str]:
    match upstream:
        case "anthropic":
            return [model.id for model in CLAUDE_MODELS.values() if model.lifecycle != "retired"]
        case "ollama":
            return ["qwen3:8b", "qwen2.5:7b", "gpt-oss:20b"]
    return ["gpt-4o", "gpt-5.1"]


def _provider(upstream: str, judge: Judge) -> Provider:
    match upstream:
        case "anthropic":
            return AnthropicProvider(judge, api_key="sk-judged")
        case "ollama":
            return OllamaProvider(judge, models=tuple(_models("ollama")))
    return OpenAICompatibleProvider(
        judge, name="openai", base_url="https://openai.test/v1", api_key="sk-judged"
    )
