"""What is known of local models: one parser for ``POST /api/show`` and for the shipped snapshot.

``models.json`` holds the answers of ``/api/show`` for the models that are allowed by default, as far as they
are read here. Nothing is guessed from a name: what a model can do is what Ollama reports
(https://docs.ollama.com/api/show, ``ShowHandler`` in ollama's ``server/routes.go``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ..translate.params import EFFORTS
from ..types import ModelCapabilities, ModelInfo

PROVIDER = "ollama"

_snapshot: dict[str, Any] = orjson.loads(Path(__file__).with_name("models.json").read_bytes())

#: The day the snapshot was taken.
AS_OF: str = _snapshot["as_of"]

#: Architectures whose models take levels and always think, for the versions of Ollama before 0.40,
#: which do not report it (https://docs.ollama.com/capabilities/thinking).
_LEVELLED = frozenset({"gptoss", "gpt-oss"})

#: A model of which nothing is known. Tools and suffixes are passed on, since Ollama itself refuses them
#: clearly; images are not, since some versions ignore them without a word. Room is left for thinking.
_UNKNOWN = ModelCapabilities(
    thinks_by_default=True,
    forced_tool_choice=False,
    system_turns=True,
    images=False,
    pdf=False,
    insert=True,
)


def full_name(model: str) -> str:
    """Ollama's own name of ``model``: a name without a tag means the tag ``latest``."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def unknown(model: str) -> ModelInfo:
    """The model of which nothing is known."""
    return ModelInfo(model, PROVIDER, model, capabilities=_UNKNOWN)


def shipped(model: str) -> ModelInfo:
    """The model as the snapshot has it; :func:`unknown` when it has not."""
    return _SHIPPED.get(full_name(model)) or unknown(model)


def parse_show(model: str, shown: object) -> ModelInfo:
    """``model`` as the answer of ``/api/show`` (parsed JSON) describes it; it need not be complete."""
    found = shown if isinstance(shown, dict) else {}
    details = _section(found, "model_info")
    return ModelInfo(
        id=model,
        provider=PROVIDER,
        display_name=model,
        created=_seconds(found.get("modified_at")),
        max_input_tokens=_context_length(details),
        capabilities=_capabilities(found, details),
    )


def parse_tags(listed: object) -> frozenset[str] | None:
    """The names of the models that ``GET /api/tags`` lists; None when it is no such list."""
    models = listed.get("models") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        return None
    names = (model.get("name") for model in models if isinstance(model, dict))
    return frozenset(name for name in names if isinstance(name, str))


def parse_ps(listed: object) -> dict[str, int]:
    """The models that ``GET /api/ps`` reports as loaded → the context length that they are loaded with."""
    models = listed.get("models") if isinstance(listed, dict) else None
    loaded: dict[str, int] = {}
    for model in models if isinstance(models, list) else ():
        if isinstance(model, dict) and isinstance(name := model.get("name"), str):
            length = _size(model.get("context_length"))
            if length is not None:
                loaded[name] = length
    return loaded


def _capabilities(found: Mapping[str, Any], details: Mapping[str, Any]) -> ModelCapabilities:
    listed = found.get("capabilities")
    if not isinstance(listed, list):  # Ollama before 0.6.4 reports none
        return _UNKNOWN
    thinking, by_default, levels = _thinking(found, details, "thinking" in listed)
    return ModelCapabilities(
        thinking=thinking,
        thinks_by_default=by_default,
        effort=levels,
        forced_tool_choice=False,
        system_turns=True,
        images="vision" in listed,
        pdf=False,
        tools="tools" in listed,
        embeddings="embedding" in listed,
        insert="insert" in listed,
    )


def _thinking(
    found: Mapping[str, Any], details: Mapping[str, Any], capable: bool
) -> tuple[frozenset[str], bool, tuple[str, ...]]:
    """``(enabled and disabled as far as it can be, whether it thinks unasked, levels)``.

    Since 0.40 Ollama reports ``thinking: {"values": [true, false, "low", …], "default": …}``.
    """
    reported = _section(found, "thinking")
    values = reported.get("values")
    if not isinstance(values, list):
        if not capable:
            return frozenset(), False, ()
        if details.get("general.architecture") in _LEVELLED:
            return frozenset(), True, ("low", "medium", "high")
        return frozenset({"enabled", "disabled"}), True, ()
    kinds = {"enabled" if value else "disabled" for value in values if isinstance(value, bool)}
    levels = tuple(level for level in EFFORTS if level in values)
    if "enabled" not in kinds and not levels:
        return frozenset(), False, ()
    return frozenset(kinds), reported.get("default") not in (False, None), levels


def _context_length(details: Mapping[str, Any]) -> int | None:
    return _size(details.get(f"{details.get('general.architecture')}.context_length"))


def _section(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _seconds(value: object) -> int:
    """0 for what is no time of a model: models that run elsewhere have Go's zero, in the year 1."""
    try:
        seconds = int(datetime.fromisoformat(value).timestamp()) if isinstance(value, str) else 0
    except (ValueError, OverflowError):
        return 0
    return seconds if 0 < seconds < _YEAR_10000 else 0


_YEAR_10000 = 253_402_300_800

_SHIPPED = {name: parse_show(name, shown) for name, shown in _snapshot["models"].items()}
