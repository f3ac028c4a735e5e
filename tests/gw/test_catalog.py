"""The model list: fresh when the upstream answers, the last known one when it does not."""

from __future__ import annotations

import anyio
import pytest

from gw import catalog
from gw.catalog import Catalog
from providers.base import ChatReply
from providers.errors import Unreachable
from providers.types import ChatCall, ModelInfo

pytestmark = pytest.mark.anyio


class Listing:
    """A provider that lists ``answers`` one after the other (None: unreachable)."""

    name = "anthropic"

    def __init__(self, *answers: list[str] | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def models(self) -> list[ModelInfo]:
        self.asked += 1
        await anyio.sleep(0)
        listed = self.answers.pop(0)
        if listed is None:
            raise Unreachable("away")
        return [ModelInfo(name, self.name, display_name=name.title()) for name in listed]

    async def chat(self, call: ChatCall) -> ChatReply:
        raise AssertionError("not asked")

    async def aclose(self) -> None: ...


def offering(provider: Listing) -> Catalog:
    snapshot = [ModelInfo("shipped", "anthropic"), ModelInfo("gone", "anthropic", lifecycle="retired")]
    return Catalog([provider], snapshots={"anthropic": snapshot}, aliases={"sonnet": "b", "best": "shipped"})


async def test_the_upstreams_own_list_comes_behind_the_aliases_it_knows() -> None:
    assert [m.id for m in await offering(Listing(["a", "b"])).models()] == ["sonnet", "a", "b"]


async def test_an_unreachable_upstream_leaves_the_snapshot_without_retired_models() -> None:
    assert [m.id for m in await offering(Listing(None)).models()] == ["best", "shipped"]


async def test_concurrent_callers_share_one_look_up_and_a_fresh_list_is_kept() -> None:
    provider = Listing(["a"])
    offered = offering(provider)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(offered.models)
    await offered.models()
    assert provider.asked == 1


async def test_a_caller_who_leaves_does_not_take_the_list_along() -> None:
    provider = Listing(["a"])
    offered = offering(provider)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await offered.models()
    await anyio.sleep(0.01)
    assert [m.id for m in await offered.models()] == ["a"]
    assert provider.asked == 1


async def test_a_stale_list_is_asked_for_again_and_outlives_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(catalog, "RETRY_SECONDS", 0.0)
    offered = offering(Listing(["a"], ["b"], None))
    assert [m.id for m in await offered.models()] == ["a"]
    assert [m.id for m in await offered.models()] == ["sonnet", "b"]
    assert [m.id for m in await offered.models()] == ["sonnet", "b"]
