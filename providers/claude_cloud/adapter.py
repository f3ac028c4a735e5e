"""Claude where a cloud serves it: Amazon Bedrock, Google Vertex AI.

The wire format is Anthropic's own, so translation and reply are those of Claude. What differs (URLs,
signing, credentials) is what the anthropic SDK's platform clients know. They cost about 1.5 ms a request,
which is why Anthropic's own API does not go through them; they send through the gateway's own engine,
so that pool, time-outs and errors are the same as everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import httpx2
from anthropic import APIStatusError, AsyncStream
from anthropic.lib.bedrock import AsyncAnthropicBedrockMantle
from anthropic.lib.vertex import AsyncAnthropicVertex

from ..anthropic.headers import downward, upward
from ..anthropic.models import FEATURES, ModelTable, snapshot
from ..anthropic.passthrough import MessagesReply
from ..anthropic.reply import AnthropicReply
from ..errors import BadRequest
from ..http import HttpClient, Timeouts
from ..http.httpx_transport import EngineTransport
from ..spent import Asking, prompt_tokens
from ..thinking.ledger import ThinkingLedger
from ..thinking.stores import ThinkingStore
from ..translate.anthropic_errors import from_response
from ..translate.chat_anthropic import AnthropicRequest, Options, to_anthropic
from ..translate.threads import check_unthreaded
from ..types import ChatCall, Exchange, MessagesCall, ModelInfo
from .source import SdkSource, provider_error

SdkClient = AsyncAnthropicBedrockMantle | AsyncAnthropicVertex

#: The clouds' spellings of an id: ``anthropic.claude-opus-5-5``, ``us.anthropic.claude-…-v1:0``,
#: ``claude-sonnet-4-5@20250929`` (https://platform.claude.com/docs/en/about-claude/models/overview).
_ID = re.compile(r"(?:[a-z]+\.)*(claude-[a-z0-9-]+?)(?:@\d+|-v\d+(?::\d+)?)?$")


def bedrock(client: HttpClient, *, region: str, timeouts: Timeouts, **options: Any) -> SdkClient:
    """Bedrock's Messages endpoint in ``region``. Without the option ``api_key`` (a Bedrock API key) requests
    are signed with the credentials that the AWS SDK finds, which needs boto3."""
    options.setdefault("base_url", f"https://bedrock-mantle.{region}.api.aws/anthropic")
    return AsyncAnthropicBedrockMantle(aws_region=region, **_common(client, timeouts), **options)


def vertex(client: HttpClient, *, project: str, region: str, timeouts: Timeouts, **options: Any) -> SdkClient:
    """Vertex AI. Without the option ``access_token`` (they live for an hour) it uses Google's Application
    Default Credentials, which needs google-auth."""
    return AsyncAnthropicVertex(project_id=project, region=region, **_common(client, timeouts), **options)


def _common(client: HttpClient, timeouts: Timeouts) -> dict[str, Any]:
    """Retries are the gateway's, which counts them."""
    read = max(timeouts.first_byte, timeouts.idle)
    as_it_is = {"accept-encoding": "identity"}
    return {
        "http_client": httpx2.AsyncClient(transport=EngineTransport(client), headers=as_it_is),
        "timeout": httpx2.Timeout(read, connect=timeouts.connect),
        "max_retries": 0,
        "open_telemetry": False,
    }


