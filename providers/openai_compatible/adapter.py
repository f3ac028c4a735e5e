"""Any server of OpenAI's chat-completions API: vLLM, LM Studio, llama.cpp, OpenAI, OpenRouter, Groq, …

The dialect is the caller's own, so nothing is translated: the request goes up as it came, the answer
comes down as it was written, and both are only looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import orjson

from ..base import Feature
from ..errors import BadRequest, ProviderError, UpstreamFailed, wrong_content_type
from ..estimate import TokenRatios, embedded
from ..http.types import Header, HttpClient, HttpResponse, Timeouts
from ..reply import StreamedReply, TranslatedReply
from ..spent import Asking, paid
from ..translate.anthropic_errors import MAX_BODY
from ..types import ChatCall, CompletionCall, Embeddings, EmbeddingsCall, Exchange, ModelInfo, Usage
from . import completions, embeddings
from .capacity import with_room
from .chunk_translator import ChunkTranslator
from .errors import Errors, request_id_of
from .manner import MAX_ASKED, Manner, Manners, with_step
from .models import parse_models
from .refusals import after_refusal, gist, refuses
from .reply import MAX_ANSWER, WholeReply, parsed
from .request import build, lost, reply_shape, streams, streams_to, wants_usage
from .stream import ChunkTap
from .whole_stream import WholeStream

USER_AGENT = "claude-gateway"
#: OpenAI takes 2,048 texts at a time; as numbers in JSON, a vector of 3,072 is about 64 kilobytes.
MAX_EMBEDDINGS = 128 * 1024 * 1024
_EVENT_STREAM = b"text/event-stream"
_JSON = b"application/json"


class OpenAICompatibleProvider:
    """See :class:`~providers.base.Provider`. ``client`` is shared, and closed by whoever made it.

    ``base_url`` is what the OpenAI SDK calls so: it includes ``/v1``, which is added when there is no path
    at all. ``models`` are the upstream's ids that may be asked for; empty: all of them.
    """

    features: frozenset[Feature] = frozenset(
        (
            "tools",
            "forced_tools",
            "images",
            "documents",
            "schema",
            "json_object",
            "thinking",
            "embeddings",
            "completions",
        )
    )

    def __init__(
        self,
        client: HttpClient,
        *,
        name: str,
        base_url: str,
        api_key: str | None = None,
        models: tuple[str, ...] = (),
        timeouts: Timeouts | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        self.name = name
        self._client = client
        self._timeouts = timeouts
        # A whole answer says nothing, not even its head, until it is complete: only its total time counts.
        self._patient = timeouts and replace(timeouts, first_byte=timeouts.total, idle=timeouts.total)
        self._allowed = models
        self._known = [ModelInfo(model, name, display_name=model) for model in models]
        self._by_id = {model.id: model for model in self._known}
        self._manners = Manners()
        self._completion_manners = Manners()
        self._ratios = TokenRatios()
        self._say_encoding = True
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/") or "/v1"

        def url(endpoint: str) -> str:
            return urlunsplit((parts.scheme, parts.netloc, path + endpoint, parts.query, ""))

        self._chat_url, self._complete_url, self._embed_url, self._models_url = map(
            url, ("/chat/completions", "/completions", "/embeddings", "/models")
        )
        self._errors = Errors(name, (api_key or "", base_url, url(""), parts.netloc))
        # Without a word, any encoding is fine (RFC 9110, 12.5.3); nothing here reads compressed answers.
        common: list[Header] = [(b"user-agent", user_agent.encode()), (b"accept-encoding", b"identity")]
        if api_key:
            common.append((b"authorization", b"Bearer " + api_key.encode()))
        # Tuples, so that the client need not look at them again.
        self._get_headers = (*common, (b"accept", _JSON))
        self._post_headers = (*common, (b"content-type", _JSON), (b"accept", _JSON))
        self._stream_headers = (*common, (b"content-type", _JSON), (b"accept", _EVENT_STREAM))

    async def chat(self, call: ChatCall) -> StreamedReply | WholeReply:
        """See :class:`~providers.base.Provider`."""
        with Asking(call.exchange):
            return await self._answer(call, self._chat_url, self._manners)

    async def complete(self, call: CompletionCall) -> StreamedReply | WholeReply:
        """See :class:`~providers.base.SpeaksCompletions`."""
        asked = ChatCall(call.body, call.model, call.requested_model, exchange=call.exchange)
        try:
            with Asking(call.exchange):
                return await self._answer(asked, self._complete_url, self._completion_manners)
        except ProviderError as error:
            raise completions.explained(error) from error

    async def embed(self, call: EmbeddingsCall) -> Embeddings:
        """See :class:`~providers.base.SpeaksEmbeddings`."""
        with Asking(call.exchange):
            try:
                answer = await self._embed(call, say_encoding=self._say_encoding)
            except BadRequest as error:
                if not (self._say_encoding and refuses(error, "encoding_format")):
                    raise
                answer = await self._embed(call, say_encoding=False)
                self._say_encoding = False
        return embeddings.read(answer, call, self._errors)

    async def estimate(self, call: ChatCall) -> int:
        """See :class:`~providers.base.CountsTokens`. Files count as images do: their pages are not known."""
        return self._estimated(call, self._manners.get(call.model))

    async def models(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`. Only models that may be asked for."""
        response = await self._request("GET", self._models_url, self._get_headers)
        body, _ = await self._whole(response)
        try:
            listed = parse_models(orjson.loads(body), self.name)
        except ValueError:
            listed = None
        if listed is None:
            raise self._errors.malformed("answered with something that is no list of models")
        found = [model for model in listed if not self._allowed or model.id in self._allowed]
        self._known = found or self._known
        self._by_id = {model.id: model for model in self._known}
        return found

    def known(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`. The models that were configured, then the last list."""
        return list(self._known)

    async def aclose(self) -> None:
        """Nothing runs in the background."""

    def _estimated(self, call: ChatCall, manner: Manner) -> int:
        """About how many tokens ``call`` is."""
        body = build(call, manner, stream=streams(call.body))
        images, size = embedded(body)
        return self._ratios.estimate(call.model, len(body) - size, images=images)

    async def _answer(self, call: ChatCall, url: str, manners: Manners) -> StreamedReply | WholeReply:
        """What the upstream refuses about the manner of asking is asked once more in another, which is then
        remembered for the model."""
        usage_wanted = wants_usage(call.body)
        known = manners.get(call.model)
        manner = sure = learnt = known
        if known.window is not None and self._ratios.calibrated(call.model):
            # Of a window that is nearly full, each turn would otherwise learn anew how much is left.
            manner = with_room(known, self._estimated(call, known))
        tried, last_said = {manner}, ""
        while True:
            try:
                reply = await self._ask(call, url, manner, usage_wanted)
            except (BadRequest, UpstreamFailed) as error:
                other = after_refusal(call, manner, error)
                if other is None or other in tried or len(tried) >= MAX_ASKED:
                    raise
                # Words may be the caller's own, repeated. What they led to has only helped where they are
                # not said again; the rest is not remembered for everybody.
                if (said := gist(error)) != last_said:
                    sure, last_said = learnt, said
                learnt = with_step(sure, manner, other)
                if error.param is not None:
                    sure = learnt
                tried.add(manner := other)
            else:
                break
        if learnt is not known:
            manners.learn(call.model, learnt)
        return reply

    async def _ask(
        self, call: ChatCall, url: str, manner: Manner, usage_wanted: bool
    ) -> StreamedReply | WholeReply:
        info = self._by_id.get(call.model)
        shape = reply_shape(call, manner)
        # A whole answer that is translated is put together here, from a stream.
        streaming = shape is not None or streams(call.body)
        wanted = streaming and streams_to(call, manner)
        reasons = info is not None and bool(info.capabilities.thinking)
        body = build(call, manner, stream=wanted, reasons=reasons)
        headers = self._stream_headers if wanted else self._post_headers
        timeouts = self._timeouts if wanted else self._patient
        images, embedded_size = embedded(body)
        size = len(body) - embedded_size
        exchange = call.exchange
        exchange.sending(partial(self._ratios.estimate, call.model, size, images=images))
        response = await self._request("POST", url, headers, body, timeouts)
        exchange.attempts += response.attempts - 1
        dropped = lost(call, manner)
        request_id = request_id_of(response.header)
        source = response if wanted else WholeStream(response, self._errors, exchange, request_id)
        reply: StreamedReply | WholeReply
        try:
            await self._check(response, _EVENT_STREAM if wanted else _JSON, exchange)
            if shape is not None:
                reply = TranslatedReply(
                    source,
                    partial(ChunkTranslator, self._errors),
                    call=call,
                    shape=shape,
                    provider=self.name,
                    dropped=dropped,
                    upstream_request_id=request_id,
                )
            elif streaming:
                tap = ChunkTap(
                    errors=self._errors,
                    model=call.model,
                    hide_usage=not usage_wanted,
                    choices=completions.choices_of(call.body),
                    request_id=request_id,
                )
                reply = StreamedReply(
                    source,
                    tap,
                    model=call.model,
                    provider=self.name,
                    exchange=exchange,
                    dropped=dropped,
                    upstream_request_id=request_id,
                )
            else:
                reply = WholeReply(response, self._errors, call, dropped, request_id)
            await reply.start()
        except BaseException:
            await response.aclose()
            raise
        self._ratios.asked(call.model, size, reply.reported, images=images)
        return reply

    async def _embed(self, call: EmbeddingsCall, *, say_encoding: bool) -> dict[str, object]:
        body = embeddings.build(call, say_encoding=say_encoding)
        exchange = call.exchange
        exchange.sending(partial(self._ratios.estimate, call.model, sum(map(len, call.inputs))))
        response = await self._request("POST", self._embed_url, self._post_headers, body)
        exchange.attempts += response.attempts - 1
        content, request_id = await self._whole(response, MAX_EMBEDDINGS)
        exchange.upstream_request_id = request_id
        told = Usage()
        with paid(exchange, told):
            return parsed(content, self._errors, told, request_id)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Sequence[Header],
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> HttpResponse:
        try:
            return await self._client.request(
                method, url, headers=headers, body=body, timeouts=timeouts or self._timeouts
            )
        except ProviderError as error:
            error.sign(self.name)
            raise

    async def _whole(self, response: HttpResponse, limit: int = MAX_ANSWER) -> tuple[bytes, str | None]:
        """The JSON body of an answer, and the upstream's name for the exchange."""
        request_id = request_id_of(response.header)
        async with response:
            await self._check(response, _JSON)
            try:
                return await response.read(limit), request_id
            except ProviderError as error:
                error.sign(self.name, request_id)
                raise

    async def _check(self, response: HttpResponse, wanted: bytes, exchange: Exchange | None = None) -> None:
        """Raise unless ``response`` is an answer of the wanted type. ``exchange`` is told what
        another one has used."""
        kind = (response.header(b"content-type") or b"").lower()
        if response.status == 200 and kind.startswith(wanted):
            return
        body = await self._read_error(response)
        if response.status != 200:
            raise self._errors.of_response(response.status, response.header, body)
        request_id, told = request_id_of(response.header), Usage()
        with paid(exchange or Exchange(), told):
            if kind.startswith(_JSON):  # an error that came with status 200, instead of a stream
                parsed(body, self._errors, told, request_id)
            raise wrong_content_type(kind, wanted, provider=self.name, upstream_request_id=request_id)

    async def _read_error(self, response: HttpResponse) -> bytes:
        """The body of an error; the status says enough when it cannot be read."""
        try:
            return await response.read(MAX_BODY)
        except ProviderError:
            return b""
