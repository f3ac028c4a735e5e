"""Upstreams of which there may be any number or none: each is on where its first variable is set."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ._reader import Reader

#: ``OPENAI_COMPATIBLE_LM_STUDIO_BASE_URL`` -> ``lm_studio``.
_FAMILY = "OPENAI_COMPATIBLE_"
_COMPATIBLE = re.compile(_FAMILY + r"([A-Z0-9]+(?:_[A-Z0-9]+)*?)_(BASE_URL|API_KEY|MODELS)")
#: Names of models and providers that an OpenAI-compatible upstream cannot take.
RESERVED_NAMES = frozenset(
    {"anthropic", "auto", "bedrock", "claude", "haiku", "local", "ollama", "opus", "simulated"}
    | {"smartroute", "sonnet", "vertex"}
)


@dataclass(slots=True, frozen=True)
class Compatible:
    """One OpenAI-compatible upstream. ``models`` is its allow-list, empty for all of its models."""

    name: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Cloud:
    """Claude on Bedrock (``name`` "bedrock") or Vertex AI ("vertex", with ``project``). Without ``api_key``
    the cloud's own library finds the credentials."""

    name: str
    region: str
    models: tuple[str, ...]
    base_url: str | None
    project: str | None = None
    api_key: str | None = field(default=None, repr=False)


def read_compatible(r: Reader) -> tuple[Compatible, ...]:
    """Every ``OPENAI_COMPATIBLE_<NAME>_BASE_URL`` with its key and models, sorted by name."""
    found: list[Compatible] = []
    for variable in sorted(name for name in r.environ if name.startswith(_FAMILY) and r.given(name)):
        match = _COMPATIBLE.fullmatch(variable)
        if match is None:
            r.problems.append(
                f"{variable} is not a setting: write {_FAMILY}<NAME>_BASE_URL, …_API_KEY or …_MODELS, with a "
                "<NAME> of capital letters and digits, joined by single underscores."
            )
            continue
        prefix, name = variable[: match.start(2)], match[1].lower()
        if match[2] != "BASE_URL":
            if not r.given(f"{prefix}BASE_URL"):
                r.problems.append(f"{variable} is set, but {prefix}BASE_URL is not: set it, or remove both.")
            continue
        if name in RESERVED_NAMES:
            r.problems.append(f"{variable}: the name {name!r} is taken; choose another one.")
        found.append(
            Compatible(
                name=name,
                base_url=r.url(variable) or "",
                api_key=r.credential(f"{prefix}API_KEY"),
                models=r.models(f"{prefix}MODELS"),
            )
        )
    return tuple(found)


def read_clouds(r: Reader) -> tuple[Cloud, ...]:
    """Bedrock and Vertex AI, each where its first variable is set."""
    bedrock = Cloud(
        name="bedrock",
        region=r.url_part("BEDROCK_REGION") or "",
        models=r.models("BEDROCK_MODELS"),
        base_url=r.url("BEDROCK_BASE_URL"),
        api_key=r.credential("BEDROCK_API_KEY"),
    )
    vertex = Cloud(
        name="vertex",
        region=r.url_part("VERTEX_REGION") or "",
        models=r.models("VERTEX_MODELS"),
        base_url=r.url("VERTEX_BASE_URL"),
        project=r.url_part("VERTEX_PROJECT_ID"),
    )
    switches = (
        (bedrock, "BEDROCK_REGION", ("BEDROCK_API_KEY", "BEDROCK_MODELS", "BEDROCK_BASE_URL")),
        (vertex, "VERTEX_PROJECT_ID", ("VERTEX_REGION", "VERTEX_MODELS", "VERTEX_BASE_URL")),
    )
    for _, switch, others in switches:
        r.problems += [
            f"{name} is set, but {switch} is not: set it, or remove both."
            for name in others
            if r.given(name) and not r.given(switch)
        ]
    return tuple(cloud for cloud, switch, _ in switches if r.given(switch))
