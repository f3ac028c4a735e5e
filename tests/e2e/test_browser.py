"""Web pages of an origin that the operator has named, as a browser asks for them; and everybody else's."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from .conftest import settings_for
from .gateway import KEY, Gateway, running_gateway
from .upstream import Upstream

PAGE = "https://chat.example.com"


@pytest.fixture(scope="module")
def open_to_page(shared_upstream: Upstream) -> Iterator[Gateway]:
    with running_gateway(**settings_for(shared_upstream, CORS_ORIGINS=PAGE)) as running:
        yield running


def ask(
    gateway: Gateway, method: str, origin: str, body: str = "", **headers: str
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request(
        method, "/v1/models" if method == "GET" else "/v1/messages", body, {"origin": origin, **headers}
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-app"}


def test_a_page_that_is_named_may_ask_with_its_key_and_read_what_it_is_told(open_to_page: Gateway) -> None:
    status, headers = ask(open_to_page, "OPTIONS", PAGE, **PREFLIGHT)
    assert status == 204
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-headers"] == "authorization,x-app"
    status, headers = ask(open_to_page, "GET", PAGE, authorization=f"Bearer {KEY}")
    assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
    assert headers["access-control-expose-headers"] == "*"
    assert headers["x-request-id"]
    status, headers = ask(open_to_page, "GET", PAGE)
    assert (status, headers["access-control-allow-origin"]) == (401, PAGE)
    assert headers["x-should-retry"] == "false"


def test_other_pages_are_told_nothing(open_to_page: Gateway, gateway: Gateway) -> None:
    for where, origin in ((open_to_page, "https://evil.example.com"), (gateway, PAGE)):
        for method, more in (("OPTIONS", PREFLIGHT), ("GET", {"authorization": f"Bearer {KEY}"})):
            status, headers = ask(where, method, origin, **more)
            assert not [name for name in headers if name.startswith("access-control")]
            assert status == (200 if method == "GET" else 403 if where is open_to_page else 401)
