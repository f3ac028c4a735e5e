"""The models that the simulation plays, with the behaviour that matters to a client.

Ids, lifecycles and thinking types follow the anthropic SDK's model literal and the model pages
(https://platform.claude.com/docs/en/about-claude/models/overview,
https://platform.claude.com/docs/en/build-with-claude/thinking) as of November 2026. Sizes are tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ..types import ModelCapabilities, ModelInfo

ForcedTools = Literal["ok", "refused", "not_while_enabled"]

_TO_HIGH = ("low", "medium", "high")
_TO_MAX = (*_TO_HIGH, "max")
_ALL = (*_TO_HIGH, "xhigh", "max")


@dataclass(slots=True, frozen=True)
class SimulatedModel:
    """One model. ``bound_thinking``: a replayed thinking block must follow the very same prefix."""

    id: str
    display_name: str
    line: str
    created_at: str
    max_tokens: int = 128_000
    max_input_tokens: int = 1_000_000
    lifecycle: Literal["active", "deprecated", "retired"] = "active"
    deprecated_at: str | None = None
    retires_at: str | None = None
    thinking: frozenset[str] = frozenset({"adaptive"})
    thinks_by_default: bool = True
    #: Highest effort level at which thinking may be switched off; None: any level.
    off_up_to: str | None = None
    effort: tuple[str, ...] = _ALL
    sampling: bool = False
    forced_tools: ForcedTools = "ok"
    prefill: bool = False
    system_turns: bool = True
    bound_thinking: bool = False

    def wire(self) -> dict[str, Any]:
        """The object of ``GET /v1/models/{id}`` (anthropic SDK ``ModelInfo``)."""
        yes, no = {"supported": True}, {"supported": False}
        levels = {level: yes if level in self.effort else no for level in _ALL}
        types = ("adaptive", "between_tools", "disabled", "enabled")
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "line": self.line,
            "created_at": self.created_at,
            "lifecycle": self.lifecycle,
            "deprecated_at": self.deprecated_at,
            "retires_at": self.retires_at,
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": yes,
                "citations": yes,
                "code_execution": yes,
                "context_management": {
                    "supported": True,
                    "clear_thinking_20251015": yes,
                    "clear_tool_uses_20250919": yes,
                    "compact_20260112": yes if self.max_input_tokens > 200_000 else no,
                },
                "effort": {"supported": bool(self.effort), **levels},
                "image_input": yes,
                "pdf_input": yes,
                "server_tools": {"supported": True, "code_execution": yes, "web_search": yes},
                "structured_outputs": yes,
                "thinking": {
                    "supported": True,
                    "types": {kind: yes if kind in self.thinking else no for kind in types},
                },
            },
        }

    def info(self, provider: str) -> ModelInfo:
        """The same model as the gateway's own :class:`~providers.types.ModelInfo`."""
        return ModelInfo(
            id=self.id,
            provider=provider,
            display_name=self.display_name,
            created=int(datetime.fromisoformat(self.created_at).timestamp()),
            max_input_tokens=self.max_input_tokens,
            max_output_tokens=self.max_tokens,
            lifecycle=self.lifecycle,
            retires_at=self.retires_at,
            capabilities=ModelCapabilities(
                thinking=self.thinking,
                thinks_by_default=self.thinks_by_default,
                effort=self.effort,
                sampling=False,  # the API version that this project speaks refuses it everywhere
                forced_tool_choice=self.forced_tools != "refused",
                prefill=self.prefill,
                system_turns=self.system_turns,
            ),
        )


_OFF = frozenset({"adaptive", "disabled"})
_BUDGET = frozenset({"enabled", "disabled"})


def _model(model_id: str, name: str, created: str, **behaviour: Any) -> SimulatedModel:
    """A row; the line is the second word of the display name (``Claude Opus 5``)."""
    return SimulatedModel(model_id, name, name.split()[1].lower(), f"{created}T00:00:00Z", **behaviour)


#: What every model up to 4.6 / up to 4.5 has in common.
_CLASSIC: dict[str, Any] = {
    "thinks_by_default": False,
    "sampling": True,
    "forced_tools": "not_while_enabled",
    "system_turns": False,
}
_OLDEST: dict[str, Any] = {
    **_CLASSIC,
    "thinking": _BUDGET,
    "max_tokens": 64_000,
    "max_input_tokens": 200_000,
    "prefill": True,
}

_ROWS = (
    _model("claude-fable-5-2", "Claude Fable 5.2", "2026-10-07", bound_thinking=True),
    _model(
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        "2026-10-01",
        thinking=_OFF,
        off_up_to="high",
        bound_thinking=True,
    ),
    _model(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        "2026-09-22",
        thinking=frozenset({"adaptive", "between_tools"}),
        forced_tools="refused",
        bound_thinking=True,
    ),
    _model("claude-opus-5-5", "Claude Opus 5.5", "2026-09-08", forced_tools="refused", bound_thinking=True),
    _model("claude-fable-5", "Claude Fable 5", "2026-06-16"),
    _model("claude-sonnet-5", "Claude Sonnet 5", "2026-06-02", thinking=_OFF, system_turns=False),
    _model("claude-opus-5", "Claude Opus 5", "2026-05-19", thinking=_OFF, off_up_to="high"),
    _model("claude-opus-4-8", "Claude Opus 4.8", "2026-04-28", thinking=_OFF, thinks_by_default=False),
    _model(
        "claude-opus-4-7",
        "Claude Opus 4.7",
        "2026-04-14",
        thinking=_OFF,
        thinks_by_default=False,
        system_turns=False,
    ),
    _model(
        "claude-sonnet-4-6",
        "Claude Sonnet 4.6",
        "2026-02-17",
        **_CLASSIC,
        thinking=_OFF | _BUDGET,
        effort=_TO_MAX,
        max_tokens=64_000,
    ),
    _model(
        "claude-opus-4-6",
        "Claude Opus 4.6",
        "2026-02-04",
        **_CLASSIC,
        thinking=_OFF | _BUDGET,
        effort=_TO_MAX,
    ),
    _model("claude-opus-4-5", "Claude Opus 4.5", "2025-11-01", **_OLDEST, effort=_TO_HIGH),
    _model("claude-haiku-4-5", "Claude Haiku 4.5", "2025-10-01", **_OLDEST, effort=()),
    _model(
        "claude-sonnet-4-5",
        "Claude Sonnet 4.5",
        "2025-09-29",
        **_OLDEST,
        effort=(),
        lifecycle="deprecated",
        deprecated_at="2026-05-30T00:00:00Z",
        retires_at="2026-11-30T00:00:00Z",
    ),
)

#: By id, newest first as the API lists them.
MODELS: dict[str, SimulatedModel] = {row.id: row for row in _ROWS}

#: Dated ids are names of the same model.
ALIASES: dict[str, str] = {
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-opus-4-5-20251101": "claude-opus-4-5",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
}


def find(model_id: str) -> SimulatedModel | None:
    """The model of that id or dated id; None when unknown or retired."""
    return MODELS.get(ALIASES.get(model_id, model_id))
