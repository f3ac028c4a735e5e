"""CORS: pages of named origins may call, nobody else's is ever reflected."""

from __future__ import annotations

from typing import Any

import pytest

from middleware.auth import AuthMiddleware
from middleware.cors import CorsMiddleware

from .asgi import Answer, call

pytestmark = pytest.mark.anyio

PAGE = "https://chat.example.com"
OTHERS = [
    "https://evil.example.com",
    "https://chat.example.com.evil.net",
    "https://chat.example.com:8443",
    "http://chat.example.com",
    "https://CHAT.example.com",
    "null",
    "*",
    "",
    "https://chat.example.com, https://evil.example.com",
]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [
        (b"vary", b"accept"),
        (b"access-control-allow-origin", b"*"),
        (b"Access-Control-Allow-Credentials", b"true"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


APP = CorsMiddleware(AuthMiddleware(hello, keys=["a-key"]), origins=[PAGE, "app://obsidian.md"])


async def preflight(origin: str, **headers: str) -> Answer:
    asked = {"origin": origin, "access-control-request-method": "POST", **headers}
    return await call(APP, method="OPTIONS", headers=asked)


async def post(**headers: str) -> Answer:
    return await call(APP, headers=headers)


@pytest.mark.parametrize("origin", [PAGE, "app://obsidian.md"])
async def test_a_preflight_is_answered_before_anybody_asks_for_a_key(origin: str) -> None:
    names = "authorization,content-type,x-stainless-lang"
    answer = await preflight(origin, **{"access-control-request-headers": names})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-headers"] == names
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "600"
    assert "origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", OTHERS)
async def test_no_other_origin_is_ever_reflected(origin: str) -> None:
    for answer in (
        await preflight(origin, **{"access-control-request-headers": "authorization"}),
        await post(origin=origin, authorization="Bearer a-key"),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert any(b"origin" in value for name, value in answer.raw_headers if name == b"vary")
    assert (await preflight(origin)).status == 403
    assert (await post(origin=origin, authorization="Bearer a-key")).status == 200


async def test_names_that_are_no_header_names_are_not_reflected() -> None:
    answer = await preflight(PAGE, **{"access-control-request-headers": "a\r\nset-cookie: b"})
    assert "access-control-allow-headers" not in answer.headers


async def test_a_page_may_read_the_answer_and_all_its_headers() -> None:
    answer = await post(origin=PAGE, authorization="Bearer a-key")
    assert answer.body == b"hello"
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "*"
    assert [value for name, value in answer.raw_headers if name == b"vary"] == [b"accept", b"origin"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_may_read_a_refusal() -> None:
    answer = await post(origin=PAGE)
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_programs_notice_nothing() -> None:
    answer = await post(authorization="Bearer a-key")
    assert "access-control-allow-origin" not in answer.headers
    options = await call(APP, method="OPTIONS", headers={"origin": PAGE})
    assert options.status == 401  # no preflight: a request like any other


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "chat.example.com", f"{PAGE}/", f"{PAGE}/path", "https://A.example.com", "https://"],
)
def test_what_no_browser_sends_cannot_be_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        CorsMiddleware(hello, origins=[origin])
