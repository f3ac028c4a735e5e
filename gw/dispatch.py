"""A model name → the provider that answers it and the upstream's name of the model.

Names (the outside contract): ``sonnet`` / ``opus`` / ``haiku`` are configured aliases; any
``claude-*`` id passes through; a retired id is answered by its successor; ``local:<model>`` goes to
the local server and ``<name>:<model>`` to the OpenAI-compatible upstream of that name; ``auto`` and
``smartroute`` are answered by the default model until routing is built. A request may also say
``provider`` beside ``model``: then the model's name needs no prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from providers.base import Provider, SpeaksCompletions, SpeaksEmbeddings
from providers.errors import BadRequest, ModelNotFound, NotConfigured, ProviderError
from providers.types import MAX_MODEL_NAME

from .settings import Claude, Local

ROUTED_NAMES = ("auto", "smartroute")
#: How clients spell the family: bare, and as OpenRouter and Bedrock prefix it.
_FAMILY_PREFIXES = ("claude-", "anthropic/claude-", "anthropic.claude-")
#: Names of ``provider`` in a request -> prefix of a model name.
_PROVIDER_PREFIXES = {"local": "local", "ollama": "local", "anthropic": "", "claude": ""}


@dataclass(slots=True, frozen=True)
class Target:
    """Where one request goes. ``warning`` is the text of a ``Warning`` header, if there is one."""

    provider: Provider
    model: str
    requested: str
    source: Literal["local", "custom"] = "custom"
    warning: str | None = None


@dataclass(slots=True, frozen=True)
class Prefixed:
    """An upstream whose models are asked for as ``<prefix>:<model>``; ``models`` empty: all of them."""

    provider: Provider
    models: tuple[str, ...] = ()


class Dispatcher:
    """Resolves model names. Stateless but for what it was built with.

    ``anthropic`` and ``ollama`` are None when they are not configured; ``others`` maps the prefixes of
    further upstreams.
    """

    def __init__(
        self,
        *,
        claude: Claude,
        local: Local,
        anthropic: Provider | None,
        ollama: Provider | None,
        others: Mapping[str, Prefixed],
        successors: Mapping[str, str],
    ) -> None:
        self._claude = {"sonnet": claude.sonnet, "opus": claude.opus, "haiku": claude.haiku}
        self._local = local
        self._anthropic = anthropic
        self._ollama = ollama
        self._others = others
        self._successors = successors
        #: Short names of models -> the full ones.
        self.aliases: dict[str, str] = {
            **self._claude,
            **({} if ollama is None else {"local": f"local:{local.default_model}"}),
        }
        #: The model of a request that leaves the choice to the gateway: the best that is configured.
        self.default = self._best()

    def _best(self) -> str:
        if self._anthropic is None:
            if self._ollama is not None:
                return "local"
            for prefix, other in self._others.items():
                if other.models:
                    return f"{prefix}:{other.models[0]}"
        return "sonnet"

    def embedders(self) -> str:
        """For errors: which models turn texts into vectors."""
        names = self._able(SpeaksEmbeddings)
        if not names:
            return "No provider with embeddings is configured: the operator can set LOCAL_LLM_BASE_URL."
        return f"Embeddings come from {names}."

    def completers(self) -> str:
        """For errors: which models go on with a text that is no chat."""
        names = self._able(SpeaksCompletions)
        if not names:
            return "No provider that completes texts is configured: the operator can set LOCAL_LLM_BASE_URL."
        return f"Texts are completed by {names}."

    def _able(self, protocol: type) -> str:
        """Names of models whose providers speak ``protocol``; "" when there are none."""
        names = [
            f"{prefix}:<model>" for prefix, o in self._others.items() if isinstance(o.provider, protocol)
        ]
        if isinstance(self._ollama, protocol):
            names.insert(0, "local:<model>")
        return " or ".join(names)

    def resolve(self, requested: object, provider: object = None) -> Target:
        """The target for the ``model`` and ``provider`` of a request; a ``provider`` that is no string
        (OpenRouter's is an object) is the upstream's business.

        Raises ``BadRequest`` (not a string, a model outside an allow-list), ``ModelNotFound`` and
        ``NotConfigured`` (naming the variable to set).
        """
        if isinstance(provider, str):
            requested = self._qualified(provider, requested)
        if not isinstance(requested, str) or not requested:
            raise BadRequest(
                "`model` must be a non-empty string, for example 'sonnet'.",
                param="model",
                code="invalid_type" if requested is not None else "missing_required_parameter",
            )
        if len(requested) > MAX_MODEL_NAME or not requested.isprintable():
            raise BadRequest(
                f"`model` must be at most {MAX_MODEL_NAME} printable characters.",
                param="model",
                code="invalid_value",
            )
        if self._is_claude(requested):
            return self._resolve_claude(requested)
        prefix, _, model = requested.partition(":")
        if prefix == "local":
            return self._resolve_local(requested, model)
        if (other := self._others.get(prefix)) is not None:
            return _resolve_other(other, prefix, requested, model)
        if requested in ROUTED_NAMES:
            chosen = self.resolve(self.default)
            return replace(
                chosen,
                requested=requested,
                warning="routing is not built yet: answered by the default model",
            )
        raise ModelNotFound(
            f"The model {requested[:100]!r} does not exist here. Known names: {self._names()}. "
            "GET /v1/models lists them.",
            param="model",
        )

    def canonical(self, requested: object, provider: object = None) -> str | None:
        """The one name of the model that would answer (``claude-…``, ``local:…``, ``<name>:…``), by which
        rules about models are kept; None where none would."""
        try:
            target = self.resolve(requested, provider)
        except ProviderError:
            return None
        if target.provider is self._anthropic:
            return target.model
        if target.provider is self._ollama:
            return f"local:{target.model}"
        return next(f"{p}:{target.model}" for p, o in self._others.items() if o.provider is target.provider)

    def _instead(self) -> str:
        """What there is in place of Claude."""
        prefixes = [*(() if self._ollama is None else ("local",)), *self._others]
        return f" Configured: {', '.join(f'{p}:<model>' for p in prefixes)}." if prefixes else ""

    def _is_claude(self, name: str) -> bool:
        return name in self._claude or name.startswith(_FAMILY_PREFIXES)

    def _names(self) -> str:
        others = "".join(f", {prefix}:<model>" for prefix in self._others)
        return f"{', '.join(self._claude)}, any claude-* id, local:<model>{others}"

    def _qualified(self, provider: str, model: object) -> object:
        """``model`` with the prefix of ``provider``."""
        prefix = provider if provider in self._others else _PROVIDER_PREFIXES.get(provider)
        if prefix is None:
            known = ", ".join(("anthropic", "local", *self._others))
            raise BadRequest(
                f"There is no provider {provider[:100]!r} here. Known names: {known}.", param="provider"
            )
        if not prefix:
            if isinstance(model, str) and model and not self._is_claude(model):
                raise ModelNotFound(
                    f"The provider {provider!r} has no model {model[:100]!r}: "
                    f"use {', '.join(self._claude)} or a claude-* id.",
                    param="model",
                )
            return "sonnet" if model is None else model
        if model is None:
            return prefix
        if not isinstance(model, str) or model == prefix or model.startswith(f"{prefix}:"):
            return model
        return f"{prefix}:{model}"

    def _resolve_claude(self, requested: str) -> Target:
        name, warning = self._claude.get(requested), None
        if name is None:
            name = requested[requested.index("claude-") :]
        if (successor := self._successors.get(name)) is not None:
            successor = self._claude.get(successor, successor)
            warning = f"{name} is retired; answered by {successor}"
            name = successor
        if self._anthropic is None:
            raise NotConfigured(
                "Claude is not configured on this gateway: the operator has to set ANTHROPIC_API_KEY."
                + self._instead(),
                provider="anthropic",
            )
        return Target(self._anthropic, name, requested, "custom", warning)

    def _resolve_local(self, requested: str, model: str) -> Target:
        if self._ollama is None:
            raise NotConfigured(
                "Local models are not configured here: the operator has to set LOCAL_LLM_BASE_URL.",
                provider="ollama",
            )
        name = _listed(model or self._local.default_model, self._local.allowlist)
        if name is None:
            raise _not_allowed("ollama", f"local model {model[:100]!r}", self._local.allowlist)
        return Target(self._ollama, name, requested, "local")


def _resolve_other(other: Prefixed, prefix: str, requested: str, model: str) -> Target:
    if not model:
        raise BadRequest(f"`model` names no model of {prefix}: use {prefix}:<model>.", param="model")
    if other.models and model not in other.models:
        raise _not_allowed(other.provider.name, f"model {model[:100]!r} of {prefix}", other.models)
    return Target(other.provider, model, requested)


def _listed(model: str, allowed: tuple[str, ...]) -> str | None:
    """``model`` as the allow-list spells it, or None. Without a tag Ollama reads ``:latest``
    (github.com/ollama/ollama types/model/name.go)."""
    if model in allowed:
        return model
    other = model.removesuffix(":latest") if model.endswith(":latest") else f"{model}:latest"
    return other if other in allowed else None


def _not_allowed(provider: str, what: str, allowed: tuple[str, ...]) -> BadRequest:
    return BadRequest(
        f"The {what} is not in the allow-list: {', '.join(allowed)}.",
        provider=provider,
        param="model",
        code="model_not_allowed",
    )
