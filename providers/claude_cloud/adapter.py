"""Claude where a cloud serves it: Amazon Bedrock, Google Vertex AI.

The wire format is Anthropic's own, so translation and reply are those of Claude. What differs (URLs,
signing, credentials) is what the anthropic SDK's platform clients know. They cost about 1.5 ms a request,
which is why Anthropic's own API does not go through them; they send through the gateway's own engine,
so that pool, time-outs and errors are the same as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2
from anthropic import APIStatusError
from anthropic.lib.bedrock import AsyncAnthropicBedrockMantle
from anthropic.lib.vertex import AsyncAnthropicVertex

from ..anthropic.models import ModelTable, snapshot
from ..anthropic.reply import AnthropicReply
from ..base import Feature
from ..http import HttpClient, Timeouts
from ..http.httpx_transport import EngineTransport
from ..translate.anthropic_errors import from_response
from ..translate.chat_anthropic import Options, to_anthropic
from ..types import ChatCall, ModelInfo
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
    return {
        "http_client": httpx2.AsyncClient(transport=EngineTransport(client)),
        "timeout": httpx2.Timeout(read, connect=timeouts.connect),
        "max_retries": 0,
        "open_telemetry": False,
    }


class ClaudeCloudProvider:
    """See :class:`~providers.base.Provider`. ``models`` are the ids that may be asked for, as the cloud
    spells them; the clouds' Messages endpoints have no list of their own. Without ``models`` the list is
    Anthropic's, with ``prefix`` before each id."""

    features: frozenset[Feature] = frozenset(
        ("tools", "forced_tools", "images", "documents", "schema", "json_object", "thinking")
    )

    def __init__(
        self,
        client: SdkClient,
        *,
        name: str,
        models: Sequence[str] = (),
        prefix: str = "",
        default_max_tokens: int = 1_200,
    ) -> None:
        self.name = name
        self._create = client.messages.with_streaming_response.create
        self._table = ModelTable()
        self._options = Options(default_max_tokens=default_max_tokens)
        self._models = [self._info(model) for model in models or [prefix + known.id for known in snapshot()]]

    async def chat(self, call: ChatCall) -> AnthropicReply:
        """See :class:`~providers.base.Provider`."""
        info, defaulted = self._info(call.model), call.max_tokens_defaulted
        request = to_anthropic(
            call.body, model=call.model, info=info, max_tokens_defaulted=defaulted, options=self._options
        )
        request.encode()  # refuses what JSON cannot carry, before the SDK meets it
        manager = self._create(**request.body)
        try:
            response = await manager.__aenter__()
        except APIStatusError as refused:
            raise _refusal(refused.response, self.name) from None
        except Exception as failure:  # noqa: BLE001 - the SDK's, google-auth's and botocore's trees
            raise provider_error(failure, self.name) from None
        reply = AnthropicReply(
            SdkSource(manager, response, self.name),
            request,
            call=call,
            provider=self.name,
            upstream_request_id=response.headers.get("request-id"),
        )
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

    def _info(self, model: str) -> ModelInfo:
        match = _ID.fullmatch(model)
        return replace(self._table.get(match[1] if match else model), id=model, provider=self.name)


def _refusal(response: httpx2.Response, provider: str) -> Exception:
    headers = {name.lower(): value for name, value in response.headers.raw}
    return from_response(response.status_code, headers.get, response.content, provider=provider)
