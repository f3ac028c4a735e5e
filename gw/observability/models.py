"""Which names of models may be labels: those that an upstream's list or the operator has ever named.

A caller can write any name after ``claude-`` or an upstream's prefix, and some servers answer whatever they
are called. Each series costs memory here and in Prometheus for ever, so an invention counts as ``other``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from middleware._counts import OTHER
from providers.base import Provider

from ..settings import Settings

#: Names of an upstream that has no list, which are believed when it has answered to them.
UNLISTED = 20
#: Seconds between two looks at the lists for names that are not known.
LOOK_EVERY = 1.0


class KnownModels:
    """Called with a provider, a model and whether the upstream has just answered under that name: the label.

    ``providers`` are those of the gateway, whose lists grow while it runs; ``settings`` name the rest.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._configured = _configured(settings)
        self._known: dict[str, frozenset[str]] = {}
        self._unlisted: dict[str, set[str]] = {}
        self._clock = clock
        self._look_at = float("-inf")

    def __call__(self, provider: str, model: str, answered: bool) -> str:
        if self._is_known(provider, model):
            return model
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_EVERY
            self._look()
            if self._is_known(provider, model):
                return model
        if self._known.get(provider) or provider not in self._providers:
            return OTHER
        believed = self._unlisted.setdefault(provider, set())
        if answered and len(believed) < UNLISTED:
            believed.add(model)
        return model if model in believed else OTHER

    def _is_known(self, provider: str, model: str) -> bool:
        known = self._known.get(provider, frozenset())
        # Ollama answers with the tag that everybody leaves out.
        return model in known or (model.endswith(":latest") and model.removesuffix(":latest") in known)

    def _look(self) -> None:
        for name, provider in self._providers.items():
            listed = {model.id for model in provider.known()}
            self._known[name] = frozenset(listed | self._configured.get(name, set()))


def _configured(settings: Settings) -> dict[str, set[str]]:
    """Names that the operator has written down, by provider."""
    claude, local = settings.claude, settings.local
    found = {
        "anthropic": {claude.sonnet, claude.opus, claude.haiku},
        "ollama": {local.default_model, *local.allowlist},
    }
    found["simulated"] = found["anthropic"]
    found |= {compatible.name: set(compatible.models) for compatible in settings.compatible}
    return found | {cloud.name: set(cloud.models) for cloud in settings.clouds}
