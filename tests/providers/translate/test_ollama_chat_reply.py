"""Ollama's lines as a ChatReply: what the class does that every translated upstream shares."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import ContextTooLong, Overloaded, ProtocolError, ProviderError, Timeout, UpstreamFailed
from providers.reply import TranslatedReply
from providers.translate import ollama_lines
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.ollama_chat import OllamaTranslator
from providers.types import ChatCall
from tests.providers.anthropic.sources import Scripted, read

from .events import chunks
from .ollama_answers import GOLDEN, MODEL, finish, line, raw, texts

pytestmark = pytest.mark.anyio

BUSY = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}\n'
TOO_LONG = b'{"error":"the input length exceeds the context length"}\n'


def reply(source: Scripted, *, streaming: bool = True) -> TranslatedReply:
    return TranslatedReply(
        source,
        OllamaTranslator,
        call=ChatCall({"stream": streaming}, "asked", "local:asked"),
        shape=ReplyShape(),
        provider="ollama",
        dropped=("logit_bias",),
        upstream_request_id="req_1",
    )


async def test_one_item_for_each_upstream_read_that_says_something() -> None:
    source = Scripted(line(), raw(b"a"), raw(b"b")[:-5], raw(b"b")[-5:] + raw(b"c"), finish())
    answer = reply(source)
    await answer.start()
    assert (answer.model, answer.dropped) == (MODEL, ("logit_bias",))
    items = [item async for item in answer.sse()]
    found = [[c if c == "[DONE]" else c["choices"][0]["delta"] for c in chunks(item)] for item in items]
    assert found == [
        [{"role": "assistant", "content": ""}, {"content": "a"}],
        [{"content": "b"}, {"content": "c"}],
        [{}, "[DONE]"],
    ]
    assert (answer.finish_reason, answer.usage.output_tokens) == ("stop", 42)
    assert answer.first_token_at is not None
    assert source.closed


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_form_may_be_chosen_after_the_start(streaming: bool) -> None:
    cut = len(GOLDEN["thinking"]) // 2
    for whole in (True, False):
        answer = reply(Scripted(GOLDEN["thinking"][:cut], GOLDEN["thinking"][cut:]), streaming=streaming)
        await answer.start()
        if whole:
            message = (await answer.completion())["choices"][0]["message"]
            assert (message["reasoning_content"], message["content"]) == ("The user wants it.", "Yes.")
        else:
            out, failure = await read(answer)
            assert failure is None
            assert chunks(out)[-1] == "[DONE]"
        assert answer.usage.output_tokens == 42


@pytest.mark.parametrize(("said", "expected"), [(BUSY, Overloaded), (TOO_LONG, ContextTooLong)])
async def test_an_error_before_any_content_is_an_ordinary_error(
    said: bytes, expected: type[ProviderError]
) -> None:
    for reads in ((said,), (line(), said), (line() + line(""), said[:9], said[9:])):
        source = Scripted(*reads)
        with pytest.raises(expected) as failure:
            await reply(source).start()
        assert failure.value.provider == "ollama"
        assert failure.value.upstream_request_id == "req_1"
        assert source.closed


async def test_every_failure_before_the_answer_names_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_lines.LineBuffer.__init__, "__kwdefaults__", {"max_line_bytes": 100})
    for reads in ((), (b"\n",), (b"{\n",), (b"x" * 101,), (Timeout("slow", stage="first_byte"),)):
        source = Scripted(*reads)
        with pytest.raises((ProtocolError, Timeout)) as failure:
            await reply(source).start()
        assert failure.value.provider == "ollama"
        assert source.closed


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((BUSY,), Overloaded),
        ((TOO_LONG,), UpstreamFailed),
        ((), ProtocolError),
        ((b'{"mod',), ProtocolError),
        ((Timeout("slow", stage="idle"),), Timeout),
        ((b"{\n",), ProtocolError),
    ],
)
async def test_a_failure_in_the_middle_keeps_what_came_before_and_sends_no_done(
    last: tuple[Any, ...], expected: type[ProviderError]
) -> None:
    source = Scripted(texts("half"), *last)
    answer = reply(source)
    await answer.start()
    out, failure = await read(answer)
    assert type(failure) is expected
    assert failure.provider == "ollama"
    assert [c["choices"][0]["delta"] for c in chunks(out)][-1] == {"content": "half"}
    assert answer.finish_reason is None
    assert source.closed
    whole = reply(Scripted(texts("half"), *last), streaming=False)
    await whole.start()
    with pytest.raises(expected):
        await whole.completion()


async def test_output_and_failure_of_one_read_both_arrive() -> None:
    answer = reply(Scripted(texts("half") + BUSY))
    await answer.start()
    out, failure = await read(answer)
    assert isinstance(failure, Overloaded)
    assert b"half" in out
    assert b"[DONE]" not in out


async def test_the_end_of_the_body_is_read_so_that_the_connection_can_be_kept() -> None:
    for trailing in ((b"",), (b"\n", b""), (ProtocolError("reset"),)):
        source = Scripted(GOLDEN["text"], *trailing)
        answer = reply(source)
        await answer.start()
        _, failure = await read(answer)
        assert failure is None
        assert source.left == []
