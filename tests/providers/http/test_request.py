"""URLs and heads: pure functions, so plain tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.http.request import parse_url, serialise
from providers.http.types import Header


@pytest.mark.parametrize(
    ("url", "origin", "line"),
    [
        ("http://Example.test", ("http", "example.test", 80), b" / HTTP/1.1\r\nHost: example.test"),
        ("https://e.test/a?b=c#d", ("https", "e.test", 443), b" /a?b=c HTTP/1.1\r\nHost: e.test"),
        ("https://e.test:443/", ("https", "e.test", 443), b" / HTTP/1.1\r\nHost: e.test"),
        ("http://e.test:8080?q", ("http", "e.test", 8080), b" /?q HTTP/1.1\r\nHost: e.test:8080"),
        ("http://[::1]:9/x", ("http", "::1", 9), b" /x HTTP/1.1\r\nHost: [::1]:9"),
        ("https://e.test//a//b", ("https", "e.test", 443), b" //a//b HTTP/1.1\r\nHost: e.test"),
    ],
)
def test_a_url_becomes_an_origin_and_a_request_line(
    url: str, origin: tuple[str, str, int], line: bytes
) -> None:
    target = parse_url(url)
    assert (target.origin, target.line) == (origin, line)


@pytest.mark.parametrize("url", ["http://e.test:port/", "http://e.test:70000/", "http://[::1/", "e.test", ""])
def test_a_broken_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_url(url)


@given(
    name=st.binary(max_size=8),
    value=st.binary(max_size=12),
    method=st.sampled_from(["GET", "POST", "X-Y"]),
    kind=st.sampled_from([list, tuple]),
)
def test_no_header_can_add_a_line(
    name: bytes, value: bytes, method: str, kind: type[list[Header]] | type[tuple[Header, ...]]
) -> None:
    try:
        head = serialise(method, parse_url("http://e.test/p"), kind([(name, value)]), 0)
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    fields = [line.partition(b": ")[0] for line in lines[1:-2]]
    assert fields == [b"Host", name, *([b"Content-Length"] if method == "POST" else [])]
    assert b"\n" not in head.replace(b"\r\n", b"")


def test_headers_given_as_a_tuple_are_remembered_for_their_own_request_only() -> None:
    here, there = parse_url("http://e.test/p"), parse_url("http://f.test/p")
    for given_headers in (((b"x-a", b"1"),), ((b"x-a", b"2"),)):
        for method, target, length in (
            ("POST", here, 3),
            ("POST", there, 3),
            ("GET", here, 0),
            ("POST", here, 40),
        ):
            listed = serialise(method, target, list(given_headers), length)
            assert serialise(method, target, given_headers, length) == listed
            assert serialise(method, target, given_headers, length) == listed


def test_importing_the_engine_does_not_import_httpx() -> None:
    code = "import sys, providers.http; print('httpx2' in sys.modules, 'anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
