"""Rows of the ledger for tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
