"""A model name always ends at a provider or in an error that says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gw.dispatch import Dispatcher
from gw.settings import Settings, load
from providers.base import ChatReply
from providers.errors import BadRequest, ModelNotFound, NotConfigured, ProviderError
from providers.types import ChatCall, ModelInfo

SETTINGS = load({"GATEWAY_API_KEY": "a-perfectly-long-test-key"})


class NamedProvider:
    """A provider that is only ever pointed at."""

    name = "anthropic"

    async def chat(self, call: ChatCall) -> ChatReply:
        raise AssertionError("not asked")

    async def models(self) -> list[ModelInfo]:
        return []

    async def aclose(self) -> None: ...


CLAUDE = NamedProvider()


def dispatcher(settings: Settings = SETTINGS, *, configured: bool = True) -> Dispatcher:
    return Dispatcher(
        claude=settings.claude,
        local=settings.local,
        anthropic=CLAUDE if configured else None,
        successors={"claude-sonnet-4-0": "sonnet", "claude-3-opus-20240229": "claude-opus-5"},
    )


def with_local(url: str = "http://127.0.0.1:11434") -> Settings:
    return replace(SETTINGS, local=replace(SETTINGS.local, base_url=url))


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("sonnet", "claude-sonnet-5-5"),
        ("opus", "claude-opus-5-5"),
        ("haiku", "claude-haiku-5-5"),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-of-next-year", "claude-of-next-year"),
        ("anthropic/claude-opus-5", "claude-opus-5"),
    ],
)
def test_aliases_and_claude_ids_reach_claude(asked: str, model: str) -> None:
    target = dispatcher().resolve(asked)
    assert (target.model, target.requested, target.provider.name) == (model, asked, "anthropic")
    assert target.warning is None


@pytest.mark.parametrize(
    ("asked", "model"),
    [("claude-sonnet-4-0", "claude-sonnet-5-5"), ("claude-3-opus-20240229", "claude-opus-5")],
)
def test_a_retired_model_is_answered_by_its_successor_and_says_so(asked: str, model: str) -> None:
    target = dispatcher().resolve(asked)
    assert target.model == model
    assert target.warning == f"{asked} is retired; answered by {model}"


@pytest.mark.parametrize("asked", ["auto", "smartroute"])
def test_routed_names_are_answered_by_the_default_model_until_routing_is_built(asked: str) -> None:
    target = dispatcher().resolve(asked)
    assert target.model == SETTINGS.claude.sonnet
    assert "not built yet" in (target.warning or "")


def test_an_unknown_model_is_404_and_names_what_is_known() -> None:
    with pytest.raises(ModelNotFound, match="sonnet") as caught:
        dispatcher().resolve("gpt-4o")
    assert caught.value.status == 404


@pytest.mark.parametrize("asked", [None, "", 7, ["sonnet"], {"a": 1}])
def test_a_model_that_is_no_name_is_the_callers_mistake(asked: object) -> None:
    with pytest.raises(BadRequest) as caught:
        dispatcher().resolve(asked)
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize(
    ("settings", "configured", "asked", "error", "status", "variable"),
    [
        (SETTINGS, False, "sonnet", NotConfigured, 500, "ANTHROPIC_API_KEY"),
        (SETTINGS, True, "local:llama3.1:8b", NotConfigured, 500, "LOCAL_LLM_BASE_URL"),
        (with_local(), True, "local:made-up", BadRequest, 400, "allow-list: qwen2.5-coder:14b-instruct"),
        (with_local(), True, "local:llama3.1:8b", NotConfigured, 501, "not built yet"),
    ],
)
def test_what_is_not_configured_names_what_is_missing(
    settings: Settings,
    configured: bool,
    asked: str,
    error: type[ProviderError],
    status: int,
    variable: str,
) -> None:
    with pytest.raises(error, match=variable) as caught:
        dispatcher(settings, configured=configured).resolve(asked)
    assert caught.value.status == status
