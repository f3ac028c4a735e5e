"""No translator holds itself: each is gone with its answer, and not when the garbage collector comes by."""

from __future__ import annotations

import gc

import pytest

from providers.openai_compatible.chunk_translator import ChunkTranslator
from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.message_writer import MessageWriter
from providers.translate.ollama_chat import OllamaTranslator
from providers.translate.responses_chat import to_chat
from providers.types import NewWriter

WRITERS: dict[str, NewWriter | None] = {
    "chat": None,
    "messages": MessageWriter,
    "responses": to_chat({"model": "m", "input": "Hi"}, model="m", signed=True).writer,
}
STREAMS = {
    ChatTranslator: (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"m"}}\n\n'
    ),
    OllamaTranslator: b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n',
    ChunkTranslator: b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n',
}


@pytest.mark.parametrize("dialect", WRITERS)
@pytest.mark.parametrize("reader", STREAMS, ids=lambda reader: reader.__name__)
def test_an_answer_leaves_no_cycles(
    reader: type[ChatTranslator | OllamaTranslator | ChunkTranslator], dialect: str
) -> None:
    def answer() -> None:
        translator = reader(model="m", shape=ReplyShape(), streaming=True, writer=WRITERS[dialect])
        assert translator.feed(STREAMS[reader])
        translator.end()

    answer()
    gc.collect()
    gc.disable()
    try:
        answer()
        assert gc.collect() == 0
    finally:
        gc.enable()