class ClaudeCloudProvider:
    """See :class:`~providers.base.Provider`. ``models`` are the ids that may be asked for, as the cloud
    spells them; the clouds' Messages endpoints have no list of their own. Without ``models`` the list is
    Anthropic's, with ``prefix`` before each id."""

    features = FEATURES

    def __init__(
        self,
        client: SdkClient,
        *,
        name: str,
        models: Sequence[str] = (),
        prefix: str = "",
        default_max_tokens: int = 1_200,
        thinking_store: ThinkingStore | None = None,
    ) -> None:
        self.name = name
        self._ledger = ThinkingLedger(thinking_store)
        self._client = client
        self._table = ModelTable()
        self._options = Options(default_max_tokens=default_max_tokens)
        self._models = [self._info(model) for model in models or [prefix + known.id for known in snapshot()]]

    async def chat(self, call: ChatCall) -> AnthropicReply:
        """See :class:`~providers.base.Provider`."""
        info, defaulted = self._info(call.model), call.max_tokens_defaulted
        translate = partial(
            to_anthropic,
            call.body,
            model=call.model,
            info=info,
            max_tokens_defaulted=defaulted,
            options=self._options,
        )
        send = partial(self._send, call.exchange)
        with Asking(call.exchange):
            call, request, source = await self._ledger.ask(call, info, translate, send)
            request_id = source.header(b"request-id")
            reply = AnthropicReply(
                source,
                request,
                call=call,
                provider=self.name,
                upstream_request_id=request_id.decode("latin-1") if request_id else None,
            )
            await reply.start()
        return reply

    async def messages(self, call: MessagesCall) -> MessagesReply:
        """See :class:`~providers.base.SpeaksMessages`. All that the body says is sent, unknown fields too;
        how it is written is the SDK's affair, which moves some of it to where the cloud wants it."""
        body = self._parsed(call.body)
        check_unthreaded(body)  # the clouds have none: the SDK asks its own clients of theirs for none
        body["model"] = call.model
        headers: dict[str, str] = {}
        for name, value in upward(call.headers):
            if name.startswith(b"anthropic-"):  # the rest is between a client and Anthropic
                key, text = name.decode(), value.decode("latin-1")
                headers[key] = f"{headers[key]},{text}" if key in headers else text
        if isinstance(self._client, AsyncAnthropicVertex) and "anthropic-version" in headers:
            body.setdefault("anthropic_version", headers.pop("anthropic-version"))
        path = "/v1/messages" if call.endpoint == "messages" else "/v1/messages/count_tokens"
        if b"beta=true" in call.query.split(b"&"):
            path += "?beta=true"
        exchange = call.exchange
        exchange.sending(partial(prompt_tokens, call.body))
        with Asking(exchange):
            source = await self._post(exchange, path, body, headers)
            reply = MessagesReply(source, call, provider=self.name)
            await reply.start()
        return reply

    async def models(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`: what is known, since the clouds cannot be asked."""
        return self.known()

    def known(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`."""
        return list(self._models)

    async def aclose(self) -> None:
        """The SDK's client holds nothing but the shared engine."""

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            body = json.loads(data)  # keeps whole numbers of any size
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise BadRequest("The request body must be a JSON object.", provider=self.name)
        return body

    async def _send(self, exchange: Exchange, request: AnthropicRequest) -> SdkSource:
        encoded = request.encode()  # refuses what JSON cannot carry, before the SDK meets it
        exchange.sending(partial(prompt_tokens, encoded))
        return await self._post(exchange, "/v1/messages", request.body)

    async def _post(
        self, exchange: Exchange, path: str, body: Mapping[str, Any], headers: Mapping[str, str] = {}
    ) -> SdkSource:
        """The SDK's own way of sending, except that it leaves the answer unread."""
        cast_to, stream_cls = httpx2.Response, AsyncStream[Any]
        try:
            response = await self._client.post(
                path,
                body=body,
                options={"headers": headers},
                cast_to=cast_to,
                stream=True,
                stream_cls=stream_cls,
            )
        except APIStatusError as refused:
            raise _refusal(refused.response, self.name) from None
        except Exception as failure:  # noqa: BLE001 - the SDK's, google-auth's and botocore's trees
            raise provider_error(failure, self.name) from None
        # Asked to "cast" to a response the SDK gives the response itself, which its types do not tell.
        source = SdkSource(cast(httpx2.Response, response), self.name)
        exchange.attempts += source.attempts - 1
        return source

    def _info(self, model: str) -> ModelInfo:
        match = _ID.fullmatch(model)
        return replace(self._table.get(match[1] if match else model), id=model, provider=self.name)


def _refusal(response: httpx2.Response, provider: str) -> Exception:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    status, body, passed = response.status_code, response.content, downward(headers)
    return from_response(status, dict(headers).get, body, provider=provider, headers=passed)
