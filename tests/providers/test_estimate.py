"""Estimates of tokens: by bytes, better with every answer, and the same way for each provider."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import CountsTokens
from providers.errors import BadRequest
from providers.estimate import BYTES_PER_TOKEN, FEWEST_BYTES, IMAGE_TOKENS, MOST_BYTES, TokenRatios, embedded
from providers.ollama.adapter import OllamaProvider
from providers.openai_compatible.adapter import OpenAICompatibleProvider
from providers.translate.messages_chat import to_chat
from providers.types import ChatCall, Usage
from tests.providers.anthropic.sources import Client, Scripted

pytestmark = pytest.mark.anyio

JSON = ((b"content-type", b"application/json"),)
LINES = ((b"content-type", b"application/x-ndjson"),)
PNG = f"data:image/png;base64,{base64.b64encode(bytes(9_000)).decode()}"


def told(**body: Any) -> Scripted:
    return Scripted(orjson.dumps(body), headers=JSON)


def call(content: Any = "hello " * 1_000, **body: Any) -> ChatCall:
    return ChatCall({"model": "x", "messages": [{"role": "user", "content": content}], **body}, "m", "x:m")


def openai(*answers: Scripted) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(Client(*answers), name="x", base_url="http://box/v1")


def ollama(*answers: Scripted) -> OllamaProvider:
    shown = told(
        capabilities=["completion", "vision"],
        model_info={"general.architecture": "q", "q.context_length": 32_768},
    )
    return OllamaProvider(Client(shown, told(models=[]), *answers), base_url="http://box", models=("m",))


def completion(prompt_tokens: int) -> Scripted:
    return told(
        id="1",
        model="m",
        choices=[{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        usage={"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1},
    )


def lines(prompt_tokens: int) -> Scripted:
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": prompt_tokens, "eval_count": 1}
    body = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, **end}
    return Scripted(orjson.dumps(body) + b"\n", headers=LINES)


@pytest.mark.parametrize("make", [openai, ollama])
async def test_an_estimate_asks_nobody_and_is_about_the_bytes_that_would_be_sent(make: Any) -> None:
    provider = make()
    counting: object = provider
    assert isinstance(counting, CountsTokens)
    small, large = await provider.estimate(call("hi")), await provider.estimate(call())
    assert 6_000 / BYTES_PER_TOKEN <= large - small <= 6_000 / BYTES_PER_TOKEN + 1
    assert small < 150
    await provider.aclose()


@pytest.mark.parametrize(("make", "answer"), [(openai, completion), (ollama, lines)])
async def test_an_estimate_is_what_the_upstream_has_counted_before(make: Any, answer: Any) -> None:
    provider = make(answer(1_500))
    before = await provider.estimate(call())
    assert before > 1_800
    await (await provider.chat(call())).completion()
    assert await provider.estimate(call()) == pytest.approx(1_500, rel=0.03)
    await provider.aclose()


@pytest.mark.parametrize("make", [openai, ollama])
async def test_an_image_counts_as_an_image_not_as_its_bytes(make: Any) -> None:
    provider = make()
    image = {"type": "image_url", "image_url": {"url": PNG}}
    said = [{"type": "text", "text": "Look:"}]
    plain = await provider.estimate(call(said))
    assert 0 <= await provider.estimate(call([*said, image])) - plain - IMAGE_TOKENS < 50
    await provider.aclose()


@pytest.mark.parametrize("make", [openai, ollama])
async def test_what_is_wrong_with_a_request_is_a_400(make: Any) -> None:
    provider = make()
    with pytest.raises(BadRequest):
        await provider.estimate(call("\ud800"))
    await provider.aclose()


async def test_a_count_of_tokens_in_anthropics_dialect_is_estimated() -> None:
    chat = to_chat({"model": "m", "system": "Be. " * 500, "messages": [{"role": "user", "content": "hi"}]})
    provider = openai()
    assert await provider.estimate(ChatCall(chat.body, "m", "m")) > 500


async def test_an_answer_that_broke_off_teaches_nothing() -> None:
    ratios = TokenRatios()
    before = ratios.estimate("m", 3_000)
    ratios.asked("m", 3_000, Usage())
    assert ratios.estimate("m", 3_000) == before


def test_a_request_with_images_teaches_nothing() -> None:
    ratios = TokenRatios()
    ratios.asked("m", 3_000, Usage(input_tokens=1_000), images=1)
    assert ratios.estimate("m", 3_200) == 1_000


def test_models_are_calibrated_each_for_itself_and_by_the_latest_answers() -> None:
    ratios = TokenRatios()
    for _ in range(30):
        ratios.asked("m", 4_000, Usage(cache_read_tokens=600, input_tokens=400))
        ratios.estimate("m", 1)
    assert ratios.estimate("m", 4_000) == pytest.approx(1_000, rel=0.01)
    assert ratios.estimate("other", 3_200) == 1_000


def test_what_is_remembered_is_bounded() -> None:
    ratios = TokenRatios()
    for number in range(3_000):
        ratios.asked(str(number), 30, Usage(input_tokens=10))
        ratios.counted(str(number), 30, 10)
    assert len(ratios._ratios) == len(ratios._waiting) == 1_024
    for _ in range(100):
        ratios.asked("2999", 30, Usage())
    assert len(ratios._waiting["2999"]) < 100


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6))),
    st.integers(0, 10**7),
)
def test_no_count_leads_to_an_estimate_beyond_what_any_tokenizer_makes(
    counted: list[tuple[int, int]], size: int
) -> None:
    ratios = TokenRatios()
    for bytes_sent, tokens in counted:
        ratios.asked("m", bytes_sent % 997, Usage(input_tokens=tokens % 997))
        ratios.counted("m", bytes_sent, tokens)
    assert size / MOST_BYTES - 1 <= ratios.estimate("m", size) <= size / FEWEST_BYTES + 1


def test_embedded_files_are_found_in_the_json_of_a_request() -> None:
    pdf = "data:application/pdf;base64,JVBERi0="
    body = orjson.dumps({"a": [PNG, {"b": pdf}], "c": "as in data:image/png;base64,AAAA", "d": "x;base64,"})
    assert embedded(body) == (2, 12_000 + 8)
    assert embedded(b"{}") == (0, 0)
