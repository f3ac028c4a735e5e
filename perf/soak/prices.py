"""Prices, written down a second time: what the gateway has computed is computed again from these alone.

Dollars per million tokens: input, output, cache read, cache write for 5 minutes and for an hour. Claude:
https://platform.claude.com/docs/en/about-claude/pricing (Amazon's own regions cost a tenth more, and so does
Claude itself with "inference_geo": "us"). The server
of OpenAI's API has the prices that the soak's ``PRICES_FILE`` gives it, and one model of which nobody knows
any. No request is long enough for another tier.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from .rows import Tokens

_Prices = tuple[str, str, str, str, str]
_CLAUDE: dict[str, _Prices] = {
    "claude-opus-5-5": ("4", "20", "0.20", "5", "8"),
    "claude-sonnet-5-5": ("2", "10", "0.10", "2.5", "4"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.01", "0.125", "0.20"),
}
_OWN: dict[str, _Prices] = {
    "gpt-4o": ("2.5", "10", "1.25", "0", "0"),
    "text-embedding-3-small": ("0.02", "0", "0", "0", "0"),
}
_UNKNOWN = frozenset(("gpt-3.5-turbo-instruct",))
_NAMES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_REGIONAL = Fraction(11, 10)


def prices_file() -> dict[str, Any]:
    """What the gateway is told of prices that are nowhere published."""
    return {
        "prices": [
            {
                "provider": "openai",
                "model": model,
                "usd_per_mtok": {
                    name: float(price) for name, price in zip(_NAMES, prices, strict=True) if price != "0"
                }
                | {"output": float(prices[1])},
            }
            for model, prices in _OWN.items()
        ]
    }


def cost_nano(provider: str, model: str, tokens: Tokens, geo: str = "") -> int | None:
    """Nano-dollars, half a one rounded up; None where nobody knows the price. ``geo``: where Claude has
    computed. Raises ``KeyError`` for a model that is not here."""
    if provider == "ollama" or not any(tokens):
        return 0
    if provider == "openai":
        if model in _UNKNOWN:
            return None
        prices, factor = _OWN[model], Fraction(1)
    else:
        prices = _CLAUDE[model.removeprefix("anthropic.")]
        regional = provider == "bedrock" or (provider == "anthropic" and geo == "us")
        factor = _REGIONAL if regional else Fraction(1)
    counts = (tokens.input, tokens.output, tokens.cache_read, tokens.cache_write_5m, tokens.cache_write_1h)
    nano = sum(count * Fraction(price) * 1_000 for count, price in zip(counts, prices, strict=True))
    return floor(nano * factor + Fraction(1, 2))
