"""What is known of a request before its upstream has counted it."""

from __future__ import annotations

import base64
import random
from typing import Any

import orjson
import pytest

from gw.ledger.asking import dialect_of, is_for_models, tokens_in
from providers.estimate import BYTES_PER_TOKEN, IMAGE_TOKENS

IMAGE = base64.b64encode(random.Random(5).randbytes(300_000)).decode()
WORDS = 'some words with "quotes",\nlines and { brackets } ' * 2_000


@pytest.mark.parametrize(
    ("body", "images"),
    [
        ({"content": "Hi"}, 0),
        ({"content": WORDS}, 0),
        ({"source": {"type": "base64", "data": IMAGE}}, 1),
        ({"image_url": {"url": f"data:image/png;base64,{IMAGE}"}, "text": WORDS}, 1),
        ([{"data": IMAGE}, {"text": WORDS}, {"data": IMAGE}, {"data": IMAGE[:100_000]}], 3),
    ],
)
def test_images_are_not_taken_for_text(body: Any, images: int) -> None:
    request = orjson.dumps(body)
    text = orjson.dumps(body).replace(IMAGE.encode(), b"").replace(IMAGE[:100_000].encode(), b"")
    expected = len(text) / BYTES_PER_TOKEN + images * IMAGE_TOKENS
    # A part of each image's first step may be counted as text.
    assert expected <= tokens_in(request) <= expected + 1 + images * 8_192 / BYTES_PER_TOKEN


class _Counting(bytes):
    """Knows how many of its bytes were searched."""

    searched = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(what, start)
        self.searched += (len(self) if found < 0 else found + 1) - start
        return found


@pytest.mark.parametrize("body", [b"[" + b"1," * 10**6 + b"1]", b'"' * 10**6, b'"' + b"x" * 10**6 + b'"'])
def test_a_request_is_searched_once_whatever_it_is_made_of(body: bytes) -> None:
    request = _Counting(body)
    assert tokens_in(request) > 0
    assert 0 < request.searched <= len(body)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", "chat"),
        ("/chat/completions", "chat"),
        ("/V1/Messages/", "messages"),
        ("/v1/messages/count_tokens", ""),
        ("/v1/responses", "responses"),
        ("/v1/responses/input_tokens", ""),
        ("/v1/responses/resp_1", ""),
        ("/completions", "completions"),
        ("/v1/embeddings", "embeddings"),
        ("/chat", "simple"),
        ("/v1/chat", ""),
        ("/v1/models", ""),
        ("/admin/usage", ""),
        ("/", ""),
    ],
)
def test_each_path_has_the_dialect_that_its_rows_name(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect
    assert is_for_models(path) == bool(dialect)


def test_a_path_that_is_nobodys_is_not_remembered() -> None:
    before = dialect_of.cache_info().currsize
    assert not is_for_models("/v1/" + "/" * 100_000 + "messages")
    assert dialect_of.cache_info().currsize == before
