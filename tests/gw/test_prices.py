"""Prices: to the nano-dollar what genai-prices makes of them, and unknown where nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from gw.prices import FREE, PriceBook, Rates
from gw.prices.rates import Prices

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()

UPSTREAMS: dict[str, str | None] = {
    "openai": "https://api.openai.com/v1",
    "router": "https://openrouter.ai/api/v1",
    "deepseek": "https://api.deepseek.com",
    "perplexity": "https://api.perplexity.ai",
}
#: Our provider -> how the package is asked for the same.
SELLERS: dict[str, dict[str, Any]] = {
    "anthropic": {"provider_id": "anthropic"},
    "bedrock": {"provider_id": "aws"},
    "vertex": {"provider_id": "google"},
    **{name: {"provider_api_url": url} for name, url in UPSTREAMS.items()},
}
BOOK = PriceBook(upstreams=UPSTREAMS)


@cache
def _models() -> list[tuple[str, str]]:
    """Every Claude and every GPT, and all that is sold by the hour of the day or for each request."""
    by_id = {provider.id: provider for provider in get_snapshot().providers}
    wanted = [
        (ours, model.id.removeprefix("regional."))  # which nobody writes: it is the one without "global."
        for ours, theirs in (("anthropic", "anthropic"), ("bedrock", "aws"), ("openai", "openai"))
        for model in by_id[theirs].models
        if theirs == "anthropic" or "claude" in model.id or "gpt" in model.id
    ]
    wanted += [("vertex", model.id) for model in by_id["anthropic"].models]
    wanted += [("router", model.id) for model in by_id["openrouter"].models if "gemini" in model.id]
    wanted += [(name, model.id) for name in ("deepseek", "perplexity") for model in by_id[name].models]
    return wanted


TOKENS = st.one_of(st.integers(0, 400_000), st.sampled_from([0, 1, 100_000, 100_001, 200_000, 272_000]))
VARIANTS = st.sampled_from(["", "speed=fast", "service_tier=flex", "service_tier=priority"])


@given(
    st.sampled_from(_models()),
    st.datetimes(datetime(2023, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS),
    VARIANTS,
)
def test_a_cost_is_the_packages_own_to_the_nano_dollar(
    named: tuple[str, str], at: datetime, tokens: tuple[int, int, int, int, int], variant: str
) -> None:
    provider, model = named
    rates = BOOK.rates(provider, model, at.timestamp(), variant=variant)
    if rates is None:
        return  # another test says when that may be
    plain, output, read, write_5m, write_1h = tokens
    usage = genai_prices.Usage(
        input_tokens=plain + read + write_5m + write_1h,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write_5m + write_1h,
        cache_write_1h_tokens=write_1h,
        output_reasoning_tokens=0,
    )
    name, _, value = variant.partition("=")
    theirs = genai_prices.calc_price(
        usage,
        model,
        genai_request_timestamp=at,
        price_context={name: value} if value else None,
        **SELLERS[provider],
    ).total_price
    assert rates.cost(*tokens) == int((theirs * 10**9).quantize(Decimal(1), ROUND_HALF_UP))


def test_every_model_that_is_sold_by_the_token_has_a_price() -> None:
    unknown = [named for named in _models() if BOOK.rates(*named, NOW) is None]
    # By the hour, or listed without a price; and no model is called "ft:gpt-4o" without its date.
    otherwise = ("transcribe", "realtime", "live", "-exp", "ft:gpt-4o")
    assert len(_models()) > 200
    assert [named for named in unknown if not any(word in named[1] for word in otherwise)] == []


@given(st.integers(0, 300_000), st.integers(0, 64_000), st.randoms(use_true_random=False))
def test_the_upper_bound_is_above_whatever_the_prompt_was_made_of(
    prompt: int, output: int, random: Any
) -> None:
    rates = BOOK.rates("anthropic", HAIKU, NOW)
    assert rates is not None
    cuts = sorted(random.randint(0, prompt) for _ in range(3))
    plain, read, write = cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1]
    cost = rates.cost(plain, random.randint(0, output), read, write, prompt - cuts[2])
    assert cost <= rates.upper_bound(prompt, output)


def test_all_tokens_pay_the_tier_of_the_whole_prompt_cached_or_not() -> None:
    rates = BOOK.rates("anthropic", HAIKU, NOW)
    assert rates is not None
    assert rates.cost(100_000, 1_000) == 100_000 * 100 + 1_000 * 500
    assert rates.cost(100_001, 1_000) == 100_001 * 500 + 1_000 * 2_500
    # Cached tokens count towards the hundred thousand, and are paid at the upper tier's price for them.
    assert rates.cost(1, 1_000, 100_000) == 500 + 100_000 * 50 + 1_000 * 2_500
    assert rates.upper_bound(100_000, 10) == 100_000 * 200 + 10 * 500
    assert rates.upper_bound(100_001, 10) == 100_001 * 1_000 + 10 * 2_500


def test_a_price_holds_from_its_day_on() -> None:
    changed = datetime(2026, 10, 7, tzinfo=UTC)  # reading Sonnet 5.5's cache became cheaper, or already was
    for day in (changed - timedelta(seconds=1), changed):
        rates = BOOK.rates("anthropic", SONNET, day.timestamp())
        theirs = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1_000, cache_read_tokens=1_000),
            SONNET,
            provider_id="anthropic",
            genai_request_timestamp=day,
        )
        assert rates is not None
        assert rates.cost(0, 0, 1_000) == theirs.total_price * 10**9


def test_a_price_by_the_time_of_day_changes_on_the_minute() -> None:
    model = "deepseek-chat"
    day = datetime(2025, 6, 2, tzinfo=UTC)
    costs = []
    for minute in range(0, 24 * 60, 5):
        at = day + timedelta(minutes=minute, seconds=59)
        rates = BOOK.rates("deepseek", model, at.timestamp())
        assert rates is not None
        theirs = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1_000, output_tokens=1_000),
            model,
            provider_api_url=UPSTREAMS["deepseek"],
            genai_request_timestamp=at,
        )
        costs.append(rates.cost(1_000, 1_000))
        assert costs[-1] == theirs.total_price * 10**9
    assert len(set(costs)) > 1, "this price does not change within the day: the test shows nothing"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-quartz-9"),
        ("nobody", SONNET),
        ("openai", "gpt-4o-of-my-own"),
        ("openai", "whisper-1"),  # sold by the hour
        ("lm_studio", "gpt-4o"),
    ],
)
def test_what_nobody_has_a_price_for_is_unknown_and_not_free(provider: str, model: str) -> None:
    book = PriceBook(upstreams={**UPSTREAMS, "lm_studio": "http://localhost:1234/v1"})
    assert book.rates(provider, model, NOW) is None


@pytest.mark.parametrize("provider", ["ollama", "simulated"])
def test_models_of_ones_own_cost_nothing_which_is_known(provider: str) -> None:
    assert BOOK.rates(provider, "whatever:8b", NOW) is FREE
    assert FREE.cost(10**6, 10**6, 1, 1, 1) == FREE.upper_bound(10**6, 10**6) == 0


def test_a_model_that_is_listed_as_free_costs_nothing() -> None:
    free = next(
        model.id
        for provider in get_snapshot().providers
        if provider.id == "openrouter"
        for model in provider.models
        if model.id.endswith(":free")
    )
    assert BOOK.rates("router", free, NOW) is FREE


@pytest.mark.parametrize(
    ("name", "url", "known"),
    [
        ("groq", None, True),
        ("mine", "https://api.groq.com/openai/v1", True),
        ("groq", "https://llm.example.com/v1", True),  # a proxy of the company, named for what is behind it
        ("groq", "http://10.0.0.7:8000/v1", False),
        ("groq", "http://[::1]:8000/v1", False),
        ("groq", "http://gpu-box:8000/v1", False),
        ("groq", "http://gpu.internal/v1", False),
        ("mine", "https://llm.example.com/v1", False),
    ],
)
def test_an_upstream_is_known_by_its_address_and_then_by_its_name(
    name: str, url: str | None, known: bool
) -> None:
    book = PriceBook(upstreams={name: url})
    assert (book.rates(name, "llama-3.3-70b-versatile", NOW) is not None) == known


def test_of_two_names_the_longer_says_what_was_bought() -> None:
    def read(model: str, asked: str = "") -> int:
        rates = BOOK.rates("bedrock", model, NOW, asked=asked)
        assert rates is not None
        return rates.cost(1_000, 0)

    everywhere, region = f"global.anthropic.{SONNET}", f"eu.anthropic.{SONNET}"
    assert read(SONNET, everywhere) == read(everywhere) < read(region) == read(SONNET, region)
    dated = BOOK.rates("openai", "gpt-4o-2024-05-13", NOW, asked="gpt-4o")
    assert dated == BOOK.rates("openai", "gpt-4o-2024-05-13", NOW) != BOOK.rates("openai", "gpt-4o", NOW)
    # What an upstream calls itself may be nobody's name; it was asked by one.
    assert BOOK.rates("openai", "our-deployment", NOW, asked="gpt-4o") == BOOK.rates("openai", "gpt-4o", NOW)


def test_names_that_callers_invent_do_not_fill_the_memory() -> None:
    book = PriceBook(upstreams=UPSTREAMS)
    book.rates("openai", "gpt-4o", NOW)
    snapshot = get_snapshot()
    before = len(snapshot._lookup_cache) + len(snapshot._provider_cache) + len(snapshot._provider_misses)
    for number in range(5_000):
        assert book.rates("openai", f"invented-{number}", NOW) is None
    assert len(book._known) <= 2_048
    after = len(snapshot._lookup_cache) + len(snapshot._provider_cache) + len(snapshot._provider_misses)
    assert after == before


def test_what_is_rounded_is_the_sum_once_half_up() -> None:
    odd = Rates(Prices(input=Decimal("0.0005"), output=Decimal("0.00025")))  # half and a quarter of a nano
    assert [odd.cost(tokens, 0) for tokens in (1, 2, 3)] == [1, 1, 2]
    assert odd.cost(0, 1) == 0
    assert odd.cost(1, 1) == odd.cost(0, 2) + odd.cost(0, 1) == 1


def test_prices_that_cannot_be_read_are_unknown_and_stop_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def changed(*_: Any) -> None:
        raise AttributeError("find_model is called otherwise now")

    book = PriceBook()
    monkeypatch.setattr("gw.prices.published.Published._find", changed)
    assert [book.rates("anthropic", SONNET, NOW) for _ in range(3)] == [None] * 3
    assert caplog.text.count("are unknown") == 1, "once for each model and quarter of an hour"
