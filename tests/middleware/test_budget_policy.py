"""Budget arithmetic: periods, what is in the way, and dollars that lose nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._state import Account
from middleware.policy.budget import Balance, Slot, begins_anew, check, dollars, has_budget, limits


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (10**9, "$1.00"),
        (1_234_500_000_000, "$1,234.50"),
        (125_000, "$0.000125"),
        (1, "$0.000000001"),
        (-1_500_000_000, "-$1.50"),
    ],
)
def test_money_is_written_as_people_write_it(nano: int, text: str) -> None:
    assert dollars(nano) == text


@given(st.integers(-(10**18), 10**18))
def test_no_nano_dollar_is_rounded_away(nano: int) -> None:
    assert Fraction(dollars(nano).replace("$", "").replace(",", "")) * 10**9 == nano


@given(st.integers(1_600_000_000 * 10**6, 4_000_000_000 * 10**6), st.integers(-14, 14))
def test_days_and_months_are_utcs_and_leave_no_gap(micros: int, hours: int) -> None:
    now = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
    now = now.astimezone(timezone(timedelta(hours=hours)))
    account = Account("key:a", daily_budget=1, monthly_budget=2)
    day, month = limits([account], now)
    assert (day.start, month.start) == (f"{now.astimezone(UTC).date()}", f"{now.astimezone(UTC):%Y-%m}")
    for slot in (day, month):
        anew = begins_anew(slot)
        assert now < anew
        (before, _), (after, _) = (
            [s for s in limits([account], anew + by) if s.period == slot.period] + [None]
            for by in (-timedelta(microseconds=1), timedelta())
        )
        assert before == slot != after


def test_only_budgets_that_are_set_hold() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    bare = Account("project:p", rpm=1, tpm=2, concurrent=3)
    assert not has_budget([bare])
    assert not has_budget([])
    assert limits([bare], now) == {}
    for account in (Account("p", daily_budget=0), Account("p", monthly_budget=0)):
        assert has_budget([bare, account])
        assert list(limits([bare, account], now).values()) == [0]


@given(
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(1, 100),
)
def test_a_request_fits_exactly_when_the_sum_stays_within_the_limit(
    limit: int, spent: int, reserved: int, nano: int
) -> None:
    slot = Slot("project:p", "day", "2026-11-23")
    exceeded = check({slot: limit}, {slot: Balance(spent, reserved)}, nano)
    assert (exceeded is None) == (spent + reserved + nano <= limit)
    if exceeded is not None:
        assert exceeded.passing == (spent + nano <= limit)


def test_a_budget_that_is_spent_is_named_before_one_that_is_put_aside() -> None:
    day, month = Slot("key:k", "day", "2026-11-23"), Slot("key:k", "month", "2026-11")
    exceeded = check({day: 10, month: 10}, {day: Balance(10, 0), month: Balance(0, 10)}, 1)
    assert exceeded is not None
    assert exceeded.slot == day
    assert not exceeded.passing
