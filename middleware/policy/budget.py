"""Budget arithmetic: which budgets hold for a request, what is left of them, when they begin anew.

Money is in whole nano-dollars (1e-9 USD); days and months are UTC's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from .._state import Account

Period = Literal["day", "month"]
_NANO = 10**9


class Slot(NamedTuple):
    """One account in one day (``start`` is ``2026-11-23``) or month (``2026-11``)."""

    account: str
    period: Period
    start: str


class Balance(NamedTuple):
    """What was spent in a slot, and what is put aside for requests that are under way."""

    spent: int = 0
    reserved: int = 0


@dataclass(slots=True, frozen=True)
class Exceeded:
    """The budget into which a request of up to ``nano`` does not fit."""

    slot: Slot
    limit: int
    balance: Balance
    nano: int
    begins_anew: datetime

    @property
    def passing(self) -> bool:
        """Whether it fits once the requests under way turn out to cost little enough."""
        return self.balance.spent + self.nano <= self.limit


def has_budget(accounts: Iterable[Account]) -> bool:
    """Whether any of ``accounts`` has a budget."""
    for account in accounts:  # noqa: SIM110 - on every request; any() costs three times as much
        if account.daily_budget is not None or account.monthly_budget is not None:
            return True
    return False


def limits(accounts: Iterable[Account], now: datetime) -> dict[Slot, int]:
    """Every budget of ``accounts`` that holds at ``now`` (aware), and its size."""
    at = now.astimezone(UTC)
    day, month = f"{at:%Y-%m-%d}", f"{at:%Y-%m}"
    found: dict[Slot, int] = {}
    for account in accounts:
        if account.daily_budget is not None:
            found[Slot(account.id, "day", day)] = account.daily_budget
        if account.monthly_budget is not None:
            found[Slot(account.id, "month", month)] = account.monthly_budget
    return found


def check(budgets: Mapping[Slot, int], balances: Mapping[Slot, Balance], nano: int) -> Exceeded | None:
    """None where ``nano`` more fits into all of ``budgets``; else the one that is in the way for longest.
    What has no balance is untouched."""
    exceeded = []
    for slot, limit in budgets.items():
        balance = balances.get(slot, _UNTOUCHED)
        if balance.spent + balance.reserved + nano > limit:
            exceeded.append(Exceeded(slot, limit, balance, nano, begins_anew(slot)))
    return max(exceeded, key=lambda one: (not one.passing, one.begins_anew), default=None)


_UNTOUCHED = Balance()


def begins_anew(slot: Slot) -> datetime:
    """The first moment (UTC) of the day or month after ``slot``'s."""
    if slot.period == "day":
        return datetime.strptime(slot.start, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    first = datetime.strptime(slot.start, "%Y-%m").replace(tzinfo=UTC)
    return (first + timedelta(days=31)).replace(day=1)


def dollars(nano: int) -> str:
    """``nano`` exactly, with as many decimals as it needs and at least two: ``$1.00``, ``$0.000125``."""
    whole, rest = divmod(abs(nano), _NANO)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}${whole:,}.{digits}"
