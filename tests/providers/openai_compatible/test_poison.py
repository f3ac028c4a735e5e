"""What one caller makes an upstream say must not decide how the others are asked."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest

from providers.errors import BadRequest
from providers.openai_compatible.manner import MAX_ASKED
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall
from tests.providers.anthropic.sources import Client, Scripted

from .streams import GOLDEN
from .test_adapter import COMPLETION, call, provider, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio


KNOWN = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "max_tokens",
    "reasoning_effort",
    "tools",
    "tool_choice",
)


class Strict(Client):
    """Refuses what it does not know one at a time, in its own words, and answers everything else."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    async def request(
        self, method: str, url: str, *, headers: Any = (), body: bytes = b"", timeouts: Any = None
    ) -> Any:
        self.asked.append((method, url, dict(headers), body))
        asked = orjson.loads(body)
        for name, value in asked.items():
            if name not in KNOWN:
                return self._refuse(name, value)
        return streamed(GOLDEN["text"]) if asked.get("stream") else whole(COMPLETION)

    def _refuse(self, name: str, value: object) -> Scripted:
        said = "Extra inputs are not permitted"
        detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": said, "input": value}]
        python = [{**detail[0], "loc": ("body", name)}]
        match self._words:
            case "fastapi":
                return whole({"detail": detail}, 422)
            case "mistral":
                return whole(
                    {"object": "error", "message": {"detail": detail}, "type": "x", "code": None}, 422
                )
            case "python":
                return whole({"object": "error", "message": repr(python), "code": 400}, 400)
            case "pydantic":
                return refusal(
                    f"'{name}' {said} [type=extra_forbidden, input_value={value!r}, input_type=str]"
                )
            case _:
                return refusal(f"Unknown parameter: '{name}' = {value!r}")


WORDS = ["fastapi", "mistral", "python", "pydantic", "an echo"]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("target", ["temperature", "max_tokens", "stream_options"])
async def test_a_callers_words_in_a_refusal_change_nothing_for_others(words: str, target: str) -> None:
    client = Strict(words)
    upstream = provider(client)
    streaming: dict[str, Any] = {"stream": True} if target == "stream_options" else {}
    poison = call(max_tokens=5, x_odd=f"'{target}' is unsupported", **streaming)
    await upstream.chat(poison)
    await upstream.chat(call(max_tokens=5, **streaming))
    assert {"temperature", "max_tokens", *streaming} <= sent(client).keys()
    assert ("stream_options" in sent(client)) == bool(streaming)


@pytest.mark.parametrize("words", WORDS)
async def test_a_parameter_that_is_refused_in_any_words_is_left_out_and_remembered(words: str) -> None:
    client = Strict(words)
    upstream = provider(client)
    for asked in (2, 3):
        assert (await upstream.chat(call(x_odd="a"))).dropped == ("x_odd",)
        assert len(client.asked) == asked


ODD = ChatCall({"model": "x:m", "messages": [], **{f"x_{number}": 1 for number in range(500)}}, "m", "x:m")


async def test_any_number_of_odd_parameters_is_asked_about_a_few_times_only() -> None:
    client = Strict("fastapi")
    with pytest.raises(BadRequest):
        await provider(client).chat(ODD)
    assert len(client.asked) == MAX_ASKED


async def test_any_number_of_names_costs_no_pattern_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(
        "providers.openai_compatible.refusals.refuses", lambda error, name: compared.append(name)
    )
    client = Client(refusal("'x_7' is odd"))
    with pytest.raises(BadRequest):
        await provider(client).chat(ODD)
    assert compared == ["x_7"]


async def test_a_gemini_refusal_in_a_list_is_understood() -> None:
    said = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
    refused = whole([{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}], 400)
    client = Client(refused, whole(COMPLETION))
    assert (await provider(client).chat(call(seed=1))).dropped == ("seed",)


SIGNS = {
    "strings": "messages: expected a string",
    "any_order": "roles must alternate",
    "late_system": "System message must be at the beginning",
    "system": "System role not supported",
    "short_names": "name too long",
    "streams": "verified to stream",
    "keywords": 'Unknown name "title" at \'tools',
    "most": "max_tokens at most 7",
    "efforts": "reasoning_effort must be one of 'low'",
    "named_choice": "tool_choice",
}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("sign", SIGNS)
async def test_a_callers_words_about_its_messages_and_tools_change_nothing_for_others(
    words: str, sign: str
) -> None:
    body: dict[str, Any] = {
        "model": "x:m",
        "stream": True,
        "max_tokens": 500,
        "reasoning_effort": "high",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "user", "content": "u"},
            {"role": "user", "content": "u"},
            {"role": "system", "content": "late"},
        ],
        "tools": [{"type": "function", "function": {"name": "a" * 70, "parameters": {"title": "t"}}}],
        "tool_choice": {"type": "function", "function": {"name": "a" * 70}},
    }
    client = Strict(words)
    upstream = provider(client)
    with suppress(BadRequest):
        poison = {**body, "x_odd": SIGNS[sign]}
        await upstream.chat(ChatCall(poison, "m", "x:m", writer=MessageWriter))
    await upstream.chat(ChatCall(body, "m", "x:m", writer=MessageWriter))
    options = {"stream_options": {"include_usage": True}}
    assert sent(client) == {**body, "model": "m", **options}
