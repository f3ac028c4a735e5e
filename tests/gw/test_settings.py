"""A wrong value is named with its fix; a right one is read with the documented default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gw.settings import SettingsError, fingerprint, load
from gw.variables import VARIABLES, markdown, table, unbuilt

KEY = {"GATEWAY_API_KEY": "a-perfectly-long-test-key-0123456789"}


def problems(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load({**KEY, **environ})
    return "\n".join(caught.value.problems)


def test_the_documented_defaults_are_in_force() -> None:
    settings = load(KEY)
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8080, 1)
    assert settings.server.max_body_bytes == 32 * 1024 * 1024
    assert settings.limits.system_chars == 40000
    assert settings.limits.user_chars == 120000
    assert settings.limits.tool_result_chars == 20000
    assert settings.limits.default_max_tokens == 1200
    assert (settings.limits.rate_limit, settings.limits.rpm) == (True, 60)
    assert settings.local.default_model == "qwen2.5-coder:14b-instruct"
    assert len(settings.local.allowlist) == 10
    assert settings.upstream.connect == 5
    assert settings.server.drain_seconds == 30


@pytest.mark.parametrize("value", ["", "   ", None])
def test_a_missing_or_empty_gateway_key_is_named(value: str | None) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_API_KEY is not set") as caught:
        load({} if value is None else {"GATEWAY_API_KEY": value})
    assert "openssl rand" in str(caught.value)


def test_a_short_key_is_refused() -> None:
    assert "GATEWAY_API_KEY is too short" in problems(GATEWAY_API_KEY="abc")
    assert "ADMIN_API_KEY is too short" in problems(ADMIN_API_KEY="abc")


def test_the_admin_key_must_differ_from_the_clients_key() -> None:
    assert "ADMIN_API_KEY equals GATEWAY_API_KEY" in problems(ADMIN_API_KEY=KEY["GATEWAY_API_KEY"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WEB_CONCURRENCY", "0"),
        ("LOG_LEVEL", "loud"),
        ("UPSTREAM_TIMEOUT_SECONDS", "soon"),
        ("UPSTREAM_TIMEOUT_SECONDS", "nan"),
        ("UPSTREAM_TIMEOUT_SECONDS", "-1"),
        ("RATE_LIMIT_ENABLED", "maybe"),
        ("RATE_LIMIT_RPM", "0"),
        ("ANTHROPIC_BASE_URL", "ftp://example.com"),
        ("ANTHROPIC_BASE_URL", "api.anthropic.com"),
        ("ANTHROPIC_BASE_URL", "http://[::1"),
        ("LOCAL_LLM_BASE_URL", "http://x/?q=1"),
        ("DEFAULT_MODEL", "not a model"),
        ("GATEWAY_HTTP_TRANSPORT", "curl"),
        ("SMART_ROUTING_MODE", "dice"),
        ("CASCADE_QUALITY_CHECK_MODE", "vibes"),
        ("ENABLE_SKILLS", "perhaps"),
        ("CACHE_TTL_SECONDS", "forever"),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(name: str, value: str) -> None:
    text = problems(**{name: value})
    assert f"{name}={value!r} is not valid: it must be " in text


GROQ = {"OPENAI_COMPATIBLE_GROQ_BASE_URL": "https://api.groq.com/openai/v1/"}


def test_compatible_upstreams_are_read_from_their_names() -> None:
    settings = load(
        {
            **KEY,
            **GROQ,
            "OPENAI_COMPATIBLE_GROQ_MODELS": "llama-3.3-70b, meta/llama-4 ,llama-3.3-70b",
            "OPENAI_COMPATIBLE_LM_STUDIO_2_BASE_URL": "http://127.0.0.1:1234",
            "OPENAI_COMPATIBLE_LM_STUDIO_2_API_KEY": "EMPTY",  # as vLLM's documentation has it
            "OPENAI_COMPATIBLE_UNUSED_BASE_URL": "",
        }
    )
    groq, studio = settings.compatible
    assert (groq.name, groq.base_url, groq.api_key) == ("groq", "https://api.groq.com/openai/v1", None)
    assert groq.models == ("llama-3.3-70b", "meta/llama-4")
    assert (studio.name, studio.api_key, studio.models) == ("lm_studio_2", "EMPTY", ())
    assert "EMPTY" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "OPENAI_COMPATIBLE_GROQ_URL",
            "http://x",
            "is not a setting: write OPENAI_COMPATIBLE_<NAME>_BASE_URL",
        ),
        ("OPENAI_COMPATIBLE_groq_BASE_URL", "http://x", "capital letters"),
        ("OPENAI_COMPATIBLE_A__B_BASE_URL", "http://x", "single underscores"),
        ("OPENAI_COMPATIBLE_BASE_URL", "http://x", "is not a setting"),
        ("OPENAI_COMPATIBLE_GROQ_API_KEY", "gsk-1", "but OPENAI_COMPATIBLE_GROQ_BASE_URL is not: set it"),
        ("OPENAI_COMPATIBLE_LOCAL_BASE_URL", "http://x", "the name 'local' is taken"),
        ("OPENAI_COMPATIBLE_GROQ_BASE_URL", "groq.com", "it must be an http(s)://host"),
        ("LOCAL_LLM_MODEL_ALLOWLIST", "phi4 gemma3", "a list of model ids with commas"),
        ("LOCAL_LLM_DEFAULT_MODEL", "not a model", "it must be a model id"),
        ("LOCAL_CF_ACCESS_CLIENT_ID", "id.access", "LOCAL_CF_ACCESS_CLIENT_SECRET go together"),
        ("LOCAL_CF_ACCESS_CLIENT_SECRET", "two words", "no HTTP header can carry"),
    ],
)
def test_a_wrong_upstream_is_named_with_its_fix(name: str, value: str, message: str) -> None:
    text = problems(**{name: value})
    assert name in text
    assert message in text


def test_a_wrong_key_of_an_upstream_is_not_repeated() -> None:
    text = problems(**GROQ, OPENAI_COMPATIBLE_GROQ_API_KEY="gsk canary")
    assert "OPENAI_COMPATIBLE_GROQ_API_KEY holds characters" in text
    assert "canary" not in text


def test_a_default_outside_the_allow_list_is_named_once_local_models_are_on() -> None:
    chosen = {"LOCAL_LLM_DEFAULT_MODEL": "phi4", "LOCAL_LLM_BASE_URL": "http://127.0.0.1:11434"}
    assert "LOCAL_LLM_DEFAULT_MODEL='phi4' is not in LOCAL_LLM_MODEL_ALLOWLIST" in problems(**chosen)
    own = load({**KEY, "LOCAL_LLM_MODEL_ALLOWLIST": "phi4,gemma3"})
    assert own.local.default_model == "phi4"  # nobody has chosen another


def test_every_wrong_value_is_named_at_once() -> None:
    text = problems(PORT="x", LOG_LEVEL="y", ENABLE_SKILLS="z")
    assert len(text.splitlines()) == 3


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    text = problems(ANTHROPIC_BASE_URL="https://user:hunter2@example.com")
    assert "ANTHROPIC_BASE_URL" in text
    assert "hunter2" not in text


def test_secrets_never_show_in_a_repr() -> None:
    settings = load({**KEY, "ANTHROPIC_API_KEY": "sk-ant-canary-000000", "ADMIN_API_KEY": "admin-canary-1"})
    assert "canary" not in repr(settings)
    assert KEY["GATEWAY_API_KEY"] not in repr(settings)


def test_a_fingerprint_never_holds_a_short_secret() -> None:
    assert fingerprint("short-secret") == "set"
    assert fingerprint("0123456789abcdef0123456789") == "…6789"
    assert fingerprint(None) == "not set"


def test_what_is_not_built_is_listed_with_what_the_operator_set() -> None:
    listed = dict(unbuilt({"FAILOVER_MODELS": "haiku"}))
    assert listed["failover"] == ["FAILOVER_MODELS"]
    assert listed["response cache"] == []


def test_the_help_lists_every_variable_once() -> None:
    text = table()
    for variable in VARIABLES:
        assert len(re.findall(rf"^  {variable.name}\b", text, re.MULTILINE)) == 1


def test_the_settings_page_is_written_from_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == markdown(), (
        "write it again: python -c 'import gw.variables as v; print(v.markdown(), end=\"\")'"
    )


def test_a_cloud_is_on_when_its_first_variable_is_set() -> None:
    assert load(KEY).clouds == ()
    given = {"BEDROCK_REGION": "eu-north-1", "BEDROCK_API_KEY": "bedrock-secret", "VERTEX_PROJECT_ID": "p-1"}
    settings = load({**KEY, **given})
    bedrock, vertex = settings.clouds
    assert (bedrock.name, bedrock.region, bedrock.api_key) == ("bedrock", "eu-north-1", "bedrock-secret")
    assert (vertex.name, vertex.region, vertex.project, vertex.api_key) == ("vertex", "global", "p-1", None)
    assert "bedrock-secret" not in repr(settings)


def test_a_cloud_that_is_half_set_up_is_named() -> None:
    assert "BEDROCK_API_KEY is set, but BEDROCK_REGION is not" in problems(BEDROCK_API_KEY="bedrock-secret")
    assert "VERTEX_REGION is set, but VERTEX_PROJECT_ID is not" in problems(VERTEX_REGION="eu")
    assert "BEDROCK_REGION='eu/../x' is not valid" in problems(BEDROCK_REGION="eu/../x")


def test_the_largest_local_context_is_the_models_own_unless_it_is_set() -> None:
    assert load(KEY).local.max_context is None
    assert load({**KEY, "LOCAL_LLM_MAX_CONTEXT": "32768"}).local.max_context == 32_768
    assert "LOCAL_LLM_MAX_CONTEXT='much' is not valid" in problems(LOCAL_LLM_MAX_CONTEXT="much")


def test_origins_are_read_as_browsers_write_them() -> None:
    given = "https://Chat.Example.com/, http://localhost:3000,app://obsidian.md,http://[::1]:8000"
    assert load({**KEY, "CORS_ORIGINS": given}).server.cors_origins == (
        "https://chat.example.com",
        "http://localhost:3000",
        "app://obsidian.md",
        "http://[::1]:8000",
    )
    assert load(KEY).server.cors_origins == ()


def test_an_origin_that_no_browser_sends_is_named_with_what_to_write() -> None:
    assert "would open this gateway to every page on the web" in problems(CORS_ORIGINS="*")
    assert "without the scheme's own port" in problems(CORS_ORIGINS="https://chat.example.com:443")
    for wrong in ("null", "chat.example.com", "https://chat.example.com/app", "https://*.example.com"):
        assert f"CORS_ORIGINS={wrong!r} is not valid" in problems(CORS_ORIGINS=wrong)


def test_keep_alives_can_be_switched_off_and_nothing_else_is_nothing() -> None:
    assert load(KEY).server.keep_alive == 15
    assert load({**KEY, "SSE_KEEPALIVE_SECONDS": "0"}).server.keep_alive == 0
    assert "SSE_KEEPALIVE_SECONDS='-1' is not valid" in problems(SSE_KEEPALIVE_SECONDS="-1")
    assert "must be a number of seconds above 0" in problems(DRAIN_TIMEOUT_SECONDS="0")


def test_a_redis_that_is_none_is_named_without_its_password() -> None:
    assert load({**KEY, "REDIS_URL": "rediss://:secret@cache:6379"}).state.redis_url is not None
    assert "secret" not in repr(load({**KEY, "REDIS_URL": "redis://:secret@cache:6379"}))
    for wrong in ("http://:secret@cache:6379", "redis://:secret@cache:port", "redis://:secret@cache?db=x"):
        told = problems(REDIS_URL=wrong)
        assert "REDIS_URL='…' is not valid: it must be redis://" in told
        assert "secret" not in told
