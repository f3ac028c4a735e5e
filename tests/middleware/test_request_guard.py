"""A head that could be read in two ways is not passed on."""

from __future__ import annotations

from typing import Any

import pytest

from middleware.request_guard import RequestGuardMiddleware
from tests.middleware.asgi import Answer, Client, answer_of, body_messages, make_scope

pytestmark = pytest.mark.anyio

HOST = ("host", "gateway.test")


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def guarded(headers: list[tuple[str, str]], **scope: Any) -> Answer:
    client = Client(body_messages(b"{}"))
    replaced = {key: scope.pop(key) for key in ("raw_path",) if key in scope}
    await RequestGuardMiddleware(ok)(
        {**make_scope(headers=headers, **scope), **replaced}, client.receive, client.send
    )
    assert client.received == 0
    return answer_of(client.sent)


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, ("content-length", "2")],
        [HOST, ("transfer-encoding", "chunked")],
        [HOST, ("transfer-encoding", " Chunked ")],
        [HOST, ("x-pad", "a" * 30_000)],
    ],
)
async def test_an_ordinary_head_passes(headers: list[tuple[str, str]]) -> None:
    assert (await guarded(headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 400, "invalid_host"),
        ([("host", "")], 400, "invalid_host"),
        ([HOST, HOST], 400, "invalid_host"),
        ([HOST, ("host", "evil.test")], 400, "invalid_host"),
        ([HOST, ("content-length", "2"), ("content-length", "2")], 400, "invalid_content_length"),
        ([HOST, ("content-length", "2"), ("transfer-encoding", "chunked")], 400, "invalid_content_length"),
        ([HOST, ("transfer-encoding", "gzip, chunked")], 400, "invalid_transfer_encoding"),
        ([HOST, ("transfer-encoding", "xchunked")], 400, "invalid_transfer_encoding"),
        (
            [HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            400,
            "invalid_transfer_encoding",
        ),
        ([HOST, ("x-pad", "a" * 33_000)], 431, "request_header_fields_too_large"),
        ([HOST, *[(f"x-{i}", "v") for i in range(4_000)]], 431, "request_header_fields_too_large"),
    ],
)
async def test_an_ambiguous_or_huge_head_is_refused_and_the_connection_closed(
    headers: list[tuple[str, str]], status: int, code: str
) -> None:
    answer = await guarded(headers)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("http_version", ["1.0", "1", "2"])
async def test_only_http_1_1_must_name_its_host(http_version: str) -> None:
    assert (await guarded([], http_version=http_version)).status == 200


@pytest.mark.parametrize("target", ["http://evil.test/v1/models", "evil.test:443", ""])
async def test_a_target_that_is_not_a_path_is_refused(target: str) -> None:
    assert (await guarded([HOST], path=target)).json()["error"]["code"] == "invalid_target"


async def test_an_absolute_target_is_refused_where_only_the_raw_path_shows_it() -> None:
    assert (await guarded([HOST], raw_path=b"http://evil.test/")).status == 400


async def test_a_server_without_raw_path_is_served() -> None:
    assert (await guarded([HOST], raw_path=None)).status == 200


async def test_options_may_ask_for_the_server_itself() -> None:
    assert (await guarded([HOST], method="OPTIONS", path="*", raw_path=b"*")).status == 200
    assert (await guarded([HOST], method="GET", path="*", raw_path=b"*")).status == 400


async def test_a_long_target_counts_towards_the_head() -> None:
    assert (await guarded([HOST], query=b"q" * 33_000)).status == 431


async def test_http_2_connections_are_not_told_to_close() -> None:
    answer = await guarded([HOST, HOST], http_version="2")
    assert answer.status == 400
    assert "connection" not in answer.headers


async def test_other_scopes_pass() -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    client = Client()
    await RequestGuardMiddleware(app)({"type": "lifespan"}, client.receive, client.send)
    await RequestGuardMiddleware(app)({"type": "websocket"}, client.receive, client.send)
    assert passed == ["lifespan", "websocket"]
