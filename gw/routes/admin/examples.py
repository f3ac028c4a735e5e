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

_SAVED: dict[str, Any] = {
    "layer": "limits",
    "requests": 11,
    "saved_tokens": 51_200,
    "saved_usd": "0.1536",
    "saved_nano": 153_600_000,
    "unknown_price_requests": 0,
}
_PRICE: dict[str, Any] = {
    "cost_usd": "1.24731",
    "cost_nano": 1_247_310_000,
    "counterfactual_usd": "1.40091",
    "counterfactual_nano": 1_400_910_000,
    "saved_usd": "0.1536",
    "saved_nano": 153_600_000,
    "unknown_price_requests": 2,
}
USAGE: dict[str, Any] = {
    "day": "2026-11-24",
    "requests": 42,
    "streams": 40,
    "errors": 1,
    "aborted": 2,
    "estimated": 2,
    "cache_hits": 0,
    "attempts": 42,
    "input_tokens": 310_877,
    "output_tokens": 20_979,
    "cache_read_tokens": 1_204_118,
    "cache_write_5m_tokens": 88_431,
    "cache_write_1h_tokens": 0,
    "reasoning_tokens": 4_410,
    **_PRICE,
    "duration_ms": 8120.4,
    "duration_p50_ms": None,
    "duration_p95_ms": None,
    "ttft_ms": 911.7,
    "ttft_p50_ms": None,
    "ttft_p95_ms": None,
    "saved_by_layer": [_SAVED],
}
COSTS: dict[str, Any] = {
    "project": "team-a",
    "requests": 42,
    "estimated": 2,
    **_PRICE,
    "saved_by_layer": [_SAVED],
    "budgets": [
        {
            "account": "project:team-a",
            "period": "month",
            "budget_usd": "400.00",
            "spent_usd": "1.24731",
            "reserved_usd": "0.048",
            "left_usd": "398.70469",
            "begins_anew": "2026-12-01T00:00:00Z",
        }
    ],
}
FAILURE: dict[str, Any] = {
    "provider": "anthropic",
    "model": "claude-sonnet-5-5",
    "status": 503,
    "stage": "upstream_status",
    "code": "overloaded_error",
    "requests": 3,
    "first": "2026-11-24T09:40:12.120000Z",
    "last": "2026-11-24T09:41:02.007000Z",
}
ROUTED: dict[str, Any] = {
    "candidate_model": "local:qwen2.5-coder:14b-instruct",
    "chosen_model": "claude-sonnet-5-5",
    "reason": "too short",
    "decisions": 12,
    "escalated": 12,
    "cost_usd": "0.31",
    "cost_nano": 310_000_000,
    "unknown_price_requests": 0,
    "latency_ms": 4210.0,
}
AUDIT: dict[str, Any] = {
    "id": 7,
    "at": "2026-11-25T08:00:00Z",
    "actor": "admin:3f1c0a9b77de",
    "action": "key.revoke",
    "subject": "key:1m8h2pc4t0z9qkdv3e",
    "before": {"revoked_at": None},
    "after": {"revoked_at": "2026-11-25T08:00:00Z"},
    "request_id": "req-4711",
}
LEDGER: dict[str, Any] = {
    "state": "recording",
    "written_at": "2026-11-24T09:41:03.210000Z",
    "last_commit_at": "2026-11-24T09:41:02.980000Z",
    "rows": 1204,
    "backlog_bytes": 0,
    "memory_records": 0,
    "memory_bytes": 0,
    "lost": 0,
    "rejected": 0,
    "error": None,
}
