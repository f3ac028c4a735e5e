"""A model name → the provider that answers it and the upstream's name of the model.

Names (the outside contract): ``sonnet`` / ``opus`` / ``haiku`` are configured aliases; any
``claude-*`` id passes through; a retired id is answered by its successor; ``local:<model>`` goes to
the local server; ``auto`` and ``smartroute`` are answered by the default model until routing is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from providers.base import Provider
from providers.errors import BadRequest, ModelNotFound, NotConfigured

from .settings import Claude, Local

ROUTED_NAMES = ("auto", "smartroute")
#: How clients spell the family: bare, and as OpenRouter and Bedrock prefix it.
_FAMILY_PREFIXES = ("claude-", "anthropic/claude-", "anthropic.claude-")


@dataclass(slots=True, frozen=True)
class Target:
    """Where one request goes. ``warning`` is the text of a ``Warning`` header, if there is one."""

    provider: Provider
    model: str
    requested: str
    source: Literal["local", "custom"] = "custom"
    warning: str | None = None


class Dispatcher:
    """Resolves model names. Stateless but for what it was built with."""

    def __init__(
        self,
        *,
        claude: Claude,
        local: Local,
        anthropic: Provider | None,
        successors: Mapping[str, str],
    ) -> None:
        self.aliases: dict[str, str] = {
            "sonnet": claude.sonnet,
            "opus": claude.opus,
            "haiku": claude.haiku,
        }
        self._local = local
        self._anthropic = anthropic
        self._successors = successors
        self._default = claude.sonnet

    def resolve(self, requested: object) -> Target:
        """The target for ``requested``.

        Raises ``BadRequest`` (not a string, a local model outside the allow-list),
        ``ModelNotFound`` and ``NotConfigured`` (naming the variable to set).
        """
        if not isinstance(requested, str) or not requested:
            raise BadRequest(
                "`model` must be a non-empty string, for example 'sonnet'.",
                param="model",
                code="invalid_type" if requested is not None else "missing_required_parameter",
            )
        if requested == "local" or requested.startswith("local:"):
            return self._resolve_local(requested)
        name, warning = requested, None
        if requested in self.aliases:
            name = self.aliases[requested]
        elif requested in ROUTED_NAMES:
            name = self._default
            warning = "routing is not built yet: answered by the default model"
        elif requested.startswith(_FAMILY_PREFIXES):
            name = requested[requested.index("claude-") :]
        else:
            raise ModelNotFound(
                f"The model {requested[:100]!r} does not exist here. Known names: "
                f"{', '.join(self.aliases)}, any claude-* id, local:<model>. GET /v1/models lists them.",
                param="model",
            )
        if (successor := self._successors.get(name)) is not None:
            successor = self.aliases.get(successor, successor)
            warning = f"{name} is retired; answered by {successor}"
            name = successor
        if self._anthropic is None:
            raise NotConfigured(
                "Claude is not configured on this gateway: the operator has to set ANTHROPIC_API_KEY.",
                provider="anthropic",
            )
        return Target(self._anthropic, name, requested, "custom", warning)

    def _resolve_local(self, requested: str) -> Target:
        name = requested.partition(":")[2] or self._local.default_model
        if self._local.base_url is None:
            raise NotConfigured(
                "Local models are not configured here: the operator has to set LOCAL_LLM_BASE_URL.",
                provider="local",
            )
        if name not in self._local.allowlist:
            raise BadRequest(
                f"The local model {name[:100]!r} is not in the allow-list: "
                f"{', '.join(self._local.allowlist)}.",
                provider="local",
                param="model",
                code="model_not_allowed",
            )
        raise NotConfigured(
            "Local models are accepted but not built yet in this version; LOCAL_LLM_BASE_URL has no effect.",
            provider="local",
            status=501,
            code="not_built_yet",
        )
