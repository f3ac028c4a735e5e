"""Answers as they look, for the description of the API; a test holds each against its schema."""

from __future__ import annotations

from typing import Any

TERMS: dict[str, Any] = {
    "name": "Team A",
    "rpm": 600,
    "tpm": 400_000,
    "concurrent": 20,
    "daily_budget_usd": "25.00",
    "monthly_budget_usd": "400.00",
    "rules": {"models": ["claude-*", "local:*"], "default_model": "sonnet", "cache": "shared"},
    "labels": {"cost-centre": "4711"},
}
PROJECT: dict[str, Any] = {
    "id": "team-a",
    **TERMS,
    "created_at": "2026-11-24T09:30:00Z",
    "updated_at": "2026-11-24T09:30:00Z",
    "archived_at": None,
}
NEW_PROJECT: dict[str, Any] = {"id": "team-a", **TERMS}
PROJECT_PATCH: dict[str, Any] = {"monthly_budget_usd": "500", "rpm": None}

NEW_KEY: dict[str, Any] = {"name": "Alice's laptop", "daily_budget_usd": "5"}
KEY: dict[str, Any] = {
    "id": "1m8h2pc4t0z9qkdv3e",
    "project": "team-a",
    "name": "Alice's laptop",
    "rpm": None,
    "tpm": None,
    "concurrent": None,
    "daily_budget_usd": "5.00",
    "monthly_budget_usd": None,
    "rules": {},
    "labels": {},
    "expires_at": None,
    "created_at": "2026-11-24T09:31:00Z",
    "updated_at": "2026-11-24T09:31:00Z",
    "revoked_at": None,
    "rotated_from": None,
    "status": "active",
}
ISSUED_KEY: dict[str, Any] = {**KEY, "key": "gw_1m8h2pc4t0z9qkdv3e_<64 hex digits, shown this once>"}
ROTATED_KEY: dict[str, Any] = {**ISSUED_KEY, "rotated_from": "1m8h27r0c4fmx1wwnq"}
REVOKED_KEY: dict[str, Any] = {**KEY, "revoked_at": "2026-11-25T08:00:00Z", "status": "revoked"}
ARCHIVED_PROJECT: dict[str, Any] = {**PROJECT, "archived_at": "2026-11-25T08:00:00Z"}
