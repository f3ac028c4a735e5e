"""The providers that the settings call for, on one shared connection pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, cast

from providers.anthropic.adapter import AnthropicProvider
from providers.anthropic.models import SUCCESSORS, snapshot
from providers.base import Provider
from providers.http import HttpClient, Timeouts, open_client
from providers.types import ModelInfo

from .settings import Settings


class Upstreams:
    """Opened by each worker on its own event loop, closed when it stops."""

    #: Retired model id -> its successor, an alias or an id.
    successors: Mapping[str, str] = SUCCESSORS

    def __init__(self, settings: Settings) -> None:
        self._client: HttpClient | None = None
        self.claude: Provider | None = None
        if settings.simulated:
            from providers.simulated.adapter import SimulatedProvider  # the demo's alone

            self.claude = SimulatedProvider()
        elif settings.claude.api_key is not None:
            timing = settings.upstream
            timeouts = Timeouts(timing.connect, timing.first_byte, timing.idle, timing.total)
            self._client = open_client(
                cast(Literal["engine", "httpx"], timing.transport), ca_file=timing.ca_file, timeouts=timeouts
            )
            self.claude = AnthropicProvider(
                self._client,
                api_key=settings.claude.api_key,
                base_url=settings.claude.base_url,
                timeouts=timeouts,
                default_max_tokens=settings.limits.default_max_tokens,
            )

    @property
    def all(self) -> list[Provider]:
        return [] if self.claude is None else [self.claude]

    @property
    def snapshots(self) -> dict[str, list[ModelInfo]]:
        """Provider name -> the models that this release knows, for when the upstream is away."""
        return {
            provider.name: [replace(model, provider=provider.name) for model in snapshot()]
            for provider in self.all
        }

    async def close(self) -> None:
        for provider in self.all:
            await provider.aclose()
        if self._client is not None:
            await self._client.aclose()
