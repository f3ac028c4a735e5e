"""Rows that are written a moment after their requests are over."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gw.ledger.later import Later

pytestmark = pytest.mark.anyio


async def over(later: Later, name: str) -> None:
    later({"type": "http"}, {"gateway.request_id": name}, 1.0, 200, 0.5, None)


@pytest.fixture
def told() -> list[str]:
    return []


async def test_requests_are_told_once_in_their_order_and_not_at_once(told: list[str]) -> None:
    def record(scope: Any, state: dict[str, Any], *more: Any) -> None:
        assert more == (1.0, 200, 0.5, None)
        told.append(state["gateway.request_id"])

    later = Later(record, seconds=0.01)
    for name in "abc":
        await over(later, name)
    assert told == []
    await asyncio.sleep(0.05)
    assert told == ["a", "b", "c"]
    await over(later, "d")
    later.flush()
    assert told == ["a", "b", "c", "d"]
    await asyncio.sleep(0.05)
    assert told == ["a", "b", "c", "d"]


async def test_one_that_cannot_be_told_holds_up_no_others(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def record(scope: Any, state: dict[str, Any], *more: Any) -> None:
        if state["gateway.request_id"] == "bad":
            raise ValueError("no row")
        told.append(state["gateway.request_id"])

    later = Later(record)
    for name in ("a", "bad", "c"):
        await over(later, name)
    with caplog.at_level(logging.ERROR, "gateway"):
        later.flush()
    assert told == ["a", "c"]
    assert "request bad went unrecorded" in caplog.text


async def test_a_request_that_is_over_while_others_are_told_is_not_forgotten(told: list[str]) -> None:
    def record(scope: Any, state: dict[str, Any], *more: Any) -> None:
        told.append(state["gateway.request_id"])
        if state["gateway.request_id"] == "a":
            later({"type": "http"}, {"gateway.request_id": "meanwhile"}, 1.0, 200, 0.5, None)

    later = Later(record, seconds=0.01)
    await over(later, "a")
    await asyncio.sleep(0.06)
    assert told == ["a", "meanwhile"]
