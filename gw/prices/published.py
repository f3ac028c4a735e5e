"""The prices that the package genai-prices brings along: dated, by provider and model.

Importing it takes a quarter of a second and 18 MB, so that is done when the first price is asked for, or by
:meth:`Published.load` in a thread. Its own cache of models is not used: it keeps every name that was ever
asked for, and names are the callers' words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .rates import FREE, Rates, level

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, Provider

#: Our providers -> theirs, where the names differ from ours or the upstream is not known by its URL.
SELLERS = {"anthropic": "anthropic", "bedrock": "aws", "vertex": "google"}
#: Their names of prices per million tokens -> ours.
_CLASSES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
}


class Published:
    """``upstreams``: names of OpenAI-compatible providers -> their base URLs, or None."""

    def __init__(self, upstreams: Mapping[str, str | None]) -> None:
        self._upstreams = dict(upstreams)
        self._providers: dict[str, Provider | None] = {}

    def load(self) -> None:
        """Import the package now (0.25 s). Safe in a thread."""
        _ = self._all

    @cached_property
    def _all(self) -> list[Provider]:
        from genai_prices.data_snapshot import get_snapshot

        return get_snapshot().providers

    def rates(self, provider: str, model: str, at: datetime, variant: Mapping[str, str]) -> Rates | None:
        """The prices of ``model`` at ``at`` (aware); None: nobody knows. ``variant``: what is special
        about the request, by the package's own names (``{"speed": "fast"}``)."""
        if provider not in self._upstreams and provider not in SELLERS:
            return None
        if provider not in self._providers:
            self._providers[provider] = self._find(provider)
        seller = self._providers[provider]
        if seller is None:
            return None
        found = seller.find_model(model, all_providers=self._all)
        if found is None:
            return None
        # Variants are the seller's own: a model that it lends from another provider has none.
        lent = not any(found is own for own in seller.models)
        prices = found.get_prices(at, None if lent else variant)
        if not any(value is not None for value in vars(prices).values()):
            # OpenRouter and others name what costs nothing so; any other is not priced, only listed.
            return FREE if found.id.endswith(":free") else None
        return _rates(prices)

    def _find(self, name: str) -> Provider | None:
        """Who sells under ``name``: known by the address first, by name where that says nothing."""
        url = self._upstreams.get(name)
        if url is not None:
            for provider in self._all:
                if re.match(provider.api_pattern, url):
                    return provider
            if _is_private(url):
                return None  # whatever it is called: the machine is the operator's
        known = SELLERS.get(name, name.replace("_", "-"))
        return next((provider for provider in self._all if provider.id == known), None)


def _is_private(url: str) -> bool:
    """Whether ``url`` is a machine of one's own: a name without a dot, or an address of a private network."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))


def _rates(prices: ModelPrice) -> Rates | None:
    """None where tokens have no price: speech, images and pages are paid by other measures."""
    from genai_prices.types import TieredPrices

    named = {name: value for name, value in vars(prices).items() if value is not None}
    if named.get("input_mtok") is None:
        return None
    starts = {
        tier.start for value in named.values() if isinstance(value, TieredPrices) for tier in value.tiers
    }

    def of(prompt: int) -> dict[str, Decimal]:
        """The prices of a prompt that is just longer than ``prompt``."""
        found = {"output": Decimal(0)}  # embeddings have none
        for name, value in named.items():
            if (ours := _CLASSES.get(name)) is None:
                continue
            if isinstance(value, TieredPrices):
                reached = [tier.price for tier in value.tiers if tier.start <= prompt]
                value = reached[-1] if reached else value.base
            found[ours] = value
        return found

    requests, searches = (named.get(name, Decimal(0)) for name in ("requests_kcount", "web_searches_kcount"))
    assert isinstance(requests, Decimal)  # numbers of requests and of searches have no tiers
    assert isinstance(searches, Decimal)
    return Rates(
        level(of(-1)),
        [level(of(start), start) for start in starts],
        per_request=requests / 1000,
        per_search=searches / 1000,
    )
