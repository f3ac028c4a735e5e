"""Labels of models: what lists and settings name, and nothing that only a caller has ever said."""

from __future__ import annotations

from typing import Any

from gw.observability.models import UNLISTED, KnownModels
from gw.settings import load
from middleware._counts import MAX_LABEL_VALUES
from middleware._metrics import Metrics
from middleware._state import Completion
from providers.types import ModelInfo
from tests.gw.stub import KEY, StubProvider


def provider(name: str, *models: str) -> StubProvider:
    return StubProvider(name, [ModelInfo(model, name) for model in models])


def known(*providers: Any, **environ: str) -> KnownModels:
    return KnownModels(providers, load({"GATEWAY_API_KEY": KEY, **environ}))


def test_what_a_list_or_the_settings_name_is_a_label() -> None:
    label = known(
        provider("anthropic", "claude-opus-5-5"),
        provider("groq"),
        provider("ollama"),
        DEFAULT_MODEL="claude-of-ours",
        OPENAI_COMPATIBLE_GROQ_BASE_URL="https://api.groq.com/openai/v1",
        OPENAI_COMPATIBLE_GROQ_MODELS="llama-a",
        LOCAL_LLM_MODEL_ALLOWLIST="phi4",
    )
    assert label("anthropic", "claude-opus-5-5", True) == "claude-opus-5-5"
    assert label("anthropic", "claude-of-ours", False) == "claude-of-ours"
    assert label("groq", "llama-a", False) == "llama-a"
    assert label("ollama", "phi4:latest", True) == "phi4:latest"
    assert label("anthropic", "llama-a", True) == "other"  # it is another's


def test_an_invention_is_other_even_where_it_is_answered() -> None:
    label = known(provider("anthropic", "claude-opus-5-5"))
    assert label("anthropic", "claude-invented", True) == "other"
    assert label("nobody", "claude-opus-5-5", True) == "other"


def test_a_list_that_grows_is_looked_at_again() -> None:
    anthropic = provider("anthropic", "claude-opus-5-5")
    now = 0.0
    label = KnownModels([anthropic], load({"GATEWAY_API_KEY": KEY}), clock=lambda: now)
    assert label("anthropic", "claude-new", True) == "other"
    anthropic._models.append(ModelInfo("claude-new", "anthropic"))
    assert label("anthropic", "claude-new", True) == "other"  # not at every request
    now = 5.0
    assert label("anthropic", "claude-new", True) == "claude-new"


def test_an_upstream_without_a_list_is_believed_for_a_few_names_it_has_answered_to() -> None:
    label = known(provider("anthropic", "claude-opus-5-5"), provider("vllm"))
    assert label("vllm", "refused", False) == "other"
    assert label("vllm", "real", True) == "real"
    for number in range(UNLISTED * 2):
        label("vllm", f"invented-{number}", True)
    assert label("vllm", "real", False) == "real"
    assert label("vllm", "one-more", True) == "other"


def test_inventions_take_no_place_from_real_models_however_many_there_are() -> None:
    anthropic = provider("anthropic", *(f"claude-{number}" for number in range(50)))
    metrics = Metrics(model_label=known(anthropic))
    for number in range(MAX_LABEL_VALUES * 2):
        for status in (200, 404, 429, 502):
            metrics.observe(Completion("anthropic", f"claude-invented-{number}"), status, 0.1, None)
    for number in range(50):
        metrics.observe(Completion("anthropic", f"claude-{number}"), 200, 0.1, None)
    seen = {
        sample.labels["model"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "model" in sample.labels
    }
    assert seen == {"other", *(f"claude-{number}" for number in range(50))}
