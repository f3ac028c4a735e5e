"""What a model costs at a time: the operator's prices first, then the published ones; unknown is None."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from .overrides import Override, read
from .published import SELLERS, Published
from .rates import FREE, Rates

logger = logging.getLogger("gateway")

#: Machines of one's own, and the simulation of the demo.
FREE_PROVIDERS = frozenset({"ollama", "simulated"})
#: Seconds. Published prices change at midnight or, by the time of day, at whole and half hours (UTC).
_SLOT = 900
#: Answers that are kept. Names of models are the callers' words: what they invent must not fill the memory.
_MAX_KNOWN = 2048
_NOT_YET: Any = object()
#: Fields of a request that make a provider charge other prices, with the values that do.
_VARIANTS = {"speed": frozenset({"fast"}), "service_tier": frozenset({"fast", "flex", "priority"})}
#: Where Claude is asked to compute -> how many times its price every token then costs: input, output, what is
#: written to the cache and read from it (https://platform.claude.com/docs/en/about-claude/pricing, "Data
#: residency pricing"). Claude 4.6 and later; models before that refuse the parameter.
_GEOS = {"us": Decimal("1.1")}
#: Who has such places. (On Bedrock and Vertex AI a model's name or the region says it.)
_HAS_GEOS = "anthropic"


def variant_of(request: Mapping[str, Any], dialect: str) -> str:
    """The ``variant`` of :meth:`PriceBook.rates` that ``request`` (parsed, of ``dialect``) asks for: "" as a
    rule, otherwise as ``speed=fast``, ``@us``, or both in this order."""
    get = request.get
    if get("speed") is None and get("service_tier") is None and get("inference_geo") is None:
        return ""
    # `speed` and `inference_geo` are Claude's own words: from other dialects they are not translated.
    claude = dialect == "messages"
    way = ""
    for name, values in _VARIANTS.items():
        value = get(name)
        if isinstance(value, str) and value in values and (claude or name != "speed"):
            way = f"{name}={value}"
            break
    geo = get("inference_geo")
    return f"{way}@{geo}" if claude and isinstance(geo, str) and geo in _GEOS else way


def variant_told(variant: str, told: str | None, geo: str | None) -> str:
    """``variant``, as it was asked for, with what the provider says it charges for in its place:
    :attr:`providers.types.Usage.variant` and ``geo``; None: it has said nothing of that."""
    way, _, place = variant.partition("@")
    if told is not None:
        name, _, value = told.partition("=")
        way = told if value in _VARIANTS.get(name, ()) else ""
    if geo is not None:
        place = geo
    return f"{way}@{place}" if place in _GEOS else way


class PriceBook:
    """Prices by provider, model and time; a look-up that was made before costs one look into a dict.

    ``overrides`` is the operator's own file (docs/prices.md), which holds for the models that it names.
    ``upstreams``: names of OpenAI-compatible providers -> their base URLs, by which they are known. There are
    no other providers but these, Claude's and those of :data:`FREE_PROVIDERS`.
    Raises :class:`~gw.prices.overrides.PricesError` for a file that cannot be used.
    """

    def __init__(
        self, overrides: Path | None = None, upstreams: Mapping[str, str | None] | None = None
    ) -> None:
        self._published = Published({} if upstreams is None else upstreams)
        names = {*SELLERS, *FREE_PROVIDERS, *(upstreams or ())}
        self._overrides: list[Override] = [] if overrides is None else read(overrides, names)
        self._known: dict[tuple[str, str, str, str, int], Rates | None] = {}

    def load(self) -> None:
        """Read the published prices now (0.25 s, 18 MB), for a thread of a worker that has just started;
        otherwise the first request that is priced waits for that."""
        self._published.load()

    def rates(
        self, provider: str, model: str, at: float, *, asked: str = "", variant: str = ""
    ) -> Rates | None:
        """The prices of ``provider``'s ``model`` at ``at`` (Unix seconds), or None.

        ``asked`` is the name by which the upstream was asked, where ``model`` is what it calls itself in the
        answer: of two names for one model the longer one says more (Bedrock's ``global.anthropic.…`` is
        cheaper than ``claude-…``, a dated model may cost something else than its alias). ``variant``: see
        :func:`variant_of`.
        """
        key = (provider, model, asked, variant, int(at) // _SLOT)
        rates = self._known.get(key, _NOT_YET)
        return self._look_up(key) if rates is _NOT_YET else rates

    def _look_up(self, key: tuple[str, str, str, str, int]) -> Rates | None:
        provider, model, asked, variant, slot = key
        names = [name for name in ((asked, model) if model in asked else (model, asked)) if name]
        at = datetime.fromtimestamp(slot * _SLOT, UTC)
        way, _, geo = variant.partition("@")
        rates = self._own(provider, names, at)
        if rates is None:
            rates = FREE if provider in FREE_PROVIDERS else self._public(provider, names, at, way)
        if geo and rates is not None and provider == _HAS_GEOS:
            rates = rates.times(_GEOS[geo])
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[key] = rates
        return rates

    def _own(self, provider: str, names: list[str], at: datetime) -> Rates | None:
        """By the last entry of the file that matches: later ones correct those before."""
        for name in names:
            for override in reversed(self._overrides):
                if override.covers(provider, name, at.date()):
                    return override.rates
        return None

    def _public(self, provider: str, names: list[str], at: datetime, variant: str) -> Rates | None:
        key, _, value = variant.partition("=")
        way = {key: value} if value else {}
        try:
            for name in names:
                if (rates := self._published.rates(provider, name, at, way)) is not None:
                    return rates
        except Exception:  # a list of prices that cannot be read must not stop every answer
            logger.exception("the published prices of %s cannot be read: they are unknown", provider)
        return None
