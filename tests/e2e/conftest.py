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


def settings_for(upstream: Upstream, **more: str) -> dict[str, str]:
    return {
        "GATEWAY_API_KEY": KEY,
        "ADMIN_API_KEY": ADMIN_KEY,
        "ANTHROPIC_API_KEY": "sk-ant-e2e-upstream-canary-0123456789",
        "ANTHROPIC_BASE_URL": upstream.base_url,
        "RATE_LIMIT_RPM": "1000000",
        **more,
    }
