"""What layers have saved: what the request would have cost without them, less what it has."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.prices import FREE, PriceBook, Rates
from gw.prices.rates import Prices

NOW = 1_795_000_000.0
Counts = tuple[int, int, int, int, int, int, int]

_USD = st.decimals(0, 100, places=3)
_TOKENS = st.one_of(st.integers(0, 300), st.integers(0, 400_000))
_COUNTS = st.tuples(_TOKENS, _TOKENS, _TOKENS, _TOKENS, _TOKENS, st.just(0), st.integers(0, 5))
_LAYERS = st.dictionaries(
    st.sampled_from(["limits", "dedup", "strip", "diff"]), st.integers(0, 200_000), min_size=1
)


@st.composite
def _prices(draw: st.DrawFn) -> list[Prices]:
    """The prices of a model, base first; those of a longer prompt are never lower."""
    found: list[Prices] = []
    for above in (0, *sorted(draw(st.sets(st.integers(1, 500_000), max_size=2)))):
        classes = [draw(_USD) for _ in range(6)]
        if found:
            classes = [max(pair) for pair in zip(classes, found[-1].classes(), strict=True)]
        plain, output, read, write_5m, write_1h, reasoning = classes
        found.append(Prices(plain, output, read, write_5m, write_1h, reasoning, above))
    return found


def _exact(prices: Prices, counts: tuple[int | Fraction, ...], searches: int) -> Fraction:
    """Nano-dollars before they are rounded, of input, output, cache read, both writes, and reasoning."""
    plain, output, read, write_5m, write_1h, reasoning = counts
    paid = (plain, output - reasoning, read, write_5m, write_1h, reasoning)
    nano = sum(count * Fraction(price) * 1_000 for count, price in zip(paid, prices.classes(), strict=True))
    return nano + searches * Fraction(10_000_000) + 5_000


def _of(levels: list[Prices], prompt: int) -> Prices:
    return [level for level in levels if not level.above or prompt > level.above][-1]


def _half_up(nano: Fraction) -> int:
    return floor(nano + Fraction(1, 2))


@given(_prices(), _COUNTS, st.fractions(0, 1), _LAYERS)
def test_layers_have_saved_what_the_whole_request_would_have_cost_more(
    levels: list[Prices], given_counts: Counts, share: Fraction, layers: dict[str, int]
) -> None:
    plain, output, read, write_5m, write_1h, _, searches = given_counts
    reasoning = floor(output * share)
    rates = Rates(levels[0], levels[1:], per_request=Decimal("0.000005"), per_search=Decimal("0.01"))
    counts: Counts = (plain, output, read, write_5m, write_1h, reasoning, searches)
    prompt, taken = plain + read + write_5m + write_1h, sum(layers.values())
    level = _of(levels, prompt + taken)
    if prompt:
        more = Fraction(prompt + taken, prompt)
        longer = _exact(
            level,
            (plain * more, output, read * more, write_5m * more, write_1h * more, reasoning),
            searches,
        )
    else:
        longer = _exact(level, (taken, output, 0, 0, 0, reasoning), searches)
    cost = rates.cost(*counts)
    assert cost == _half_up(_exact(_of(levels, prompt), counts[:6], searches))
    saved = rates.saved(layers, *counts)
    assert list(saved) == list(layers)
    difference = _half_up(longer) - cost
    assert sum(saved.values()) == difference >= 0
    for layer, tokens in layers.items():
        assert abs(saved[layer] - Fraction(difference * tokens, taken or 1)) <= (1 if taken else 0)
        assert saved[layer] >= 0


@given(_prices(), _COUNTS, _LAYERS)
def test_from_an_estimated_prompt_no_other_tier_is_concluded(
    levels: list[Prices], counts: Counts, layers: dict[str, int]
) -> None:
    rates = Rates(levels[0], levels[1:])
    level = _of(levels, counts[0] + sum(counts[2:5]))
    flat = Rates(level)  # the tier that was paid, for prompts of any length
    guessed = rates.saved(layers, *counts, counted=False)
    assert guessed == flat.saved(layers, *counts)
    assert sum(guessed.values()) <= sum(rates.saved(layers, *counts).values())


def test_what_keeps_a_prompt_below_a_tier_has_saved_that_tier() -> None:
    haiku = PriceBook().rates("anthropic", "claude-haiku-5-5", NOW)
    assert haiku is not None
    counts = (90_000, 2_000, 0, 0, 0, 0, 0)
    cost = haiku.cost(90_000, 2_000)
    assert cost == 90_000 * 100 + 2_000 * 500
    # Ten thousand more are a hundred thousand: still the lower tier. One more, and all is five times as dear.
    assert haiku.saved({"dedup": 10_000}, *counts) == {"dedup": 10_000 * 100}
    above = 100_001 * 500 + 2_000 * 2_500
    assert haiku.saved({"dedup": 10_001}, *counts) == {"dedup": above - cost}
    shares = haiku.saved({"dedup": 8_000, "limits": 2_001}, *counts)
    assert sum(shares.values()) == above - cost
    assert shares["dedup"] == pytest.approx((above - cost) * 8_000 / 10_001, abs=1)
    assert haiku.saved({"dedup": 10_001}, *counts, counted=False) == {"dedup": 10_001 * 100}


def test_saved_tokens_would_have_been_cached_as_the_others_were() -> None:
    haiku = PriceBook().rates("anthropic", "claude-haiku-5-5", NOW)
    assert haiku is not None
    # Nine tenths of the prompt were read from the cache, and would have been of what was taken out.
    saved = haiku.saved({"dedup": 20_000}, 9_000, 0, 81_000)
    longer = (11_000 * 500) + (99_000 * 50)
    assert saved == {"dedup": longer - haiku.cost(9_000, 0, 81_000)}


def test_nothing_is_saved_where_nothing_was_taken_out_or_a_longer_prompt_is_cheaper() -> None:
    cheaper = Rates(Prices(Decimal(9), Decimal(9)), [Prices(Decimal(1), Decimal(1), above=100)])
    assert cheaper.saved({"dedup": 50}, 100, 10) == {"dedup": 0}
    assert cheaper.saved({"dedup": 0, "limits": 0}, 100, 10) == {"dedup": 0, "limits": 0}
    assert cheaper.saved({}, 100, 10) == {}
    assert FREE.saved({"dedup": 10**6}, 100, 10) == {"dedup": 0}
