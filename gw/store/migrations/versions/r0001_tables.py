"""The first tables: projects, keys, requests, savings, budgets, routing outcomes, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("action", sa.String(length=256), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("request_id", sa.String(length=256)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_at"), "audit_log", ["at"])
    op.create_table(
        "budget_periods",
        sa.Column("account", sa.String(length=300), nullable=False),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("start", sa.String(length=10), nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account", "period", "start", name=op.f("pk_budget_periods")),
    )
    op.create_table(
        "directory_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_version")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rpm", sa.Integer()),
        sa.Column("tpm", sa.Integer()),
        sa.Column("concurrent", sa.Integer()),
        sa.Column("daily_budget_nano", sa.BigInteger()),
        sa.Column("monthly_budget_nano", sa.BigInteger()),
        sa.Column("rules", sa.Text(), server_default="{}", nullable=False),
        sa.Column("labels", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=256), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=False),
        sa.Column("key_id", sa.String(length=256), nullable=False),
        sa.Column("dialect", sa.String(length=32), nullable=False),
        sa.Column("requested_model", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("provider", sa.String(length=256), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("ttft_ms", sa.Float()),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_5m_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_1h_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_nano", sa.BigInteger()),
        sa.Column("counterfactual_nano", sa.BigInteger()),
        sa.Column("cache_hit", sa.Boolean(), nullable=False),
        sa.Column("route", sa.String(length=256), nullable=False),
        sa.Column("route_reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("aborted", sa.String(length=32), nullable=False),
        sa.Column("estimated", sa.String(length=32), nullable=False),
        sa.Column("error_stage", sa.String(length=64), nullable=False),
        sa.Column("error_code", sa.String(length=128), nullable=False),
        sa.Column("upstream_request_id", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_at"), "requests", ["at"])
    op.create_index(op.f("ix_requests_project_at"), "requests", ["project", "at"])
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("nano", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_at"), "reservations", ["at"])
    op.create_table(
        "routing_outcomes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=False),
        sa.Column("session", sa.String(length=256), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("feature_version", sa.Integer(), nullable=False),
        sa.Column("candidate_model", sa.String(length=256), nullable=False),
        sa.Column("chosen_model", sa.String(length=256), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("escalated", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger()),
        sa.Column("latency_ms", sa.Float()),
        sa.Column("signals", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_outcomes")),
    )
    op.create_index(op.f("ix_routing_outcomes_at"), "routing_outcomes", ["at"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("rpm", sa.Integer()),
        sa.Column("tpm", sa.Integer()),
        sa.Column("concurrent", sa.Integer()),
        sa.Column("daily_budget_nano", sa.BigInteger()),
        sa.Column("monthly_budget_nano", sa.BigInteger()),
        sa.Column("rules", sa.Text(), server_default="{}", nullable=False),
        sa.Column("labels", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("rotated_from", sa.String(length=256)),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_keys_project")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_project"), "keys", ["project"])
    op.create_table(
        "savings",
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("layer", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project", sa.String(length=256), nullable=False),
        sa.Column("key_id", sa.String(length=256), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("saved_nano", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["request"], ["requests.id"], name=op.f("fk_savings_request"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request", "layer", name=op.f("pk_savings")),
    )
    op.create_index(op.f("ix_savings_at"), "savings", ["at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_savings_at"), table_name="savings")
    op.drop_table("savings")
    op.drop_index(op.f("ix_keys_project"), table_name="keys")
    op.drop_table("keys")
    op.drop_index(op.f("ix_routing_outcomes_at"), table_name="routing_outcomes")
    op.drop_table("routing_outcomes")
    op.drop_index(op.f("ix_reservations_at"), table_name="reservations")
    op.drop_table("reservations")
    op.drop_index(op.f("ix_requests_project_at"), table_name="requests")
    op.drop_index(op.f("ix_requests_at"), table_name="requests")
    op.drop_table("requests")
    op.drop_table("projects")
    op.drop_table("directory_version")
    op.drop_table("budget_periods")
    op.drop_index(op.f("ix_audit_log_at"), table_name="audit_log")
    op.drop_table("audit_log")
