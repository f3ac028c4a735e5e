"""What is told of an upstream's errors: all that is the caller's to know, and never a key."""

from __future__ import annotations

import logging

import orjson
import pytest

from gw.catalog import Catalog
from gw.errors import hide_secrets, rejection_of
from gw.settings import load
from gw.settle import note_error
from gw.variables import VARIABLES
from middleware._reject import Dialect, envelope
from middleware._state import COMPLETION
from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    NotConfigured,
    ProtocolError,
    ProviderError,
    RateLimited,
    Timeout,
    Unreachable,
    UpstreamFailed,
)
from providers.translate.anthropic_errors import from_response
from providers.types import ModelInfo

from .stub import KEY, StubProvider

SECRETS = {
    "GATEWAY_API_KEY": KEY,
    "ADMIN_API_KEY": "an-admin-key-of-the-operator",
    "ANTHROPIC_API_KEY": "key-of-a-proxy-before-claude",
    "LOCAL_CF_ACCESS_CLIENT_ID": "access-client-id",
    "LOCAL_CF_ACCESS_CLIENT_SECRET": "access-client-secret",
    "REDIS_URL": "redis://:redis-password@cache:6379/0",
    "DATABASE_URL": "postgresql://gateway:database-password@db:5432/gateway",
    "KEY_PEPPER": "pepper-of-all-keys",
    "OPENAI_COMPATIBLE_VLLM_API_KEY": "key-of-vllm",
    "BEDROCK_API_KEY": "ABSKQmVkcm9ja0FQSUtleS1",
}
WHERE = {"OPENAI_COMPATIBLE_VLLM_BASE_URL": "http://vllm/v1", "BEDROCK_REGION": "eu-north-1"}


@pytest.fixture(autouse=True)
def secrets() -> None:
    hide_secrets(load({**SECRETS, **WHERE}))


@pytest.mark.parametrize("secret", SECRETS.values())
def test_an_upstream_that_repeats_a_key_tells_nobody(secret: str) -> None:
    said = f"no such header: authorization=Bearer {secret}; try again"
    refusal = rejection_of(BadRequest(said, code=said, param=said))
    assert secret not in repr(refusal)
    assert refusal.message == "no such header: authorization=Bearer …; try again"
    state: dict[str, object] = {}
    note_error(state, UpstreamFailed("broken", code=said))
    assert secret not in repr(state[COMPLETION])


def test_no_key_that_is_in_use_was_forgotten_above() -> None:
    in_use = {v.name.replace("<NAME>", "VLLM") for v in VARIABLES if v.secret and v.feature is None}
    assert in_use == SECRETS.keys()


def test_a_placeholder_is_a_word_like_any_other() -> None:
    hide_secrets(load({**SECRETS, **WHERE, "OPENAI_COMPATIBLE_VLLM_API_KEY": "EMPTY"}))
    assert rejection_of(BadRequest("EMPTY prompt")).message == "EMPTY prompt"


@pytest.mark.anyio
async def test_nor_does_a_model_list_tell_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Echo(StubProvider):
        async def models(self) -> list[ModelInfo]:
            raise UpstreamFailed(f"bad request: {SECRETS['BEDROCK_API_KEY']}\nforged line")

    catalog = Catalog([("", Echo())], aliases={})
    with caplog.at_level(logging.WARNING, "gateway"):
        catalog.start()
        await catalog.models()
        await catalog.stop()
    assert "bad request: …?forged line" in caplog.text
    assert SECRETS["BEDROCK_API_KEY"] not in caplog.text


TOO_LONG = "prompt is too long: 216000 tokens > 200000 maximum"


def claude(status: int, kind: str, message: str, *headers: tuple[bytes, bytes]) -> ProviderError:
    """What the adapter makes of a refusal by Claude."""
    said = {"type": kind, "message": message, "details": {"error_code": "x"}}
    body = orjson.dumps({"type": "error", "error": said, "request_id": "req_7"})
    sent = ((b"request-id", b"req_7"), *headers)
    return from_response(status, dict(sent).get, body, provider="anthropic", headers=headers)


@pytest.mark.parametrize(
    ("upstream", "kind", "shown"),
    [
        (400, "invalid_request_error", 400),
        (402, "billing_error", 402),
        (404, "not_found_error", 404),
        (409, "conflict_error", 409),
        (413, "request_too_large", 413),
        (418, "teapot_error", 418),
        (429, "rate_limit_error", 429),
        (500, "api_error", 502),
        (503, "api_error", 503),
        (504, "timeout_error", 504),
        (529, "overloaded_error", 529),
    ],
)
def test_claudes_own_error_reaches_its_own_dialect_verbatim(upstream: int, kind: str, shown: int) -> None:
    limits = ((b"anthropic-ratelimit-tokens-remaining", b"0"),)
    rejection = rejection_of(claude(upstream, kind, TOO_LONG, *limits), "anthropic")
    assert rejection.status == shown
    assert envelope(rejection, "anthropic", "gateway-id") == {
        "type": "error",
        "error": {"type": kind, "message": TOO_LONG, "details": {"error_code": "x"}},
        "request_id": "req_7",
    }
    assert (b"request-id", b"req_7") in rejection.headers
    assert limits[0] in rejection.headers


