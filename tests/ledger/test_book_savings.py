"""A row's money without the gateway: what the request as its client wrote it would have cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gw.ledger.row import Row
from gw.prices import PriceBook, Rates
from middleware._state import Saving, add_saving
from providers.types import Usage
from tests.gw.stub import Front, MemoryJournal, front

from .upstream import Upstream

pytestmark = pytest.mark.anyio

#: Cheaper up to a hundred thousand tokens than above them.
MODEL = "claude-haiku-5-5"
USED = Usage(90_000, 2_000, 4_000, 500, 50, 30, web_searches=2)
COST = 90_000 * 100 + 2_000 * 500 + 4_000 * 10 + 500 * 125 + 50 * 200 + 2 * 10_000_000


@asynccontextmanager
async def gateway(journal: MemoryJournal, savings: list[Saving], usage: Usage = USED) -> AsyncIterator[Front]:
    upstream = Upstream()
    upstream.usage = usage
    async with front(anthropic=upstream, journal=journal, prices=PriceBook()) as found:
        below = found.app

        async def saves(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {}
            for saving in savings:
                add_saving(scope["state"], saving)
            await below(scope, receive, send)

        found.app = saves
        yield found


async def row_of(
    savings: list[Saving], usage: Usage = USED, dialect: str = "/v1/chat/completions", **more: Any
) -> Row:
    journal = MemoryJournal()
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, **more}
    async with gateway(journal, savings, usage) as found:
        assert (await found.post(dialect, body)).status == 200
    (row,) = journal.rows
    return row


def nano_of(row: Row) -> Mapping[str, int | None]:
    return {layer: nano for layer, _, nano in row.savings}


@pytest.mark.parametrize("dialect", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_money_without_the_gateway_is_that_of_the_tier_it_would_have_been(
    dialect: str, stream: bool
) -> None:
    layers = [Saving("limits", 24_000, 6_000), Saving("dedup", 13_800, 3_450), Saving("limits", 4, 1)]
    row = await row_of(layers, dialect=dialect, stream=stream)
    assert row.cost_nano == COST
    prompt = USED.prompt_tokens
    read = 90_000 * 500 + 4_000 * 50 + 500 * 625 + 50 * 1_000
    whole = round(read * (prompt + 9_451) / prompt) + 2_000 * 2_500 + 2 * 10_000_000
    assert row.counterfactual_nano == whole
    assert {layer: tokens for layer, tokens, _ in row.savings} == {"limits": 6_001, "dedup": 3_450}
    assert sum(nano or 0 for nano in nano_of(row).values()) == whole - COST


async def test_an_estimated_prompt_is_not_lifted_into_another_tier() -> None:
    layers = [Saving("limits", 400_000, 100_000)]
    known = await row_of(layers)
    guessed = await row_of(layers, replace(USED, estimated=frozenset({"input", "output"})))
    assert (known.cost_nano, guessed.cost_nano) == (COST, COST)
    (of_known,), (of_guessed,) = nano_of(known).values(), nano_of(guessed).values()
    assert of_known is not None
    assert of_guessed is not None
    assert of_known > 4 * of_guessed > 0
    assert guessed.counterfactual_nano == COST + of_guessed


async def test_what_layers_added_is_no_saving_of_theirs() -> None:
    row = await row_of([Saving("dedup", -400, -100), Saving("limits", 400, 100)])
    assert [tuple(saved)[:2] for saved in row.savings] == [("dedup", 0), ("limits", 100)]
    assert nano_of(row)["dedup"] == 0


async def test_without_savings_nothing_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> dict[str, int]:
        raise AssertionError("nothing was saved")

    monkeypatch.setattr(Rates, "saved", never)
    row = await row_of([])
    assert (row.cost_nano, row.counterfactual_nano, row.savings) == (COST, COST, [])
