"""The providers that the settings call for, on one shared connection pool."""

from __future__ import annotations

from typing import Literal, cast

from providers.anthropic import AnthropicProvider
from providers.base import Provider
from providers.http import HttpClient, Timeouts, open_client
from providers.simulated import SimulatedProvider

from .settings import Settings


class Upstreams:
    """Opened by each worker on its own event loop, closed when it stops."""

    def __init__(self, settings: Settings) -> None:
        self._client: HttpClient | None = None
        self.claude: Provider | None = None
        if settings.simulated:
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
            )

    @property
    def all(self) -> list[Provider]:
        return [] if self.claude is None else [self.claude]

    async def close(self) -> None:
        for provider in self.all:
            await provider.aclose()
        if self._client is not None:
            await self._client.aclose()
