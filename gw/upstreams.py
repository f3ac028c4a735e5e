"""The providers that the settings call for, on one shared connection pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from providers.anthropic.adapter import AnthropicProvider
from providers.anthropic.models import SUCCESSORS
from providers.base import Provider
from providers.http import Header, HttpClient, Timeouts, open_client
from providers.ollama.adapter import OllamaProvider
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.thinking.stores import MemoryStore, ThinkingStore

from .settings import Cloud, Local, Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from providers.claude_cloud.adapter import SdkClient


class Upstreams:
    """Opened by each worker on its own event loop, closed when it stops."""

    #: Retired model id -> its successor, an alias or an id.
    successors: Mapping[str, str] = SUCCESSORS

    def __init__(self, settings: Settings) -> None:
        transport = cast(Literal["engine", "httpx"], settings.upstream.transport)
        client = self._client = open_client(transport, ca_file=settings.upstream.ca_file)
        timing = settings.upstream
        timeouts = Timeouts(timing.connect, timing.first_byte, timing.idle, timing.total)
        self.claude: Provider | None = None
        self.ollama: Provider | None = None
        #: Prefix of model names -> who answers them.
        self.others: dict[str, Provider] = {}
        #: The one connection pool of this worker; None without REDIS_URL.
        self.redis = _redis(settings)
        thinking = self._thinking = _thinking_store(self.redis)
        if settings.simulated:
            from providers.simulated.adapter import SimulatedProvider  # the demo's alone

            self.claude = SimulatedProvider(thinking_store=thinking)
        elif settings.claude.api_key is not None:
            self.claude = AnthropicProvider(
                client,
                api_key=settings.claude.api_key,
                base_url=settings.claude.base_url,
                timeouts=timeouts,
                default_max_tokens=settings.limits.default_max_tokens,
                thinking_store=thinking,
            )
        local = settings.local
        if local.base_url is not None:
            # It bounds silence, not the whole: 1,200 tokens at ten a second are a good answer of two minutes.
            patient = Timeouts(timing.connect, local.timeout, local.timeout, settings.slowest)
            self.ollama = OllamaProvider(
                client,
                base_url=local.base_url,
                models=local.allowlist,
                timeouts=patient,
                headers=access_headers(local),
                max_context=local.max_context,
                default_max_tokens=settings.limits.default_max_tokens,
            )
        for compatible in settings.compatible:
            self.others[compatible.name] = OpenAICompatibleProvider(
                client,
                name=compatible.name,
                base_url=compatible.base_url,
                api_key=compatible.api_key,
                models=compatible.models,
                timeouts=timeouts,
            )
        for cloud in settings.clouds:
            from providers.claude_cloud.adapter import ClaudeCloudProvider  # the SDK takes a second to load

            self.others[cloud.name] = ClaudeCloudProvider(
                _sdk_client(cloud, client, timeouts),
                name=cloud.name,
                models=cloud.models,
                # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html
                prefix="anthropic." if cloud.name == "bedrock" else "",
                default_max_tokens=settings.limits.default_max_tokens,
                thinking_store=thinking,
            )

    @property
    def all(self) -> list[tuple[str, Provider]]:
        """Every provider with the prefix of its models' names (``""`` for Claude)."""
        found: list[tuple[str, Provider | None]] = [("", self.claude), ("local:", self.ollama)]
        found += [(f"{prefix}:", other) for prefix, other in self.others.items()]
        return [(prefix, provider) for prefix, provider in found if provider is not None]

    async def close(self) -> None:
        for _, provider in self.all:
            await provider.aclose()
        await self._client.aclose()
        await self._thinking.aclose()
        if self.redis is not None:
            await self.redis.aclose()


def _redis(settings: Settings) -> Redis | None:
    if settings.state.redis_url is None:
        return None
    from .shared_redis import open_redis  # the driver takes a moment to load

    return open_redis(settings.state.redis_url)


def _thinking_store(redis: Redis | None) -> ThinkingStore:
    """What Claude has thought, for all providers that are Claude; shared with other workers by Redis."""
    if redis is None:
        return MemoryStore()
    from providers.thinking.redis_store import RedisStore

    return RedisStore(redis)


def _sdk_client(cloud: Cloud, client: HttpClient, timeouts: Timeouts) -> SdkClient:
    from providers.claude_cloud.adapter import bedrock, vertex

    options = {} if cloud.base_url is None else {"base_url": cloud.base_url}
    if cloud.project is not None:
        return vertex(client, project=cloud.project, region=cloud.region, timeouts=timeouts, **options)
    return bedrock(client, region=cloud.region, timeouts=timeouts, api_key=cloud.api_key, **options)


def access_headers(local: Local) -> tuple[Header, ...]:
    """A Cloudflare Access service token as headers; none when there is none
    (https://developers.cloudflare.com/cloudflare-one/access-controls/service-credentials/service-tokens/)."""
    if local.access_id is None or local.access_secret is None:
        return ()
    return (
        (b"cf-access-client-id", local.access_id.encode()),
        (b"cf-access-client-secret", local.access_secret.encode()),
    )
