"""The operator's own prices: they hold for what they name, and every mistake is named with its place."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.prices import PriceBook, PricesError
from gw.prices.overrides import read

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DEAREST = {"input": 7, "output": 11}


def _file(tmp_path: Path, *entries: Any) -> Path:
    path = tmp_path / "prices.json"
    path.write_bytes(orjson.dumps({"prices": list(entries)}))
    return path


def _entry(**more: Any) -> dict[str, Any]:
    return {"provider": "anthropic", "model": "claude-*", "usd_per_mtok": DEAREST, **more}


def _input_price(book: PriceBook, provider: str, model: str, at: float = NOW) -> int | None:
    """Nano-dollars for a token of input."""
    rates = book.rates(provider, model, at)
    return None if rates is None else rates.cost(1, 0)


def test_an_entry_corrects_what_is_published_and_nothing_else(tmp_path: Path) -> None:
    book = PriceBook(_file(tmp_path, _entry(model="claude-sonnet-*")), {"openai": "https://api.openai.com"})
    assert _input_price(book, "anthropic", "claude-sonnet-5-5") == 7_000
    assert _input_price(book, "anthropic", "Claude-Sonnet-5-5") == 7_000
    assert _input_price(book, "anthropic", "claude-haiku-5-5") == 100
    assert _input_price(book, "vertex", "claude-sonnet-5-5") == 2_000
    assert _input_price(book, "openai", "gpt-4o") == 2_500


def test_an_entry_adds_what_nobody_publishes(tmp_path: Path) -> None:
    book = PriceBook(
        _file(tmp_path, _entry(provider="*", model="house-model"), _entry(provider="ollama", model="*")),
        {"mine": "http://10.0.0.7/v1"},
    )
    assert _input_price(book, "mine", "house-model") == 7_000
    assert _input_price(book, "mine", "another") is None
    assert _input_price(book, "ollama", "qwen3:8b") == 7_000, "what a machine of one's own costs can be said"


def test_only_the_asterisk_is_special(tmp_path: Path) -> None:
    book = PriceBook(_file(tmp_path, _entry(provider="m", model="a[bc].?*")), {"m": None})
    assert _input_price(book, "m", "a[bc].?x") == 7_000
    for other in ("ab.xx", "a[bc]xyx", "xa[bc].?"):
        assert _input_price(book, "m", other) is None


def test_the_last_entry_that_matches_and_has_begun_holds(tmp_path: Path) -> None:
    book = PriceBook(
        _file(
            tmp_path,
            _entry(**{"from": "2026-01-01"}),
            _entry(**{"from": "2026-06-01", "usd_per_mtok": {"input": 8, "output": 1}}),
            _entry(**{"from": "2027-01-01", "usd_per_mtok": {"input": 9, "output": 1}}),
        )
    )

    def on(year: int, month: int, day: int, hour: int = 0) -> int | None:
        at = datetime(year, month, day, hour, tzinfo=UTC).timestamp()
        return _input_price(book, "anthropic", "claude-sonnet-5-5", at)

    assert on(2025, 12, 31, 23) == 2_000  # as published
    assert on(2026, 1, 1) == 7_000
    assert on(2026, 5, 31, 23) == 7_000
    assert on(2026, 6, 1) == 8_000
    assert on(2027, 1, 1) == 9_000


def test_classes_without_a_price_cost_what_they_are_a_part_of(tmp_path: Path) -> None:
    tiers = [{"above_prompt_tokens": 1_000, "usd_per_mtok": {"input": 2, "output": 3, "cache_read": 0.5}}]
    prices = {"input": 1, "output": 2, "cache_write_5m": 1.25}
    book = PriceBook(_file(tmp_path, _entry(usd_per_mtok=prices, tiers=tiers, usd_per_request=0.01)))
    rates = book.rates("anthropic", "claude-x", NOW)
    assert rates is not None
    fee = 10**7
    assert rates.cost(1, 1, 1, 1, 1, 1) == fee + 1_000 + 2_000 + 1_000 + 1_250 + 1_250
    assert rates.cost(1_000, 1) == fee + 1_000 * 1_000 + 2_000
    assert rates.cost(1_000, 1, 1) == fee + 1_000 * 2_000 + 3_000 + 500


def test_searches_have_a_price_of_their_own(tmp_path: Path) -> None:
    book = PriceBook(_file(tmp_path, _entry(usd_per_mtok={"input": 1, "output": 2}, usd_per_search=0.02)))
    rates = book.rates("anthropic", "claude-x", NOW)
    assert rates is not None
    assert rates.cost(1, 1, searches=3) == 3_000 + 3 * 20_000_000
    assert rates.upper_bound(1, 1, searches=3) == 3_000 + 3 * 20_000_000


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (17, "prices[0]"),
        (_entry(provider=""), "prices[0].provider"),
        ({"provider": "anthropic", "usd_per_mtok": DEAREST}, "prices[0].model"),
        (_entry(usd_per_mtok={"input": 1}), "prices[0].usd_per_mtok.output"),
        (_entry(usd_per_mtok={**DEAREST, "input": -1}), "prices[0].usd_per_mtok.input"),
        (_entry(usd_per_mtok={**DEAREST, "input": "1"}), "prices[0].usd_per_mtok.input"),
        (_entry(usd_per_mtok={**DEAREST, "input": True}), "prices[0].usd_per_mtok.input"),
        (_entry(usd_per_mtok={**DEAREST, "input": 10**7}), "prices[0].usd_per_mtok.input"),
        (_entry(usd_per_mtok={**DEAREST, "input": 1e-12}), "prices[0].usd_per_mtok.input"),
        (_entry(usd_per_mtok={**DEAREST, "cached": 1}), "prices[0].usd_per_mtok.cached"),
        (_entry(usd_per_mtok=None), "prices[0].usd_per_mtok"),
        (_entry(form="2026-01-01"), "prices[0].form"),
        (_entry(**{"from": "2026-13-01"}), "prices[0].from"),
        (_entry(**{"from": 20260101}), "prices[0].from"),
        (_entry(usd_per_request="1"), "prices[0].usd_per_request"),
        (_entry(tiers={}), "prices[0].tiers"),
        (_entry(tiers=[{"usd_per_mtok": DEAREST}]), "prices[0].tiers[0].above_prompt_tokens"),
        (
            _entry(tiers=[{"above_prompt_tokens": 1.5, "usd_per_mtok": DEAREST}]),
            "prices[0].tiers[0].above_prompt_tokens",
        ),
        (
            _entry(tiers=[{"above_prompt_tokens": 5, "usd_per_mtok": DEAREST}] * 2),
            "prices[0].tiers[1].above_prompt_tokens",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, entry: Any, place: str) -> None:
    path = _file(tmp_path, entry)
    with pytest.raises(PricesError) as caught:
        PriceBook(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"PRICES_FILE='{path}': {place} ")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(PricesError) as caught:
        PriceBook(_file(tmp_path, _entry(provider=3), _entry(), _entry(model=None)))
    first, second = caught.value.problems
    assert "prices[0].provider" in first
    assert "prices[2].model" in second


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"prices": {}}',
        b'{"prices": [], "more": 1}',
        b'{"prices": [NaN]}',
        b"[" * 10**5,
    ],
)
def test_what_is_no_list_of_prices_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(raw)
    with pytest.raises(PricesError, match="PRICES_FILE"):
        read(path, {"anthropic"})


def test_a_file_that_is_not_there_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match=r"missing.json' cannot be read: No such file.*unset it"):
        PriceBook(tmp_path / "missing.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prices", "provider", "model", "from", "usd_per_mtok", "input", "tiers"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3))
def test_nothing_but_a_named_mistake_comes_of_any_file(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "prices.json"
    path.write_text(json.dumps({"prices": entries}))
    with contextlib.suppress(PricesError):
        read(path, {"anthropic"})
