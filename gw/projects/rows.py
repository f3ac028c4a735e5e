"""Projects and keys as rows of their tables. Knows the columns' names, and no database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from .parse import rules_from_json
from .types import Key, KeySpec, Project, ProjectSpec, Rules, Terms, rules_json

_PLAIN = ("name", "rpm", "tpm", "concurrent", "daily_budget_nano", "monthly_budget_nano")
_PROJECT = ("id", "created_at", "updated_at", "archived_at")
_KEY = ("id", "project", "created_at", "updated_at", "expires_at", "revoked_at", "rotated_from")


def project_of(row: Mapping[str, Any]) -> Project:
    return Project(**_terms(row), **{name: row.get(name) for name in _PROJECT})  # type: ignore[arg-type]


def key_of(row: Mapping[str, Any]) -> Key:
    return Key(**_terms(row), **{name: row.get(name) for name in _KEY})  # type: ignore[arg-type]


def project_values(project: ProjectSpec) -> dict[str, Any]:
    """The columns that ``project`` says something about."""
    return {**_values(project), **_present(project, _PROJECT)}


def key_values(key: KeySpec) -> dict[str, Any]:
    """The same for ``key``. (Its digest is not its own to know.)"""
    return {**_values(key), **_present(key, _KEY)}


def _terms(row: Mapping[str, Any]) -> dict[str, Any]:
    """Raises :class:`~.types.Invalid` for rules that somebody has written into the table by hand."""
    return {
        **{name: row[name] for name in _PLAIN},
        "rules": _rules(row["rules"]),
        "labels": _labels(row["labels"]),
    }


# Most rows say the same, and nobody changes what is read from them.
@lru_cache(maxsize=1024)
def _rules(text: str) -> Rules:
    return rules_from_json(json.loads(text))


@lru_cache(maxsize=1024)
def _labels(text: str) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text))


def _values(terms: Terms) -> dict[str, Any]:
    return {
        **_present(terms, _PLAIN),
        "rules": json.dumps(rules_json(terms.rules), ensure_ascii=False),
        "labels": json.dumps(dict(terms.labels), ensure_ascii=False),
    }


def _present(terms: Terms, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in names if hasattr(terms, name)}
