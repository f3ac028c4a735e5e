"""Local models, through Ollama's native API.

Ollama is always asked to stream: a client that leaves is noticed at once, and an answer that is wanted whole
is assembled here. Only ``/api/chat``, ``/api/generate``, ``/api/embed``, ``/api/show``, ``/api/tags`` and
``/api/ps`` are ever asked: Ollama has no keys, and what else it offers changes or reveals what it holds.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from sys import byteorder
from typing import Any

from ..base import Feature
from ..errors import ContextTooLong, ProtocolError
from ..http.types import Header, HttpClient, Timeouts
from ..reply import NewTranslator, TranslatedReply
from ..spent import Asking, paid, so_far
from ..translate import ollama_errors
from ..translate.chat_ollama import OllamaRequest, to_ollama
from ..translate.ollama_chat import GenerateTranslator, OllamaTranslator
from ..translate.text_writer import TextWriter
from ..translate.usage import counted
from ..types import ChatCall, CompletionCall, Embeddings, EmbeddingsCall, ModelInfo, Usage, Vector
from .api import OllamaApi
from .completions import read_echo, to_generate
from .context import Contexts, too_long
from .learnt import Learnt
from .models import PROVIDER, full_name, parse_ps, parse_show, parse_tags, shipped

BASE_URL = "http://127.0.0.1:11434"
USER_AGENT = "claude-gateway"
#: What a model can do is asked anew after so many seconds (it may be pulled in another version).
MODEL_TTL = 300.0
#: And what is loaded: other workers and other users of the same Ollama load it differently. A question
#: takes a few milliseconds, a model that is loaded twice in turns takes seconds each time.
LOADED_TTL = 2.0
#: How long the first chat on a model waits for Ollama to describe it, and any chat for what is loaded.
PATIENCE = 2.0
LOADED_PATIENCE = 0.5
#: Thousands of vectors of some thousand numbers.
_MAX_EMBEDDINGS = 256 * 1024 * 1024
_TRANSLATORS: dict[str, NewTranslator] = {"chat": OllamaTranslator, "generate": GenerateTranslator}


class OllamaReply(TranslatedReply):
    """``on_end`` is called once, with the usage of an answer that came to its end."""

    __slots__ = ("on_end",)
    on_end: Callable[[Usage], None] | None

    async def aclose(self) -> None:
        await super().aclose()
        on_end, self.on_end = self.on_end, None
        if on_end is not None and self.finish_reason is not None:
            on_end(self.reported)


class OllamaProvider:
    """See :class:`~providers.base.Provider`. ``client`` is shared, and closed by whoever made it.

    ``models`` are the names that may be asked for. ``headers`` go with every request to this upstream
    (those of a Cloudflare Access service token, say), and nothing of a caller's headers does.
    ``max_context`` (tokens) bounds ``num_ctx`` where the memory is smaller than the models' own contexts.
    """

    name = PROVIDER
    features: frozenset[Feature] = frozenset(
        ("tools", "images", "schema", "json_object", "thinking", "embeddings", "completions")
    )

    def __init__(
        self,
        client: HttpClient,
        *,
        base_url: str = BASE_URL,
        models: tuple[str, ...],
        timeouts: Timeouts | None = None,
        headers: Sequence[Header] = (),
        default_max_tokens: int = 1_200,
        max_context: int | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        self._api = OllamaApi(
            client,
            base_url=base_url,
            provider=self.name,
            timeouts=timeouts,
            headers=(*headers, (b"user-agent", user_agent.encode())),
        )
        self._models = models
        self._default_max_tokens = default_max_tokens
        self._max_context = max_context
        self._contexts = Contexts()
        self._infos: dict[str, Learnt[ModelInfo]] = {}
        self._loaded = Learnt(self._fetch_loaded, ttl=LOADED_TTL)

    async def chat(self, call: ChatCall) -> OllamaReply:
        """See :class:`~providers.base.Provider`."""
        info = await self._info(call.model)
        request = to_ollama(
            call.body,
            model=call.model,
            info=info,
            max_tokens_defaulted=call.max_tokens_defaulted,
            default_max_tokens=self._default_max_tokens,
        )
        with Asking(call.exchange):
            return await self._fitting("chat", call, request, info)

    async def complete(self, call: CompletionCall) -> OllamaReply:
        """See :class:`~providers.base.SpeaksCompletions`."""
        info = await self._info(call.model)
        request = to_generate(
            call.body,
            model=call.model,
            info=info,
            max_tokens_defaulted=call.max_tokens_defaulted,
            default_max_tokens=self._default_max_tokens,
        )
        writer = partial(TextWriter, echo=read_echo(call.body))
        asked = ChatCall(call.body, call.model, call.requested_model, writer=writer, exchange=call.exchange)
        try:
            with Asking(call.exchange):
                return await self._fitting("generate", asked, request, info)
        except ContextTooLong as error:
            error.param = "prompt"
            raise

    async def estimate(self, call: ChatCall) -> int:
        """See :class:`~providers.base.CountsTokens`."""
        info = await self._info(call.model)
        request = to_ollama(call.body, model=call.model, info=info)
        size = len(request.encode()) - request.image_chars
        return self._contexts.ratios.estimate(call.model, size, images=request.images)

    async def embed(self, call: EmbeddingsCall) -> Embeddings:
        """See :class:`~providers.base.SpeaksEmbeddings`."""
        info = await self._info(call.model)
        longest = max((len(text.encode("utf-8", "replace")) for text in call.inputs), default=0)
        try:
            num_ctx = self._contexts.choose(
                call.model, longest, images=0, num_predict=0, limit=info.max_input_tokens
            )
            body: dict[str, Any] = {
                "model": call.model,
                "input": call.inputs,
                "truncate": False,
                "options": {"num_ctx": num_ctx},
            }
            if call.dimensions is not None:
                body["dimensions"] = call.dimensions
            size = sum(map(len, call.inputs))
            call.exchange.sending(partial(self._contexts.ratios.estimate, call.model, size))
            with Asking(call.exchange):
                found = await self._api.post(
                    "embed", body, model=call.model, work=True, limit=_MAX_EMBEDDINGS
                )
        except ContextTooLong as error:
            error.param = "input"
            raise
        self._contexts.loaded(call.model, num_ctx)
        model, count = found.get("model"), found.get("prompt_eval_count")
        usage = Usage(output_told=True)
        if (told := counted(count)) is not None:
            usage.input_tokens, usage.input_told = told, True
        usage = so_far(usage, call.exchange.prompt)
        with paid(call.exchange, usage):
            vectors = self._vectors(found.get("embeddings"), call)
        return Embeddings(
            vectors,
            model if isinstance(model, str) else call.model,
            usage,
            call.exchange.attempts,
        )

    async def models(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`: the allowed models, with what Ollama tells of those that
        it has."""
        installed = parse_tags(await self._api.get("tags"))
        if installed is None:
            raise ProtocolError("Ollama's list of models is no list of models.", provider=self.name)
        for model in self._models:
            if full_name(model) in installed:
                await self._learnt(model).get(PATIENCE)
        return self.known()

    def known(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`."""
        return [self._known(model) for model in self._models]

    async def aclose(self) -> None:
        """Stop what is being learnt."""
        await asyncio.gather(self._loaded.aclose(), *(learnt.aclose() for learnt in self._infos.values()))

    async def _info(self, model: str) -> ModelInfo:
        """What is known of ``model``. Waits for what was never learnt and, each time that it is old, for what
        is loaded; not if Ollama is silent."""
        info = await self._learnt(model).get(PATIENCE)
        await self._loaded.get(LOADED_PATIENCE if info is not None else 0.0, fresh=True)
        return info or self._bounded(shipped(model))

    def _learnt(self, model: str) -> Learnt[ModelInfo]:
        learnt = self._infos.get(model)
        if learnt is None:
            learnt = self._infos[model] = Learnt(partial(self._fetch_info, model), ttl=MODEL_TTL)
        return learnt

    def _known(self, model: str) -> ModelInfo:
        learnt = self._infos.get(model)
        return (learnt.value if learnt is not None else None) or self._bounded(shipped(model))

    def _bounded(self, info: ModelInfo) -> ModelInfo:
        """``info`` with the operator's bound on its context, if that is the smaller one."""
        bound, own = self._max_context, info.max_input_tokens
        return info if bound is None or (own or bound + 1) <= bound else replace(info, max_input_tokens=bound)

    async def _fetch_info(self, model: str) -> ModelInfo:
        return self._bounded(parse_show(model, await self._api.post("show", {"model": model}, model=model)))

    async def _fetch_loaded(self) -> dict[str, int]:
        loaded = parse_ps(await self._api.get("ps"))
        for model in self._models:
            if (num_ctx := loaded.get(full_name(model))) is not None:
                self._contexts.loaded(model, num_ctx)
        return loaded

    async def _fitting(
        self, path: str, call: ChatCall, request: OllamaRequest, info: ModelInfo
    ) -> OllamaReply:
        """The answer to ``request``, in a context that is long enough for it."""
        encoded = request.encode()
        size = len(encoded) - request.image_chars
        limit = info.max_input_tokens
        num_predict: int = request.options["num_predict"]
        num_ctx = self._contexts.choose(
            call.model, size, images=request.images, num_predict=num_predict, limit=limit
        )
        try:
            with self._contexts.loading(call.model, num_ctx):
                return await self._answer(path, call, request, encoded, size, num_ctx)
        except ContextTooLong as error:
            # The estimate was too low. Nothing was generated yet, so a larger context is tried once.
            tokens = ollama_errors.prompt_tokens(error.message)
            if tokens is not None and not request.images:
                self._contexts.counted(call.model, size, tokens)
            larger = self._contexts.larger(
                num_ctx, size=size, tokens=tokens, num_predict=num_predict, limit=limit
            )
            if larger is None:
                raise too_long(num_ctx, tokens) from error
        with self._contexts.loading(call.model, larger):
            return await self._answer(path, call, request, encoded, size, larger)

    async def _answer(
        self, path: str, call: ChatCall, request: OllamaRequest, encoded: bytes, size: int, num_ctx: int
    ) -> OllamaReply:
        exchange = call.exchange
        estimate = self._contexts.ratios.estimate
        exchange.sending(partial(estimate, call.model, size, images=request.images))
        response = await self._api.stream(path, request.complete(encoded, num_ctx), call.model)
        exchange.attempts += response.attempts - 1
        ray = response.header(b"cf-ray")  # Ollama has no ids of its own
        reply = OllamaReply(
            response,
            _TRANSLATORS[path],
            call=call,
            shape=request.reply,
            provider=self.name,
            dropped=request.dropped,
            upstream_request_id=ray.decode("latin-1") if ray else None,
        )
        reply.on_end = None
        await reply.start()
        self._contexts.loaded(call.model, num_ctx)
        if not request.images:
            reply.on_end = partial(self._count, call.model, size)
        return reply

    def _count(self, model: str, size: int, usage: Usage) -> None:
        self._contexts.counted(model, size, usage.prompt_tokens)

    def _vectors(self, found: object, call: EmbeddingsCall) -> list[Vector]:
        if not isinstance(found, list) or len(found) != len(call.inputs):
            raise ProtocolError("Ollama gave another number of embeddings than asked.", provider=self.name)
        vectors: list[Vector] = []
        for vector in found:
            try:
                packed = array("f", vector)
            except (TypeError, OverflowError):
                raise ProtocolError("Ollama gave something that is no vector.", provider=self.name) from None
            if call.encoding == "base64":
                if byteorder == "big":
                    packed.byteswap()
                vectors.append(packed.tobytes())
            else:
                vectors.append(vector)
        return vectors
