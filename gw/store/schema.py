"""Every table, once, for SQLite and PostgreSQL. ``migrations/`` bring a database to this.

Times are UTC. Money is in whole nano-dollars (1e-9 USD), so that sums are exact in both databases and no
price per token is rounded away: a token of the cheapest cache read costs 10 of them. NULL money is unknown,
which is not 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from .text import clean_text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime in UTC: ``timestamptz`` in PostgreSQL, ISO text in SQLite (which knows no zones).

    Raises ``ValueError`` for a naive datetime.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the store carry their zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanString(TypeDecorator[str]):
    """What no database keeps, or more than the column holds, never makes a row fail: :func:`clean_text`."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        length: int | None = self.impl_instance.length  # type: ignore[attr-defined,unused-ignore]
        return None if value is None else clean_text(value, length)


class CleanText(CleanString):
    impl = Text
    cache_ok = True


def _name(name: str, *, null: bool = True, **more: Any) -> Column[str]:
    return Column(name, CleanString(256), nullable=null, **more)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


#: Limits and rules that a project and a key have alike: those of a key hold beside its project's.
def _rules() -> list[Column[Any]]:
    return [
        Column("rpm", Integer),
        Column("tpm", Integer),
        Column("concurrent", Integer),
        Column("daily_budget_nano", BigInteger),
        Column("monthly_budget_nano", BigInteger),
        # JSON: what is left out is no rule. Its shape is `gw.projects.types.Rules`.
        Column("rules", CleanText, nullable=False, server_default="{}"),
        # JSON: an object of short texts, for reports.
        Column("labels", CleanText, nullable=False, server_default="{}"),
        Column("created_at", UtcTime, nullable=False),
        Column("updated_at", UtcTime, nullable=False),
    ]


#: ``id`` is chosen by people: it is what reports show. A project that was archived keeps its rows.
projects = Table(
    "projects",
    metadata,
    _name("id", primary_key=True, null=False),
    Column("name", CleanText, nullable=False),
    *_rules(),
    Column("archived_at", UtcTime),
)

#: ``digest`` is HMAC-SHA256 of the secret part, in hex; the key itself is shown once and kept nowhere.
keys = Table(
    "keys",
    metadata,
    _name("id", primary_key=True, null=False),
    Column("project", CleanString(256), ForeignKey("projects.id"), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("digest", CleanString(64), nullable=False),
    *_rules(),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    # The key that this one takes the place of, which goes on working until its own ``expires_at``.
    _name("rotated_from"),
    Index(None, "project"),
)

#: One row, changed in the transaction of every change to projects and keys: what workers look at to know
#: whether what they remember still holds.
directory_version = Table(
    "directory_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

#: One answered (or failed) request. ``id`` is made by the gateway, so that a row is never written twice.
requests = Table(
    "requests",
    metadata,
    Column("id", CleanString(64), primary_key=True),
    _name("request_id", null=False),  # what the client was told; clients may choose it, so not unique
    Column("at", UtcTime, nullable=False),  # when it arrived
    _name("project", null=False),
    _name("key_id", null=False),
    Column("dialect", CleanString(32), nullable=False),
    _name("requested_model", null=False),
    _name("model", null=False),
    _name("provider", null=False),
    Column("status", Integer, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("ttft_ms", Float),
    Column("duration_ms", Float, nullable=False),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("cache_read_tokens"),
    _count("cache_write_5m_tokens"),
    _count("cache_write_1h_tokens"),
    _count("reasoning_tokens"),  # part of output_tokens
    Column("cost_nano", BigInteger),
    # What the same answer would have cost without this gateway's savings.
    Column("counterfactual_nano", BigInteger),
    Column("cache_hit", Boolean, nullable=False),
    _name("route", null=False),
    Column("route_reason", CleanText, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Why the exchange ended before its time; "" when it did not.
    Column("aborted", CleanString(32), nullable=False),
    # Which token counts nobody has reported: "", "input", "output" or "input,output".
    Column("estimated", CleanString(32), nullable=False),
    Column("error_stage", CleanString(64), nullable=False),
    Column("error_code", CleanString(128), nullable=False),
    _name("upstream_request_id", null=False),
    Index(None, "at"),
    Index(None, "project", "at"),
)

#: What one layer saved in one request. ``tokens`` are estimated.
savings = Table(
    "savings",
    metadata,
    Column("request", CleanString(64), ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True),
    Column("layer", CleanString(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    _name("project", null=False),
    _name("key_id", null=False),
    _count("tokens"),
    Column("saved_nano", BigInteger),
    Index(None, "at"),
)

#: Spent and put aside by an account (``project:x``, ``key:y``) in one UTC day or month, kept up to date in
#: the transaction that writes the rows of ``requests``. ``start`` is ``2026-11-23`` or ``2026-11``.
budget_periods = Table(
    "budget_periods",
    metadata,
    Column("account", CleanString(300), primary_key=True),
    Column("period", CleanString(8), primary_key=True),  # "day" or "month"
    Column("start", CleanString(10), primary_key=True),
    _count("spent_nano"),
    _count("reserved_nano"),
)

#: Money put aside for requests that are under way. ``slots`` is JSON: [[account, period, start], …].
reservations = Table(
    "reservations",
    metadata,
    Column("id", CleanString(64), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("nano", BigInteger, nullable=False),
    Column("slots", CleanText, nullable=False),
    Index(None, "at"),
)

#: How a routing decision turned out; written by the layers that route.
routing_outcomes = Table(
    "routing_outcomes",
    metadata,
    Column("id", CleanString(64), primary_key=True),
    Column("request", CleanString(64), nullable=False),
    Column("at", UtcTime, nullable=False),
    _name("project", null=False),
    _name("session", null=False),
    Column("turn", Integer, nullable=False),
    Column("feature_version", Integer, nullable=False),
    _name("candidate_model", null=False),
    _name("chosen_model", null=False),
    Column("checks", CleanText, nullable=False),  # JSON: each check's value
    Column("escalated", Boolean, nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("cost_nano", BigInteger),
    Column("latency_ms", Float),
    Column("signals", CleanText, nullable=False, server_default="{}"),  # JSON: what was learnt later
    Index(None, "at"),
)

#: Who changed what. Never holds a secret.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    _name("actor", null=False),  # "admin:<fingerprint>" or "cli:<user of the system>"
    _name("action", null=False),  # "project.create", "key.revoke", …
    _name("subject", null=False),  # "project:x" or "key:y"
    Column("before", CleanText),  # JSON
    Column("after", CleanText),  # JSON
    _name("request_id"),
    Index(None, "at"),
)

__all__ = [
    "CleanString",
    "CleanText",
    "UtcTime",
    "audit_log",
    "budget_periods",
    "directory_version",
    "keys",
    "metadata",
    "projects",
    "requests",
    "reservations",
    "routing_outcomes",
    "savings",
]
