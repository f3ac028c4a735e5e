"""Auth: exactly the holders of a key get in, and nobody learns anything on the way."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._paths import canonical
from middleware._state import PRINCIPAL, Principal
from middleware.auth import AuthMiddleware, key_fingerprint

from .asgi import Answer, call, make_scope

pytestmark = pytest.mark.anyio

KEY = "gw_live_0123456789abcdefghijklmnopqrstuv"
NEAR = KEY[:-1] + "w"
ADMIN = "admin-0123456789abcdefghijkl"


class _App:
    """Answers 200 and remembers who got in."""

    def __init__(self) -> None:
        self.admitted: list[Principal | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.admitted.append((scope.get("state") or {}).get(PRINCIPAL))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _with(*headers: tuple[str | bytes, str | bytes], path: str = "/v1/chat/completions") -> Answer:
    return await call(AuthMiddleware(_App(), keys=[KEY]), headers=list(headers), path=path)


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer {KEY}"),
        ("authorization", f"BEARER  {KEY} "),
        ("x-api-key", KEY),
        ("api-key", KEY),
    ],
)
async def test_every_clients_way_of_sending_a_key_is_understood(header: tuple[str, str]) -> None:
    app = _App()
    answer = await call(AuthMiddleware(app, keys={KEY: "red"}), headers=[header])
    assert answer.status == 200
    assert app.admitted == [Principal("red", key_fingerprint(KEY))]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Basic {KEY}")],
        [("authorization", KEY)],
        [("authorization", f"Bearer {NEAR}")],
        [("authorization", f"Bearer {KEY}x")],
        [("authorization", f"Bearer {KEY[:-1]}")],
        [("authorization", f"Bearer {KEY} {KEY}")],
        [("authorization", f"Bearer {KEY.upper()}")],
        [("authorization", b"Bearer \xff\xfe")],
        [("x-api-key", b"\xc3\xa9" * 20)],
        [("x-api-key", KEY * 100)],
        [("cookie", KEY)],
    ],
)
async def test_anything_but_the_key_is_a_401_that_names_the_scheme(headers: list[Any]) -> None:
    answer = await _with(*headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert KEY.encode() not in answer.body


async def test_keys_that_differ_only_in_their_last_byte_are_different_callers() -> None:
    app = _App()
    auth = AuthMiddleware(app, keys={KEY: "red", NEAR: "blue"})
    for key in (KEY, NEAR):
        assert (await call(auth, headers={"x-api-key": key})).status == 200
    assert [p.project for p in app.admitted if p] == ["red", "blue"]
    assert len({p.key_id for p in app.admitted if p}) == 2


async def test_anthropics_sdk_gets_anthropics_envelope() -> None:
    answer = await _with(("x-api-key", "wrong"), path="/v1/messages")
    assert answer.status == 401
    assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer dummy"), ("x-api-key", KEY)],
        [("authorization", f"Bearer {KEY}"), ("api-key", KEY)],
        [("api-key", "dummy"), ("authorization", f"Bearer {KEY}")],
        [("authorization", "Basic Zm9v"), ("authorization", f"Bearer {KEY}")],
    ],
)
async def test_a_placeholder_beside_the_right_key_does_no_harm(headers: list[Any]) -> None:
    assert (await _with(*headers)).status == 200


async def test_one_request_cannot_try_many_keys() -> None:
    guesses = [("x-api-key", f"guess-{n}") for n in range(3)]
    assert (await _with(*guesses, ("api-key", KEY))).status == 401
    repeated = [("x-api-key", KEY)] * 20
    assert (await _with(*repeated)).status == 200


async def test_of_two_valid_keys_the_authorization_header_decides() -> None:
    app = _App()
    auth = AuthMiddleware(app, keys={KEY: "red", NEAR: "blue"})
    await call(auth, headers=[("api-key", KEY), ("x-api-key", KEY), ("authorization", f"Bearer {NEAR}")])
    assert app.admitted[0] is not None
    assert app.admitted[0].project == "blue"


async def test_every_configured_key_is_compared_on_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    auth = AuthMiddleware(_App(), keys=[f"{KEY}{n}" for n in range(5)])
    for key in (f"{KEY}0", f"{KEY}4", "x"):
        compared.clear()
        await call(auth, headers={"x-api-key": key})
        assert compared == [(32, 32)] * 5


@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"api-key"]), st.binary(max_size=60)))
)
def test_hostile_headers_are_refused_and_never_an_error(headers: list[tuple[bytes, bytes]]) -> None:
    app = _App()
    answer = asyncio.run(call(AuthMiddleware(app, keys=[KEY]), headers=headers))
    assert answer.status == 401
    assert app.admitted == []


@pytest.mark.parametrize("path", ["/health", "/live", "/ready"])
async def test_health_checks_need_no_key(path: str) -> None:
    assert (await _with(path=path)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/health/../v1/models",
        "/healthy",
        "/health/x",
        "//v1/models",
        "/v1/models/",
        "*",
        "",
        "/live%2f..",
        "/..",
    ],
)
async def test_no_spelling_of_a_guarded_path_is_public(path: str) -> None:
    assert (await _with(path=path)).status == 401


async def test_a_preflight_needs_a_key_too() -> None:
    answer = await call(AuthMiddleware(_App(), keys=[KEY]), method="OPTIONS", headers=[])
    assert answer.status == 401


def _both(app: Any, admin_keys: list[str]) -> AuthMiddleware:
    """As the gateway installs it: users everywhere but /admin, the administrator on /admin."""
    inner = AuthMiddleware(app, keys=admin_keys, only=["/admin"], public=(), closed="Set ADMIN_API_KEY.")
    return AuthMiddleware(inner, keys=[KEY], skip=["/admin"])


@pytest.mark.parametrize(
    "path",
    ["/admin", "/admin/", "/admin/usage", "/ADMIN/usage", "//admin/usage", "/./admin", "/v1/../Admin/x"],
)
async def test_a_users_key_never_opens_the_admin_routes(path: str) -> None:
    app = _App()
    auth = _both(app, [ADMIN])
    assert (await call(auth, path=path, headers={"x-api-key": KEY})).status == 401
    assert (await call(auth, path=path, headers=[])).status == 401
    assert app.admitted == []
    assert (await call(auth, path=path, headers={"x-api-key": ADMIN})).status == 200


async def test_the_admin_key_is_no_users_key() -> None:
    auth = _both(_App(), [ADMIN])
    assert (await call(auth, headers={"x-api-key": ADMIN})).status == 401
    assert (await call(auth, path="/administrator", headers={"x-api-key": ADMIN})).status == 401
    assert (await call(auth, headers={"x-api-key": KEY})).status == 200


async def test_without_an_admin_key_the_admin_routes_are_closed_and_say_why() -> None:
    auth = _both(_App(), [])
    for headers in ({}, {"x-api-key": KEY}, {"x-api-key": ADMIN}, {"x-api-key": ""}):
        answer = await call(auth, path="/admin/metrics", headers=headers)
        assert answer.status == 403
        assert answer.json()["error"]["message"] == "Set ADMIN_API_KEY."


@given(st.text(alphabet="/.aAdDmMiInN%", max_size=20))
def test_every_path_is_guarded_by_one_of_the_two(path: str) -> None:
    answer = asyncio.run(call(_both(_App(), [ADMIN]), path=path, headers=[]))
    assert answer.status == 401
    assert canonical(canonical(path)) == canonical(path)


@pytest.mark.parametrize("key", ["", " ", "sécret", "x" * 600, " padded "])
def test_an_unusable_key_is_refused_at_boot_without_being_quoted(key: str) -> None:
    with pytest.raises(ValueError) as error:
        AuthMiddleware(_App(), keys=[key])
    assert not key.strip() or key not in str(error.value)


def test_one_string_is_not_a_list_of_keys() -> None:
    with pytest.raises(TypeError):
        AuthMiddleware(_App(), keys="abc")


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_verify_may_ask_a_store(asynchronous: bool) -> None:
    app = _App()
    owner = Principal("red", "id")

    def look_up(key: str) -> Principal | None:
        return owner if key == KEY else None

    async def ask(key: str) -> Principal | None:
        await asyncio.sleep(0)
        return look_up(key)

    auth = AuthMiddleware(app, verify=ask if asynchronous else look_up)
    assert (await call(auth, headers={"x-api-key": KEY})).status == 200
    assert (await call(auth, headers={"x-api-key": NEAR})).status == 401
    assert app.admitted == [owner]


async def test_a_store_that_is_down_is_503_and_never_401(caplog: pytest.LogCaptureFixture) -> None:
    def down(key: str) -> Principal | None:
        raise ConnectionError(f"lost while looking for {key}")

    with caplog.at_level(logging.DEBUG):
        answer = await call(AuthMiddleware(_App(), verify=down), headers={"x-api-key": KEY})
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert "ConnectionError" in caplog.text
    assert KEY not in caplog.text + answer.body.decode()


async def test_a_store_is_never_asked_about_what_cannot_be_a_key() -> None:
    asked: list[str] = []
    auth = AuthMiddleware(_App(), verify=asked.append)
    for value in (b"\xff", b"  ", b"x" * 1000, "é".encode()):
        assert (await call(auth, headers=[("x-api-key", value)])).status == 401
    assert asked == []


async def test_the_key_stays_out_of_the_state() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"])
        await _App()(scope, receive, send)

    await call(AuthMiddleware(app, keys=[KEY]), headers={"x-api-key": KEY})
    assert KEY not in repr(seen)


async def test_a_websocket_is_guarded_like_a_request() -> None:
    app = _App()
    auth = AuthMiddleware(app, keys=[KEY])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await auth({**make_scope(headers=[]), "type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.admitted == []
    await auth({**make_scope(headers={"x-api-key": KEY}), "type": "websocket"}, receive, send)
    assert len(app.admitted) == 1
