"""An upstream's event stream as a ChatReply."""

from __future__ import annotations

from typing import Any

import pytest

from providers.anthropic.reply import AnthropicReply
from providers.errors import Overloaded, ProtocolError, ProviderError, Timeout
from providers.translate.chat_anthropic import AnthropicRequest, ReplyShape
from providers.types import ChatCall
from tests.providers.translate import events as e
from tests.providers.translate.events import GOLDEN, chunks

from .sources import Scripted, read

pytestmark = pytest.mark.anyio

REQUEST = AnthropicRequest({"model": "claude-opus-5-5"}, ("temperature",), ReplyShape())
OVERLOADED: e.Event = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}


def reply(source: Scripted, *, streaming: bool = True) -> AnthropicReply:
    call = ChatCall({"stream": streaming}, "claude-opus-5-5", "opus")
    return AnthropicReply(source, REQUEST, call=call, upstream_request_id="req_1")


async def test_one_item_for_each_upstream_read() -> None:
    cut = len(GOLDEN["text"]) // 2
    source = Scripted(GOLDEN["text"][:cut], GOLDEN["text"][cut:])
    answer = reply(source)
    await answer.start()
    assert answer.model == "claude-opus-5-5"
    items = [item async for item in answer.sse()]
    assert len(items) == 2
    assert chunks(b"".join(items))[-1] == "[DONE]"
    assert answer.finish_reason == "stop"
    assert answer.first_token_at is not None
    assert answer.usage.output_tokens == 42
    assert source.closed


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_form_may_be_chosen_after_the_start(streaming: bool) -> None:
    for _ in range(2):
        answer = reply(Scripted(GOLDEN["text"][:900], GOLDEN["text"][900:]), streaming=streaming)
        await answer.start()
        out, failure = await read(answer)
        assert failure is None
        assert b"".join(c["choices"][0]["delta"].get("content", "").encode() for c in chunks(out)[:-1])
        answer = reply(Scripted(GOLDEN["text"][:900], GOLDEN["text"][900:]), streaming=streaming)
        await answer.start()
        completion = await answer.completion()
        assert completion["choices"][0]["message"]["content"].startswith("Hello")
        assert completion["usage"]["completion_tokens"] == answer.usage.output_tokens == 42


async def test_an_error_before_any_content_is_an_ordinary_error() -> None:
    for events in ([OVERLOADED], [e.start(), e.PING, OVERLOADED]):
        source = Scripted(e.stream(*events))
        with pytest.raises(Overloaded) as failure:
            await reply(source).start()
        assert failure.value.upstream_request_id == "req_1"
        assert source.closed


@pytest.mark.parametrize("reads", [(), (b": ping\n\n",), (b"event: message_start\ndata: {\n\n",)])
async def test_an_answer_that_never_starts_is_a_protocol_error(reads: tuple[bytes, ...]) -> None:
    source = Scripted(*reads)
    with pytest.raises(ProtocolError):
        await reply(source).start()
    assert source.closed


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((e.sse(OVERLOADED),), Overloaded),
        ((), ProtocolError),
        ((Timeout("slow", stage="idle"),), Timeout),
        ((b"event: content_block_delta\ndata: {\n\n",), ProtocolError),
    ],
)
async def test_a_failure_in_the_middle_keeps_what_came_before_and_sends_no_done(
    last: tuple[Any, ...], expected: type[ProviderError]
) -> None:
    head = e.stream(e.start(), e.opened(0, type="text", text=""), e.delta(0, "text_delta", text="half"))
    source = Scripted(head, *last)
    answer = reply(source)
    await answer.start()
    out, failure = await read(answer)
    assert type(failure) is expected
    assert failure.provider == "anthropic"
    assert [c["choices"][0]["delta"] for c in chunks(out)][-1] == {"content": "half"}
    assert answer.usage.input_tokens == 10
    assert source.closed
    whole = reply(Scripted(head, *last), streaming=False)
    await whole.start()
    with pytest.raises(expected):
        await whole.completion()


async def test_output_and_failure_of_one_read_both_arrive() -> None:
    data = e.stream(e.start(), *e.text(0, "half"), OVERLOADED)
    answer = reply(Scripted(data))
    await answer.start()
    out, failure = await read(answer)
    assert isinstance(failure, Overloaded)
    assert b"half" in out
    assert b"[DONE]" not in out


async def test_a_reader_that_leaves_stops_the_upstream() -> None:
    source = Scripted(GOLDEN["text"][:900], GOLDEN["text"][900:])
    answer = reply(source)
    await answer.start()
    pieces = answer.sse()
    await anext(pieces)
    await answer.aclose()
    await answer.aclose()
    assert source.closed


async def test_the_end_of_the_body_is_read_so_that_the_connection_can_be_kept() -> None:
    for trailing in ((b"",), (b"\n", b""), (ProtocolError("reset"),)):
        source = Scripted(GOLDEN["text"], *trailing)
        answer = reply(source)
        await answer.start()
        _, failure = await read(answer)
        assert failure is None
        assert source.left == []
