"""Claude, through Anthropic's Messages API.

The upstream is always asked to stream: an answer that is wanted whole is assembled here, which spares
the long silent connections that the API itself advises against
(https://platform.claude.com/docs/en/api/errors#long-requests).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from urllib.parse import quote

import orjson

from ..errors import ProtocolError, ProviderError, wrong_content_type
from ..http.types import Header, HttpClient, HttpResponse, Timeouts
from ..spent import Asking, prompt_tokens
from ..thinking.ledger import ThinkingLedger
from ..thinking.stores import ThinkingStore
from ..translate.anthropic_errors import MAX_BODY, from_response
from ..translate.chat_anthropic import API_VERSION, AnthropicRequest, Options, to_anthropic
from ..types import ChatCall, Exchange, MessagesCall, ModelInfo
from .headers import downward, upward
from .models import FEATURES, PROVIDER, ModelTable, parse_models, snapshot
from .passthrough import MessagesReply
from .reply import AnthropicReply

BASE_URL = "https://api.anthropic.com"
USER_AGENT = "claude-gateway"
_VERSION: Header = (b"anthropic-version", API_VERSION.encode())
#: The usual ones, recognised without a closer look.
_EVENT_STREAMS = frozenset({b"text/event-stream", b"text/event-stream; charset=utf-8"})
#: Pages of 1,000 models; a list that goes on for longer is not a list of models.
_MAX_PAGES = 10


class AnthropicProvider:
    """See :class:`~providers.base.Provider`. ``client`` and ``thinking_store`` are shared, and closed by
    whoever made them; without a store, thinking is kept in memory."""

    name = PROVIDER
    features = FEATURES

    def __init__(
        self,
        client: HttpClient,
        *,
        api_key: str,
        base_url: str = BASE_URL,
        timeouts: Timeouts | None = None,
        models: ModelTable | None = None,
        default_max_tokens: int = 1_200,
        user_agent: str = USER_AGENT,
        thinking_store: ThinkingStore | None = None,
    ) -> None:
        self._client = client
        self._timeouts = timeouts
        self._table = ModelTable() if models is None else models
        self._ledger = ThinkingLedger(thinking_store)
        self._known = snapshot()
        base = base_url.rstrip("/").removesuffix("/v1")
        self._messages_url = f"{base}/v1/messages"
        self._count_url = f"{base}/v1/messages/count_tokens"
        self._models_url = f"{base}/v1/models?limit=1000"
        key: Header = (b"x-api-key", api_key.encode())
        agent: Header = (b"user-agent", user_agent.encode())
        # Tuples, so that the client need not look at them again.
        self._get_headers = (key, agent, _VERSION, (b"accept", b"application/json"))
        # What is read while it passes must come as it is.
        self._pass_headers = (key, (b"content-type", b"application/json"), (b"accept-encoding", b"identity"))
        self._pass_defaults = (agent, _VERSION)
        self._post_headers = (*self._pass_headers, agent, _VERSION, (b"accept", b"text/event-stream"))
        # Pseudonyms of users stay the same while the key does, and mean nothing to anybody else.
        user_key = sha256(b"gateway-user:" + api_key.encode()).digest()
        self._options = Options(user_key=user_key, default_max_tokens=default_max_tokens)

    async def chat(self, call: ChatCall) -> AnthropicReply:
        """See :class:`~providers.base.Provider`."""
        info = self._table.get(call.model)
        translate = partial(
            to_anthropic,
            call.body,
            model=call.model,
            info=info,
            max_tokens_defaulted=call.max_tokens_defaulted,
            options=self._options,
        )
        send = partial(self._post, call.exchange)
        with Asking(call.exchange):
            call, request, response = await self._ledger.ask(call, info, translate, send)
            request_id = response.header(b"request-id")
            reply = AnthropicReply(
                response,
                request,
                call=call,
                provider=self.name,
                upstream_request_id=request_id.decode("latin-1") if request_id else None,
            )
            await reply.start()
        return reply

    async def messages(self, call: MessagesCall) -> MessagesReply:
        """See :class:`~providers.base.SpeaksMessages`. Of the caller's headers those go along that
        :mod:`.headers` names; the key is always the gateway's."""
        own = upward(call.headers)
        headers = [*self._pass_headers, *own]
        names = {name for name, _ in own}
        headers += [default for default in self._pass_defaults if default[0] not in names]
        url = self._messages_url if call.endpoint == "messages" else self._count_url
        if call.query:
            url = f"{url}?{call.query.decode('latin-1')}"
        exchange = call.exchange
        exchange.sending(partial(prompt_tokens, call.body))
        with Asking(exchange):
            response = await self._request("POST", url, headers, call.body)
            exchange.attempts += response.attempts - 1
            try:
                await self._check_status(response)
            except BaseException:
                await response.aclose()
                raise
            reply = MessagesReply(response, call, provider=self.name)
            await reply.start()
        return reply

    async def models(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`. What it learns is used for the next chats."""
        found: list[ModelInfo] = []
        after = ""
        for _ in range(_MAX_PAGES):
            url = self._models_url + (f"&after_id={quote(after, safe='')}" if after else "")
            async with await self._request("GET", url, self._get_headers) as response:
                await self._check(response, b"application/json")
                page = self._parsed(await self._read(response))
            listed = parse_models(page)
            found += listed
            if page.get("has_more") is not True or not listed or listed[-1].id == after:
                break
            after = listed[-1].id
        self._table.update(found)
        self._known = found or self._known
        return found

    def known(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`."""
        return list(self._known)

    async def aclose(self) -> None:
        """Nothing runs in the background."""

    async def _post(self, exchange: Exchange, request: AnthropicRequest) -> HttpResponse:
        """The stream that answers ``request``. Raises ``ProviderError``."""
        body = request.encode()
        exchange.sending(partial(prompt_tokens, body))
        response = await self._request("POST", self._messages_url, self._post_headers, body)
        exchange.attempts += response.attempts - 1
        if response.status != 200 or response.header(b"content-type") not in _EVENT_STREAMS:
            try:
                await self._check(response, b"text/event-stream")
            except BaseException:
                await response.aclose()
                raise
        return response

    async def _request(
        self, method: str, url: str, headers: Sequence[Header], body: bytes = b""
    ) -> HttpResponse:
        try:
            return await self._client.request(
                method, url, headers=headers, body=body, timeouts=self._timeouts
            )
        except ProviderError as error:
            error.sign(self.name)
            raise

    async def _check_status(self, response: HttpResponse) -> None:
        """Raise the error that ``response`` stands for, if it is one."""
        if response.status != 200:
            body = await self._read_error(response)
            raise from_response(
                response.status,
                response.header,
                body,
                provider=self.name,
                headers=downward(response.headers),
            )

    async def _check(self, response: HttpResponse, wanted: bytes) -> None:
        """Raise unless ``response`` is an answer of the wanted type."""
        await self._check_status(response)
        kind = response.header(b"content-type") or b""
        if not kind.lower().startswith(wanted):
            raise wrong_content_type(kind, wanted, provider=self.name)

    async def _read(self, response: HttpResponse) -> bytes:
        try:
            return await response.read()
        except ProviderError as error:
            error.sign(self.name)
            raise

    async def _read_error(self, response: HttpResponse) -> bytes:
        """The body of an error; the status says enough when it cannot be read."""
        try:
            return await response.read(MAX_BODY)
        except ProviderError:
            return b""

    def _parsed(self, body: bytes) -> dict[str, object]:
        try:
            page = orjson.loads(body)
        except ValueError:
            page = None
        if not isinstance(page, dict):
            raise ProtocolError("The upstream's model list is not a JSON object.", provider=self.name)
        return page
