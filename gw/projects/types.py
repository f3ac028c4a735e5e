"""Projects and keys as everybody here sees them. Money is whole nano-dollars (1e-9 USD), times are in UTC.

DirectoryError
├── NotFound      no such project or key
├── Conflict      what is asked for contradicts what is there
├── Invalid       a field of a request, with what it must be
└── Unavailable   the database is away, locked or too slow
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from middleware._state import Account, Policy

#: The project of ``GATEWAY_API_KEY``. It is always there.
DEFAULT_PROJECT = "default"
NANO = 10**9

T = TypeVar("T")


class DirectoryError(Exception):
    """Why a change or a look-up was refused; the text may be shown to whoever asked."""


class NotFound(DirectoryError):
    """``kind`` is ``project`` or ``key``."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"There is no {kind} {id!r}.")
        self.kind = kind
        self.id = id


class Conflict(DirectoryError):
    """What is asked for contradicts what is there: a name that is taken, a key that is revoked."""


class Invalid(DirectoryError):
    """``field`` is the place in the request (``rules.models[2]``); ``message`` says what it must be."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}." if field else f"The request {message}.")
        self.field = field
        self.message = message


class Unavailable(DirectoryError):
    """The database is away, locked or too slow. ``reason`` names the driver's error, and nothing more."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database of projects and keys cannot be asked at the moment ({reason}).")
        self.reason = reason


#: What a key may ask for; as JSON in the column ``rules``, where what is left out is no rule.
Rules = Policy


@dataclass(slots=True, frozen=True, kw_only=True)
class Terms:
    """What a project and a key have alike. None: no such limit. A key's hold beside its project's."""

    name: str
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_budget_nano: int | None = None
    monthly_budget_nano: int | None = None
    rules: Rules = field(default_factory=Rules)
    labels: Mapping[str, str] = field(default_factory=dict)

    def account(self, id: str) -> Account:
        """These limits as what counts requests and money keeps them, under ``id``."""
        return Account(
            id, self.rpm, self.tpm, self.concurrent, self.daily_budget_nano, self.monthly_budget_nano
        )


@dataclass(slots=True, frozen=True, kw_only=True)
class ProjectSpec(Terms):
    """A project as it is asked for."""

    id: str


@dataclass(slots=True, frozen=True, kw_only=True)
class KeySpec(Terms):
    """A key as it is asked for."""

    expires_at: datetime | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Project(ProjectSpec):
    created_at: datetime
    updated_at: datetime
    #: Since when its keys are refused. Its rows in the ledger stay.
    archived_at: datetime | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Key(KeySpec):
    """A key without its secret, which nobody has but its holder."""

    id: str
    project: str
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None = None
    #: The key that this one takes the place of.
    rotated_from: str | None = None

    def status(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(slots=True, frozen=True)
class NewKey:
    """A key just made. ``token`` is what its holder sends: this is the only time that it can be shown."""

    key: Key
    token: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Page(Generic[T]):
    """Some of a list. ``next`` is what to ask for the following ones with (``after=``); None: the end."""

    items: tuple[T, ...]
    next: str | None


def project_json(project: Project) -> dict[str, Any]:
    """``project`` as the admin API, ``--json`` and the audit log show it."""
    return {
        "id": project.id,
        **terms_json(project),
        "created_at": iso(project.created_at),
        "updated_at": iso(project.updated_at),
        "archived_at": iso(project.archived_at),
    }


def key_json(key: Key, now: datetime | None = None) -> dict[str, Any]:
    """The same for ``key``; with its ``status`` where ``now`` is given. No secret is in it, nor its hash."""
    status = {} if now is None else {"status": key.status(now)}
    return {
        "id": key.id,
        "project": key.project,
        **terms_json(key),
        "expires_at": iso(key.expires_at),
        "created_at": iso(key.created_at),
        "updated_at": iso(key.updated_at),
        "revoked_at": iso(key.revoked_at),
        "rotated_from": key.rotated_from,
        **status,
    }


def terms_json(terms: Terms) -> dict[str, Any]:
    """What of a project or a key can be changed, as JSON in which it is given (but for ``expires_at``)."""
    return {
        "name": terms.name,
        "rpm": terms.rpm,
        "tpm": terms.tpm,
        "concurrent": terms.concurrent,
        "daily_budget_usd": dollars(terms.daily_budget_nano),
        "monthly_budget_usd": dollars(terms.monthly_budget_nano),
        "rules": rules_json(terms.rules),
        "labels": dict(terms.labels),
    }


def rules_json(rules: Rules) -> dict[str, Any]:
    """The rules that there are; an empty object for none."""
    every: dict[str, Any] = {
        "models": list(rules.models),
        "default_model": rules.default_model,
        "max_tokens": rules.max_tokens,
        "system_prefix": rules.system_prefix,
        "allowed_tools": list(rules.allowed_tools),
        "blocked_tools": list(rules.blocked_tools),
        "cache": None if rules.cache == "default" else rules.cache,
    }
    return {name: value for name, value in every.items() if value not in (None, [])}


def dollars(nano: int | None) -> str | None:
    """Exact decimal text, with cents at least: ``12.50``, ``0.000001``."""
    if nano is None:
        return None
    text = f"{Decimal(nano) / NANO:.9f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def iso(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, as in ``2026-11-24T09:30:00Z``."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