def test_an_empty_account_is_shown_as_claude_shows_it_and_as_openai_would() -> None:
    error = claude(400, "invalid_request_error", "Your credit balance is too low to access the API.")
    assert rejection_of(error, "anthropic").status == 400
    assert rejection_of(error).status == 402
    assert envelope(rejection_of(error), "openai")["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize("status", [401, 403])
def test_the_gateways_own_key_is_never_the_callers_fault(status: int) -> None:
    rejection = rejection_of(claude(status, "authentication_error", "invalid x-api-key"), "anthropic")
    assert rejection.status == 502
    told = envelope(rejection, "anthropic", "gateway-id")
    assert told["error"]["type"] == "api_error"
    assert "x-api-key" not in str(told)
    assert (b"x-should-retry", b"false") in rejection.headers


@pytest.mark.parametrize("dialect", ["openai", "responses"])
def test_other_dialects_hear_nothing_in_anthropics_terms(dialect: Dialect) -> None:
    limits = ((b"anthropic-ratelimit-tokens-remaining", b"0"), (b"x-should-retry", b"false"))
    rejection = rejection_of(claude(529, "overloaded_error", "busy", *limits), dialect)
    assert rejection.status == 503
    assert rejection.headers == ((b"x-should-retry", b"false"),)
    assert envelope(rejection, "openai")["error"]["message"] == "busy"


@pytest.mark.parametrize(
    ("said", "told"), [(b"3", b"3"), (b"0", b"1"), (b"86400", b"600"), (b"0.2", b"1"), (b"nonsense", None)]
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_nobody_is_sent_to_sleep_for_a_day(said: bytes, told: bytes | None, dialect: Dialect) -> None:
    error = claude(429, "rate_limit_error", "slow down", (b"retry-after", said), (b"retry-after-ms", b"9e9"))
    headers = dict(rejection_of(error, dialect).headers)
    assert headers.get(b"retry-after") == told
    assert b"retry-after-ms" not in headers
    assert (b"x-should-retry" in headers) is (said == b"86400")


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (BadRequest("no"), True),
        (ContextTooLong("no"), True),
        (ModelNotFound("no"), True),
        (claude(402, "billing_error", "no credit"), True),
        (claude(413, "request_too_large", "too large"), True),
        (claude(408, "timeout_error", "slow request"), False),
        (claude(409, "conflict_error", "busy"), False),
        (claude(429, "rate_limit_error", "later"), False),
        (RateLimited("later", retry_after=30), False),
        (RateLimited("tomorrow", retry_after=600), True),
        (claude(500, "api_error", "oops"), False),
        (claude(504, "timeout_error", "slow"), False),
        (claude(529, "overloaded_error", "busy"), False),
        (AuthFailed("key"), True),
        (NotConfigured("set it"), True),
        (Unreachable("refused"), False),
        (Unreachable("bad certificate", retryable=False), True),
        (ProtocolError("reset"), False),
        (Timeout("slow", stage="connect"), False),
        (Timeout("slow", stage="first_byte"), False),
        (Timeout("all the time there was", stage="total"), True),
    ],
)
def test_a_retry_is_forbidden_where_it_could_only_do_harm(error: ProviderError, final: bool) -> None:
    for dialect in ("openai", "anthropic", "responses"):
        told = dict(rejection_of(error, dialect).headers).get(b"x-should-retry")
        assert told == (b"false" if final else None)


@pytest.mark.parametrize("verdict", [b"true", b"false"])
def test_claudes_own_word_on_a_retry_goes_first(verdict: bytes) -> None:
    for status in (400, 409, 429, 529):
        error = claude(status, "x_error", "said", (b"x-should-retry", verdict))
        assert dict(rejection_of(error, "anthropic").headers)[b"x-should-retry"] == verdict
        assert dict(rejection_of(error, "openai").headers)[b"x-should-retry"] == verdict


def test_a_secret_inside_claudes_error_object_is_hidden_too() -> None:
    error = claude(400, "invalid_request_error", f"bad header {SECRETS['ADMIN_API_KEY']}")
    told = str(envelope(rejection_of(error, "anthropic"), "anthropic"))
    assert SECRETS["ADMIN_API_KEY"] not in told
    assert "bad header …" in told
