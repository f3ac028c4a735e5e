"""The start-up says what is on, what is off and why, and shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw.cli.summary import summary
from gw.settings import load
from gw.variables import table

KEY = {"GATEWAY_API_KEY": "a-perfectly-long-test-key-0123456789"}


def line(name: str, **environ: str) -> str:
    text = summary(load({**KEY, **environ}), {})
    (found,) = [row for row in text.splitlines() if row[8:].startswith(f"{name} ")]
    return found


def test_local_models_are_off_with_the_variable_to_set() -> None:
    assert "off" in line("local models")
    assert "LOCAL_LLM_BASE_URL is not set" in line("local models")


def test_local_models_are_on_with_where_and_what() -> None:
    shown = line(
        "local models", LOCAL_LLM_BASE_URL="http://gpu:11434", LOCAL_LLM_MODEL_ALLOWLIST="phi4,gemma3:27b"
    )
    assert "on " in shown
    assert shown.endswith("local = phi4, 2 allowed, 120 s of silence, Cloudflare Access: no")
    token = {"LOCAL_CF_ACCESS_CLIENT_ID": "id.access", "LOCAL_CF_ACCESS_CLIENT_SECRET": "canary-secret"}
    shown = line("local models", LOCAL_LLM_BASE_URL="http://gpu:11434", **token)
    assert "Cloudflare Access: yes" in shown
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "all its models, without a key"),
        ({"MODELS": "a,b,c", "API_KEY": "gsk-canary"}, "3 allowed, key set"),
    ],
)
def test_each_compatible_upstream_has_a_line(more: dict[str, str], shown: str) -> None:
    environ = {f"OPENAI_COMPATIBLE_GROQ_{name}": value for name, value in more.items()}
    text = line("groq", OPENAI_COMPATIBLE_GROQ_BASE_URL="https://api.groq.com/openai/v1", **environ)
    assert "https://api.groq.com/openai/v1, groq:<model>" in text
    assert text.endswith(shown)


def test_without_compatible_upstreams_it_says_how_to_add_one() -> None:
    assert "OPENAI_COMPATIBLE_<NAME>_BASE_URL" in line("others")


def test_the_rate_limit_is_told_as_it_is_counted() -> None:
    assert line("rate limit").endswith("60 requests/minute per key, in this process")
    shown = line("rate limit", WEB_CONCURRENCY="8")
    assert shown.endswith("60 requests/minute per key, in 8 shares of 7.5, one for each worker")


def test_keep_alives_and_cors_are_told_with_their_variables() -> None:
    assert line("keep-alive").endswith("streams are silent for 15 s at most")
    assert line("keep-alive", SSE_KEEPALIVE_SECONDS="0").endswith("SSE_KEEPALIVE_SECONDS=0")
    assert "CORS_ORIGINS is not set" in line("cors")
    shown = line("cors", CORS_ORIGINS="http://localhost:3000,app://obsidian.md")
    assert shown.endswith("http://localhost:3000, app://obsidian.md")


def test_it_says_where_thinking_is_kept_and_tells_no_password() -> None:
    claude = {"ANTHROPIC_API_KEY": "sk-ant-0123456789"}
    assert line("thinking", **claude).endswith("in this process")
    assert line("thinking", **claude, WEB_CONCURRENCY="2").endswith("by each worker: REDIS_URL is not set")
    shown = line("thinking", **claude, REDIS_URL="redis://:canary@cache:6379/0")
    assert shown.endswith("in Redis (REDIS_URL)")
    assert not [row for row in summary(load(KEY), {}).splitlines() if "thinking" in row]


def test_the_ledger_is_told_by_its_place_and_never_by_its_password(tmp_path: Path) -> None:
    assert line("ledger", DATA_DIR=str(tmp_path)).endswith(f"SQLite, {tmp_path}/gateway.db")
    assert "LEDGER_ENABLED=0" in line("ledger", LEDGER_ENABLED="0")
    url = "postgresql://gateway:canary@db.example.com/usage?sslmode=require&password=canary"
    assert line("ledger", DATABASE_URL=url).endswith("PostgreSQL at db.example.com:5432, database usage")
    own = line("ledger", DATABASE_URL=f"sqlite:///{tmp_path}/own.db")
    assert own.endswith(f"SQLite, {tmp_path}/own.db")


def test_a_ledger_beside_temporary_files_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "may be emptied by a restart"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert warning not in summary(load({**KEY, "DATA_DIR": str(tmp_path / "data")}), {})
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null")
    assert warning in summary(load(KEY), {})


def test_prices_projects_limits_and_the_admin_port_are_told() -> None:
    assert line("prices").endswith("public prices (genai-prices)")
    assert "p.json, then public prices" in line("prices", PRICES_FILE="p.json")
    assert "ENABLE_MULTI_PROJECT=0" in line("projects")
    assert "on " in line("projects", ENABLE_MULTI_PROJECT="1")
    shared = line("rate limit", REDIS_URL="redis://:canary@cache:6379/0", WEB_CONCURRENCY="8")
    assert shared.endswith("in Redis (REDIS_URL), for all workers and machines")
    assert "9443: /admin is there, and not on 8080" in line("admin port", ADMIN_PORT="9443")


def test_a_collector_is_told_where_there_is_one() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is not set" in line("otel")
    assert line("otel", OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4318").endswith("to http://otel:4318")


def test_the_help_shows_whole_defaults_within_a_terminals_width() -> None:
    for width in (80, 100):
        text = table(width)
        for model in ("qwen2.5-coder:32b-instruct", "deepseek-coder-v2:16b"):
            assert model in text
        assert max(map(len, text.splitlines())) <= width
