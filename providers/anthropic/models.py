"""What is known of Claude models: one parser for the shipped snapshot and the live list.

``models.json`` has the shape of ``GET /v1/models``, and two sections beside it: ``rules`` for what that
list does not report, and ``retired`` for ids that are gone (id → the alias whose model succeeds
it). Nothing is ever guessed from parts of a name: ``claude-sonnet-5`` is also the beginning of
``claude-sonnet-5-5``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ..base import Feature
from ..types import ModelCapabilities, ModelInfo

PROVIDER = "anthropic"
#: What Claude can do wherever it answers.
FEATURES: frozenset[Feature] = frozenset(
    (
        "tools",
        "forced_tools",
        "images",
        "documents",
        "schema",
        "json_object",
        "thinking",
        "messages",
        "signed_thinking",
    )
)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DATED = re.compile(r"-\d{8}$")

_snapshot: dict[str, Any] = orjson.loads(Path(__file__).with_name("models.json").read_bytes())

#: The day the snapshot was taken.
AS_OF: str = _snapshot["as_of"]
#: Retired id → alias (``sonnet``, ``opus``, ``haiku``) of its successor.
SUCCESSORS: Mapping[str, str] = _snapshot["retired"]
_RULES: Mapping[str, Mapping[str, bool]] = _snapshot["rules"]


def parse_models(listed: object) -> list[ModelInfo]:
    """The models of one page of ``GET /v1/models`` (parsed JSON), in its order.

    Entries that are no models are left out; what an entry does not say is taken to be unsupported.
    """
    data = listed.get("data") if isinstance(listed, dict) else None
    entries = data if isinstance(data, list) else []
    return [
        _model(entry) for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]


def snapshot() -> list[ModelInfo]:
    """The models that this release knows, newest first."""
    return parse_models(_snapshot)


class ModelTable:
    """Looks models up by id, or by the id without its date."""

    __slots__ = ("_known",)

    def __init__(self, models: Iterable[ModelInfo] | None = None) -> None:
        self._known = {model.id: model for model in (snapshot() if models is None else models)}

    def update(self, models: Iterable[ModelInfo]) -> None:
        """Put a newer list over what is known."""
        self._known.update((model.id, model) for model in models)

    def get(self, model_id: str) -> ModelInfo:
        """The model; for an id nobody has heard of, one that is asked for nothing special."""
        found = self._known.get(model_id) or self._known.get(_DATED.sub("", model_id))
        return found if found is not None else ModelInfo(model_id, PROVIDER, capabilities=_UNKNOWN)


#: A model of which nothing is known: no parameter is sent that some model refuses, and room is left
#: for thinking, since every model since Claude Opus 5 thinks unless it is told not to.
_UNKNOWN = ModelCapabilities(
    thinks_by_default=True,
    sampling=False,
    forced_tool_choice=False,
    prefill=False,
    structured_outputs=False,
)


def _model(entry: dict[str, Any]) -> ModelInfo:
    model_id: str = entry["id"]
    return ModelInfo(
        id=model_id,
        provider=PROVIDER,
        display_name=_text(entry.get("display_name")) or model_id,
        created=_seconds(entry.get("created_at")),
        max_input_tokens=_size(entry.get("max_input_tokens")),
        max_output_tokens=_size(entry.get("max_tokens")),
        lifecycle=_text(entry.get("lifecycle")) or "active",
        retires_at=_text(entry.get("retires_at")),
        capabilities=_capabilities(model_id, entry.get("capabilities")),
    )


def _capabilities(model_id: str, value: object) -> ModelCapabilities:
    found = value if isinstance(value, dict) else {}
    thinking = _section(_section(found, "thinking"), "types")
    types = frozenset(kind for kind in thinking if _supported(thinking, kind))
    effort = _section(found, "effort")
    rules = _RULES.get(model_id) or _RULES.get(_DATED.sub("", model_id)) or {}
    return ModelCapabilities(
        thinking=types,
        # Models that still take a budget do not think unless asked; those that came after do.
        thinks_by_default=rules.get("thinks_by_default", "enabled" not in types),
        effort=tuple(level for level in _EFFORTS if _supported(effort, level)),
        sampling=False,  # refused on every model by the API version that is spoken here
        forced_tool_choice=rules.get("forced_tool_choice", False),
        prefill=rules.get("prefill", False),
        system_turns=rules.get("system_turns", False),
        structured_outputs=_supported(found, "structured_outputs"),
        images=_supported(found, "image_input"),
        pdf=_supported(found, "pdf_input"),
    )


def _section(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _supported(holder: Mapping[str, Any], name: str) -> bool:
    return _section(holder, name).get("supported") is True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _seconds(value: object) -> int:
    try:
        return int(datetime.fromisoformat(value).timestamp()) if isinstance(value, str) else 0
    except ValueError:
        return 0
