"""What a request could cost at most is not made smaller by how the request is written."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any

import orjson
import pytest

from gw.app import _dispatcher
from gw.bounds import IMAGE_TOKENS, PAGE_TOKENS, cost_bound
from gw.prices import PriceBook
from gw.settings import load
from gw.upstreams import Upstreams
from middleware._body import Body
from middleware.budget import Price
from middleware.policy.attachments import MOST_PAGES

#: 2026-11-24, in nano-dollars: output of Sonnet 5.5, of Opus 5.5; input of Sonnet 5.5.
NOW, SONNET, OPUS, READ = 1_795_478_400.0, 10_000, 20_000, 2_000
ENVIRONMENT = {
    "GATEWAY_API_KEY": "bounds-gateway-key-0123456789abcdef",
    "ANTHROPIC_API_KEY": "sk-ant-bounds-0123456789",
    "OPENAI_COMPATIBLE_OPENROUTER_BASE_URL": "https://openrouter.ai/api/v1",
}


@pytest.fixture(scope="module")
def price() -> Price:
    settings = load(ENVIRONMENT)
    prices = PriceBook(None, {one.name: one.base_url for one in settings.compatible})
    return cost_bound(_dispatcher(settings, Upstreams(settings)), prices, 1_200, clock=lambda: NOW)


async def _nobody() -> dict[str, Any]:
    raise AssertionError("the body is there already")


def found(price: Price, path: str, **request: Any) -> int | None:
    body = Body(orjson.dumps({"model": "sonnet", **request}), _nobody)
    return price(body, {"path": path, "state": {}})


def bound(price: Price, path: str, **request: Any) -> int:
    nano = found(price, path, **request)
    assert nano is not None
    return nano


def asking(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "max_output_tokens"),
        ("/chat", "max_output_tokens"),
        ("/v1/messages", "max_output_tokens"),
        ("/v1/messages", "max_completion_tokens"),
        ("/v1/responses", "max_tokens"),
    ],
)
def test_a_limit_that_the_handler_does_not_read_limits_nothing(price: Price, path: str, name: str) -> None:
    assert bound(price, path, **{name: 1}) >= bound(price, path) > 20_000 * SONNET


@pytest.mark.parametrize("limit", [64_000.0, "64000", "6.4e4", 63_999.5])
def test_a_limit_that_a_lenient_upstream_reads_counts(price: Price, limit: object) -> None:
    assert bound(price, "/v1/messages", max_tokens=limit) >= 64_000 * SONNET
    assert bound(price, "/v1/chat/completions", max_tokens=1_000, n=limit) >= 64_000_000 * SONNET


@pytest.mark.parametrize("limit", [float(10**300), "1e999", "9" * 5000, True, [5], {}, -5, "nan"])
def test_a_limit_that_is_none_does_no_harm(price: Price, limit: object) -> None:
    assert bound(price, "/v1/messages", max_tokens=limit) > 20_000 * SONNET


@pytest.mark.parametrize(
    "text",
    ["data:x;base64," + "A" * 1_000_000, "iVBORw0KGgo" + "A" * 1_000_000, "/9j/" + "base64" * 200_000],
)
def test_text_that_looks_like_an_image_is_text(price: Price, text: str) -> None:
    for block in (
        {"type": "text", "text": text},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"type": "image", "source": {"data": text}}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64," + text}},
    ):
        assert bound(price, "/v1/messages", max_tokens=1, messages=asking(block)) >= 400_000 * READ


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 500_000}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "image", "source": {"type": "url"}}],
        },
    ],
)
def test_an_image_costs_what_an_image_may_cost(price: Price, image: dict[str, Any]) -> None:
    one = bound(price, "/v1/messages", max_tokens=1, messages=asking(image))
    assert IMAGE_TOKENS * READ <= one <= 3 * IMAGE_TOKENS * READ
    assert bound(price, "/v1/messages", max_tokens=1, messages=asking(*[image] * 9)) > 8 * one


def pdf(pages: int, *, packed: bool = False) -> str:
    text = b"<< /Type /Pages >>" + b"<< /Type /Page /Parent 1 0 R >>" * pages
    if packed:
        text = b"<< /Type /ObjStm /Filter /FlateDecode >>\nstream\r\n" + zlib.compress(text) + b"\nendstream"
    return b64encode(b"%PDF-1.7\n" + text).decode()


@pytest.mark.parametrize("packed", [False, True])
def test_the_pages_of_a_pdf_are_counted(price: Price, packed: bool) -> None:
    def of(data: str) -> int:
        source = {"type": "base64", "media_type": "application/pdf", "data": data}
        return bound(
            price, "/v1/messages", max_tokens=1, messages=asking({"type": "document", "source": source})
        )

    assert 40 * PAGE_TOKENS * READ <= of(pdf(40, packed=packed)) <= 41 * PAGE_TOKENS * READ * 2
    assert of(b64encode(b"%PDF-1.7 " + b"\0" * 99).decode()) >= MOST_PAGES * PAGE_TOKENS * READ
    assert of("not base64 at all!") >= MOST_PAGES * PAGE_TOKENS * READ


@pytest.mark.parametrize(
    "document",
    [
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "input_file", "file_id": "file_1"},
        {
            "type": "file",
            "file": {"file_id": "f"},
            "image_url": "data:application/pdf;base64," + pdf(1, packed=False),
        },
    ],
)
def test_a_file_that_is_not_in_the_request_may_have_many_pages(
    price: Price, document: dict[str, Any]
) -> None:
    nano = bound(price, "/v1/messages", max_tokens=1, messages=asking(document))
    assert nano >= MOST_PAGES * PAGE_TOKENS * READ


@pytest.mark.parametrize(
    "also",
    [
        {"models": ["openai/gpt-5-nano", "anthropic/claude-opus-4"]},
        {"fallbacks": [{"model": "anthropic/claude-opus-4"}]},
        {"tools": [{"type": "advisor", "name": "advisor", "model": "anthropic/claude-opus-4"}]},
    ],
)
def test_every_model_that_may_answer_is_priced(price: Price, also: dict[str, Any]) -> None:
    asked = {"model": "openrouter:openai/gpt-5-nano", "max_tokens": 10_000}
    assert bound(price, "/v1/chat/completions", **asked, **also) >= 10_000 * 75_000
    unknown = {**asked, "models": ["nobody/knows-its-price"]}
    assert found(price, "/v1/chat/completions", **unknown) is None


def test_tools_that_the_provider_runs_read_the_prompt_again(price: Price) -> None:
    text = "word " * 50_000
    messages = asking({"type": "text", "text": text})
    search = {"type": "web_search_20250305", "name": "web_search"}

    def of(**more: Any) -> int:
        return bound(price, "/v1/messages", max_tokens=1_000, messages=messages, **more)

    plain, once = of(), of(tools=[{**search, "max_uses": 1}])
    # $10 for 1,000 searches.
    assert once - plain >= 10_000_000 + 100_000 * READ
    assert of(tools=[search]) - plain >= 10 * (once - plain)
    assert of(tools=[{**search, "max_uses": 1_000}]) >= 1_000 * 10_000_000
    assert of(tools=[{"name": "web_search", "input_schema": {"type": "object"}}]) < plain * 1.01
    assert of(mcp_servers=[{"type": "url", "url": "https://x", "name": "x"}]) > 10 * 100_000 * READ
