"""Texts that Ollama completes: what goes up natively, and what comes back as OpenAI's objects."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest
from httpx2 import AsyncClient, MockTransport, Request, Response
from hypothesis import given
from hypothesis import strategies as st

from perf.simulated import Scenario, SimulatedUpstream
from providers.base import SpeaksCompletions
from providers.errors import BadRequest, ContextTooLong, ModelNotFound, ProviderError
from providers.http import open_client
from providers.http.types import Timeouts
from providers.ollama.adapter import OllamaProvider
from providers.ollama.completions import to_generate
from providers.ollama.models import shipped, unknown
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.ollama_chat import GenerateTranslator
from providers.translate.text_writer import TextWriter
from providers.types import CompletionCall, ModelCapabilities, ModelInfo, Usage
from tests.providers.translate.ollama_answers import MODEL, TIMES, go_json

pytestmark = pytest.mark.anyio

CODER = "qwen2.5-coder:7b-instruct"
MODELS = (CODER, "qwen3:8b", "gpt-oss:20b", "nomic-embed-text:latest")
CAN_INSERT = ModelInfo("m", "ollama", capabilities=ModelCapabilities(insert=True))
CANNOT = ModelInfo("m", "ollama", capabilities=ModelCapabilities())


def built(info: ModelInfo = CAN_INSERT, **body: Any) -> dict[str, Any]:
    request = to_generate(body, model="m", info=info, default_max_tokens=77)
    return {**request.body, "options": request.options}


def call(model: str = CODER, **body: Any) -> CompletionCall:
    return CompletionCall({"model": f"local:{model}", **body}, model, f"local:{model}")


async def read(reply: Any) -> bytes:
    return b"".join([piece async for piece in reply.sse()])


# -- the request --------------------------------------------------------------------------------------------


def test_a_prompt_goes_up_raw_and_nothing_is_truncated() -> None:
    assert built(prompt="def f(", temperature=0, top_p=0.9, seed=3, stop=["\n\n", " "], max_tokens=9) == {
        "model": "m",
        "prompt": "def f(",
        "raw": True,
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"temperature": 0, "top_p": 0.9, "seed": 3, "stop": ["\n\n", " "], "num_predict": 9},
    }
    assert built(prompt=["a"])["prompt"] == "a"
    assert built(prompt="a")["options"] == {"num_predict": 77}


def test_a_suffix_is_put_in_place_by_the_models_template() -> None:
    found = built(prompt="def f(", suffix="): pass")
    assert (found["prompt"], found["suffix"]) == ("def f(", "): pass")
    assert "raw" not in found
    # Nothing would be written for an empty prompt: Ollama only loads the model.
    assert built(prompt="", suffix="x")["prompt"] == "\n"
    for nothing in (None, ""):
        assert built(CANNOT, prompt="a", suffix=nothing)["raw"] is True


def test_a_model_that_thinks_is_told_not_to() -> None:
    thinks = ModelCapabilities(thinking=frozenset({"enabled", "disabled"}))
    assert built(ModelInfo("m", "ollama", capabilities=thinks), prompt="a")["think"] is False
    always = ModelCapabilities(effort=("low", "high"), thinks_by_default=True)
    assert "think" not in built(ModelInfo("m", "ollama", capabilities=always), prompt="a")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "prompt", "missing_required_parameter"),
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": 5}, "prompt", "unsupported_value"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_type"),
        ({"prompt": []}, "prompt", "invalid_type"),
        ({"prompt": ["a", "b"]}, "prompt", "unsupported_value"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_value"),
        ({"prompt": [[1, 2]]}, "prompt", "unsupported_value"),
        ({"prompt": ["a", 1]}, "prompt", "invalid_type"),
        ({"prompt": "a", "suffix": 5}, "suffix", "invalid_type"),
        ({"prompt": "a", "n": 2}, "n", "unsupported_value"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens", None),
        ({"prompt": "a", "temperature": "hot"}, "temperature", "invalid_type"),
        ({"prompt": "a", "stop": [1]}, "stop.0", None),
        ({"prompt": "a", "stream_options": 1}, "stream_options", None),
    ],
)
def test_what_cannot_be_done_is_a_clear_400(body: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(BadRequest) as refused:
        built(**body)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert refused.value.code == code or code is None


def test_a_suffix_needs_a_model_that_can() -> None:
    with pytest.raises(BadRequest) as refused:
        built(CANNOT, prompt="a", suffix="b")
    assert (refused.value.param, refused.value.code) == ("suffix", "unsupported_value")
    assert shipped("qwen2.5-coder:14b-instruct").capabilities.insert
    assert not shipped("llama3.2").capabilities.insert
    assert unknown("nobody:knows").capabilities.insert  # Ollama itself says it


def test_what_has_no_effect_is_named() -> None:
    body = {"prompt": "a", "best_of": 2, "logprobs": 1, "logit_bias": {"1": 2}, "user": None, "echo": True}
    assert to_generate(body, model="m", info=CANNOT).dropped == ("best_of", "logprobs", "logit_bias")


# -- the answer ---------------------------------------------------------------------------------------------


def line(response: str, at: int = 0, **more: Any) -> bytes:
    head = {"model": MODEL, "created_at": TIMES[at % 3], "response": response}
    return go_json({**head, "done": False, **more}) + b"\n"


def answer(*words: str, reason: str = "stop") -> bytes:
    last = line("", done=True, done_reason=reason, context=[1, 2], prompt_eval_count=7, eval_count=3)
    return b"".join(line(word, at) for at, word in enumerate(words)) + last


def fed(
    data: bytes, every: int = 1 << 20, *, stream: bool = True, echo: str = "", usage: bool = False
) -> tuple[bytes, GenerateTranslator]:
    """What comes out of ``data`` in reads of so many bytes, and of the end behind them."""
    translator = GenerateTranslator(
        model="x",
        shape=ReplyShape(include_usage=usage),
        streaming=stream,
        writer=lambda **form: TextWriter(**form, echo=echo),
    )
    out = b"".join(translator.feed(data[at : at + every]) for at in range(0, len(data), every))
    return out + translator.end(), translator


def objects(stream: bytes) -> list[dict[str, Any]]:
    *events, done, empty = stream.split(b"\n\n")
    assert (done, empty) == (b"data: [DONE]", b"")
    found = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    assert {one["object"] for one in found} == {"text_completion"}
    assert {one["id"] for one in found} == {found[0]["id"]}
    assert found[0]["id"].startswith("cmpl-")
    return found


WORDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=20)


@given(words=WORDS, every=st.integers(1, 500), usage=st.booleans(), echo=st.sampled_from(["", 'a "b"\n']))
def test_streamed_and_whole_say_the_same_however_they_are_cut(
    words: list[str], every: int, usage: bool, echo: str
) -> None:
    data = answer(*words)
    found = objects(fed(data, every, usage=usage, echo=echo)[0])
    last = found.pop() if usage else None
    assert [one["choices"][0]["text"] for one in found] == [*filter(None, [echo]), *words, ""]
    assert [one["choices"][0]["finish_reason"] for one in found] == [None] * (len(found) - 1) + ["stop"]
    assert all(("usage" in one) == usage for one in found)
    _, translator = fed(data, every, stream=False, echo=echo)
    whole = translator.completion()
    assert whole["choices"] == [
        {"index": 0, "text": echo + "".join(words), "logprobs": None, "finish_reason": "stop"}
    ]
    assert translator.usage == Usage(7, 3)
    if last is not None:
        assert last["choices"] == []
        assert last["usage"] == whole["usage"]


def test_thinking_is_left_out_and_a_limit_is_told() -> None:
    out, _ = fed(line("", thinking="hm") + answer("a", reason="length"))
    assert [one["choices"][0]["text"] for one in objects(out)] == ["a", ""]
    assert objects(out)[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        line("a"),
        line("a") + line("b")[:-5],
        line("a") + b'{"error":"no"}\n',
        line("a") + b"[]\n",
        b'{"response":5}\n',
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_answer_is_never_success(broken: bytes, stream: bool) -> None:
    out, translator = fed(broken, stream=stream)
    assert not translator.done
    assert isinstance(translator.failure, ProviderError)
    assert b"[DONE]" not in out


# -- the strict upstream, and the SDK -----------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS[:3])
async def test_the_sdk_completes_a_text_through_the_provider(model: str) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        upstream = OllamaProvider(client, base_url=sim.base_url, models=MODELS)
        assert isinstance(upstream, SpeaksCompletions)
        assert "completions" in upstream.features

        async def handle(request: Request) -> Response:
            reply = await upstream.complete(CompletionCall(orjson.loads(request.content), model, model))
            assert reply.first_token_at is not None
            if orjson.loads(request.content).get("stream"):
                return Response(200, content=await read(reply), headers={"content-type": "text/event-stream"})
            return Response(200, json=await reply.completion())

        http = AsyncClient(transport=MockTransport(handle))
        async with openai.AsyncOpenAI(api_key="k", base_url="http://gw/v1", http_client=http) as sdk:
            asked: Any = {"model": model, "prompt": "def f(", "max_tokens": 20, "echo": True}
            if model == CODER:
                asked["suffix"] = "): pass"
            whole = await sdk.completions.create(**asked)
            assert whole.choices[0].text.startswith("def f(You said")
            assert whole.choices[0].finish_reason == "length"
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 20
            stream = await sdk.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
            *parts, last = [part async for part in stream]
            assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text
            assert parts[-1].choices[0].finish_reason == "length"
            assert last.usage == whole.usage
        (first, _) = [seen for seen in sim.requests if seen.path == "/api/generate"]
        assert first.notes["num_ctx_set"]
        assert not first.notes["shift"]
        assert "ignored_fields" not in first.notes
        assert first.notes["loads"] == 1
        await upstream.aclose()
        await client.aclose()


async def test_a_prompt_that_does_not_fit_is_refused_and_names_the_prompt() -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        upstream = OllamaProvider(client, base_url=sim.base_url, models=MODELS)
        for prompt in ("word " * 80_000, "a" * 2_000_000):
            with pytest.raises(ContextTooLong) as refused:
                await upstream.complete(call(prompt=prompt))
            assert refused.value.param == "prompt"
        # One that is longer than it looks gets a larger context.
        reply = await upstream.complete(call(prompt="x" * 60_000, max_tokens=5))
        assert (await reply.completion())["usage"]["prompt_tokens"] > 10_000
        await upstream.aclose()
        await client.aclose()


@pytest.mark.parametrize(
    ("model", "body", "kind", "param"),
    [
        ("nomic-embed-text:latest", {"prompt": "a"}, BadRequest, "model"),
        ("nobody:knows", {"prompt": "a", "suffix": "b"}, ModelNotFound, "model"),
        ("llama3.2:latest", {"prompt": "a", "suffix": "b"}, BadRequest, "suffix"),
    ],
)
async def test_ollamas_own_refusals_are_clear(
    model: str, body: dict[str, Any], kind: type[ProviderError], param: str
) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine")
        upstream = OllamaProvider(client, base_url=sim.base_url, models=MODELS)
        with pytest.raises(kind) as refused:
            await upstream.complete(call(model, **body))
        assert refused.value.param == param
        await upstream.aclose()
        await client.aclose()


@pytest.mark.parametrize("fault", ["truncate", "reset", "cut", "stall", "error", "bad_json", "bad_utf8"])
async def test_a_fault_of_the_upstream_is_never_success(fault: Any) -> None:
    async with SimulatedUpstream() as sim:
        client = open_client("engine", timeouts=Timeouts(first_byte=0.3, idle=0.3))
        upstream = OllamaProvider(client, base_url=sim.base_url, models=MODELS)
        sim.script(Scenario(path="/api/generate", tokens=20, fault=fault, after=5))
        with pytest.raises(ProviderError):
            await read(await upstream.complete(call(prompt="go on", stream=True, max_tokens=50)))
        await upstream.aclose()
        await client.aclose()
