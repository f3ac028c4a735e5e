"""One gateway for all clients, each client installed when its first test wants it, each run shared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import others_at, settings_for
from tests.e2e.gateway import running_gateway
from tests.e2e.upstream import Upstream, running_upstream

from .catalog import CLIENTS
from .client import Client
from .install import Installer, NotInstalledError, Package
from .relay import dead_end
from .scenes import Scene
from .stage import Run, Stage

#: Seconds: a test may wait for the largest of the downloads.
_TIMEOUT = 900

_chosen: list[Package] = []


#: What the installer has to say, until the terminal is free: during a test its output is captured.
_news: deque[str] = deque()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clients: runs real programs of npm and PyPI, which it installs first")


@pytest.hookimpl(trylast=True)  # what was deselected is not installed
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/clients/" in item.path.as_posix():
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(_TIMEOUT))
        client = _client_of(item)
        if client is not None and client.package is not None and client.package not in _chosen:
            _chosen.append(client.package)
    # Client by client: the first are tested while the last ones are installed.
    ours = [at for at, item in enumerate(items) if _client_of(item) is not None]
    ordered = sorted((items[at] for at in ours), key=lambda item: CLIENTS.index(_client_of(item)))
    for at, item in zip(ours, ordered, strict=True):
        items[at] = item


def _client_of(item: pytest.Item) -> Client | None:
    """The client that a test is run with."""
    callspec = getattr(item, "callspec", None)
    client = callspec.params.get("client") if callspec is not None else None
    return client if isinstance(client, Client) else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport() -> None:
    """Between tests, what has been installed meanwhile is told."""
    while _news:
        print(f"\nclients: {_news.popleft()}", flush=True)


@pytest.fixture(scope="session")
def installer() -> Iterator[Installer]:
    """Brings the packages of all tests that were chosen, several at a time."""
    installer = Installer(_news.append)
    installer.start(_chosen)
    yield installer
    installer.close()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with (
        running_upstream() as upstream,
        dead_end() as proxy,
        running_gateway(**settings_for(upstream, **others_at(upstream))) as gateway,
    ):
        wait_for_models(upstream)
        yield Stage(gateway, upstream, proxy)


def wait_for_models(upstream: Upstream) -> None:
    """The gateway asks for the model lists when it starts; that is no client's doing."""
    upstream.wait_until("/openai/v1/models", bool)


@pytest.fixture(scope="session")
def folder_of(installer: Installer) -> Callable[[Client], Path]:
    """Where a client is installed; a visible skip where it cannot be."""

    def folder(client: Client) -> Path:
        if client.package is None:
            return Path(__file__).parent
        try:
            return installer.folder(client.package)
        except NotInstalledError as error:
            pytest.skip(f"{client.name} cannot be installed here: {error}")

    return folder


@pytest.fixture(scope="session")
def played(stage: Stage, folder_of: Callable[[Client], Path]) -> Callable[[Client, Scene], Run]:
    """A run of a scene by a client; the same one for every test that looks at it."""
    runs: dict[tuple[Client, Scene], Run] = {}

    def play(client: Client, scene: Scene) -> Run:
        known = runs.get((client, scene))
        if known is None:
            known = runs[client, scene] = stage.run(client, folder_of(client), scene)
        return known

    return play


def clients() -> pytest.MarkDecorator:
    """Runs a test with every client."""
    return pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.slug)
