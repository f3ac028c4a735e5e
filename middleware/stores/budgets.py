"""Budgets that one process keeps for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from .._state import Account, Reservation
from ..policy.budget import Balance, Exceeded, Period, Slot, check, limits


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class MemoryBudgets:
    """What each account has spent since this process began, in the current UTC day and month.

    Never suspends, so nobody can slip in between a look and a reservation. What it knows is gone when the
    process ends, and several processes each allow the whole budget: share a store where that matters.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        #: The current slot of each account and period; older ones are of no use to anybody.
        self._current: dict[tuple[str, Period], tuple[Slot, Balance]] = {}
        self._open: dict[str, tuple[list[Slot], int]] = {}

    async def reserve(self, reservation_id: str, accounts: Sequence[Account], nano: int) -> Exceeded | None:
        """See :meth:`~..budget.Budgets.reserve`."""
        budgets = limits(accounts, self._clock())
        exceeded = check(budgets, {slot: self.balance(slot) for slot in budgets}, nano)
        if exceeded is None:
            for slot in budgets:
                self._change(slot, reserved=nano)
            self._open[reservation_id] = (list(budgets), nano)
        return exceeded

    async def settle(self, reservation: Reservation, cost_nano: int | None) -> None:
        """See :meth:`~..budget.Budgets.settle`. Settling again does nothing."""
        slots, nano = self._open.pop(reservation.id, ((), 0))
        spent = nano if cost_nano is None else cost_nano
        for slot in slots:
            if self._current[slot[:2]][0] == slot:
                self._change(slot, reserved=-nano, spent=spent)

    def balance(self, slot: Slot) -> Balance:
        """What is known of ``slot``: nothing, once a later day or month has begun."""
        current, balance = self._current.get(slot[:2], (slot, Balance()))
        return balance if current == slot else Balance()

    def _change(self, slot: Slot, *, reserved: int, spent: int = 0) -> None:
        old = self.balance(slot)
        self._current[slot[:2]] = slot, Balance(old.spent + spent, old.reserved + reserved)
