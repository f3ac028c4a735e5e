"""One simulated upstream and one gateway in front of it for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .gateway import ADMIN_KEY, KEY, Gateway, running_gateway
from .upstream import Upstream, running_upstream


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The simulated upstream, with nothing scripted and nothing on record."""
    shared_upstream.reset()
    return shared_upstream


@pytest.fixture(scope="session")
def gateway(shared_upstream: Upstream) -> Iterator[Gateway]:
    with running_gateway(**settings_for(shared_upstream)) as running:
        yield running


@pytest.fixture(scope="session")
def all_providers(shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with Claude, local models and an OpenAI-compatible upstream called ``sim``."""
    with running_gateway(**settings_for(shared_upstream, **others_at(shared_upstream))) as running:
        yield running


def others_at(upstream: Upstream) -> dict[str, str]:
    return {
        "LOCAL_LLM_BASE_URL": upstream.base_url,
        "LOCAL_LLM_MODEL_ALLOWLIST": (
            "llama3.1:8b,qwen3:8b,llama3.2:latest,codellama:13b,nomic-embed-text,deepseek-coder-v2:16b,"
            "hf.co/unsloth/Qwen3-4B-GGUF:Q4_K_M"
        ),
        "OPENAI_COMPATIBLE_SIM_BASE_URL": f"{upstream.base_url}/openai/v1",
        "OPENAI_COMPATIBLE_SIM_API_KEY": "sk-e2e-compatible-canary-0123456789",
    }


def settings_for(upstream: Upstream, **more: str) -> dict[str, str]:
    return {
        "GATEWAY_API_KEY": KEY,
        "ADMIN_API_KEY": ADMIN_KEY,
        "ANTHROPIC_API_KEY": "sk-ant-e2e-upstream-canary-0123456789",
        "ANTHROPIC_BASE_URL": upstream.base_url,
        "RATE_LIMIT_RPM": "1000000",
        **more,
    }
