"""What a provider has told of its usage, and what not: figures that can be, and all that was used."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.errors import ProtocolError
from providers.openai_compatible import embeddings
from providers.openai_compatible import usage as openai
from providers.openai_compatible.errors import Errors
from providers.openai_compatible.stream import ChunkTap
from providers.translate.chat_anthropic import ReplyShape
from providers.translate.ollama_chat import OllamaTranslator
from providers.translate.usage import counted, in_all, merge
from providers.types import EmbeddingsCall, Usage

NO_FIGURES: list[object] = [None, -5, "5", True, 5.5, float("nan"), float("inf"), 10**9 + 1, 10**30, [], {}]


@pytest.mark.parametrize("figure", NO_FIGURES)
def test_what_can_be_no_number_of_tokens_tells_nothing(figure: object) -> None:
    assert counted(figure) is None
    anthropic, chat = Usage(), Usage()
    merge(anthropic, {"input_tokens": figure, "output_tokens": figure}, final=True)
    openai.note(chat, {"prompt_tokens": figure, "completion_tokens": figure, "total_tokens": 7})
    for usage in (anthropic, chat):
        assert (usage.input_told, usage.output_told) == (False, False)
        assert usage == Usage()


@pytest.mark.parametrize("figure", NO_FIGURES)
def test_ollama_is_not_believed_what_cannot_be(figure: object) -> None:
    tap = OllamaTranslator(model="m", shape=ReplyShape(), streaming=True)
    line: dict[str, Any] = {
        "model": "m",
        "done": True,
        "done_reason": "stop",
        "message": {"role": "assistant"},
    }
    tap.feed(orjson.dumps({**line, "prompt_eval_count": _of_json(figure), "eval_count": 3}) + b"\n")
    assert tap.done
    assert (tap.usage.input_told, tap.usage.output_told, tap.usage.output_tokens) == (False, True, 3)


def _of_json(figure: object) -> object:
    return "x" if type(figure) is int and figure > 2**63 else figure


def test_whole_numbers_may_be_written_with_a_point() -> None:
    usage = Usage()
    openai.note(usage, {"prompt_tokens": 100.0, "completion_tokens": 5.0, "total_tokens": 105.0})
    assert (usage.input_tokens, usage.output_tokens, usage.input_told, usage.output_told) == (
        100,
        5,
        True,
        True,
    )


def test_a_total_tells_the_output_that_is_left_out() -> None:
    usage = Usage()
    openai.note(usage, {"prompt_tokens": 100, "total_tokens": 105})
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (100, 5, 0)
    assert usage.output_told


def chunk(words: str, written: int, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": words} if words else {}, "finish_reason": reason}
    used = {"prompt_tokens": 100, "completion_tokens": written, "total_tokens": 100 + written}
    body = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], "usage": used}
    return b"data: " + orjson.dumps(body) + b"\n\n"


def test_a_running_count_is_all_only_when_the_answer_has_ended() -> None:
    tap = ChunkTap(errors=Errors("openai"), model="m")
    tap.feed(chunk("Hel", 1) + chunk("lo", 2))
    assert (tap.usage.input_told, tap.usage.output_told, tap.usage.output_tokens) == (True, False, 2)
    tap.feed(chunk("", 3, "stop"))
    assert (tap.usage.output_told, tap.usage.output_tokens) == (True, 3)


def test_a_count_in_the_middle_is_all_where_no_other_comes() -> None:
    tap = ChunkTap(errors=Errors("openai"), model="m")
    tap.feed(chunk("Hello", 2) + b"data: [DONE]\n\n")
    assert (tap.done, tap.usage.output_told, tap.usage.output_tokens) == (True, True, 2)


def compacted(*, read: int = 0) -> dict[str, Any]:
    compaction = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500}
    compaction |= {"cache_read_input_tokens": read, "cache_creation_input_tokens": 40}
    compaction["cache_creation"] = {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 10}
    message = {"type": "message", "input_tokens": 23, "output_tokens": 9, "cache_read_input_tokens": 0}
    return {"input_tokens": 23, "output_tokens": 9, "iterations": [compaction, compaction, message]}


def test_what_claude_uses_to_compact_a_conversation_is_counted_once() -> None:
    usage = Usage()
    merge(usage, {"input_tokens": 23, "output_tokens": 1})
    for _ in range(2):  # a report replaces the one before it
        merge(usage, compacted(read=7), final=True)
        merge(usage, {"input_tokens": None, "output_tokens": 9}, final=True)
    found = in_all(usage)
    assert (found.input_tokens, found.output_tokens, found.cache_read_tokens) == (360_023, 7_009, 14)
    assert (found.cache_write_5m_tokens, found.cache_write_1h_tokens) == (20, 60)
    assert (usage.input_tokens, usage.output_tokens) == (23, 9)  # what the caller is told


def test_other_iterations_are_in_the_totals_already() -> None:
    usage = Usage()
    iterations = [{"type": "message", "input_tokens": 23, "output_tokens": 9}, None, {"type": "compaction"}]
    merge(usage, {"input_tokens": 23, "output_tokens": 9, "iterations": iterations}, final=True)
    found = in_all(usage)
    assert (found.input_tokens, found.output_tokens) == (23, 9)


def test_the_provider_says_what_it_charges_for() -> None:
    claude, chat, silent = Usage(), Usage(), Usage()
    merge(claude, {"input_tokens": 1, "output_tokens": 1, "speed": "standard"}, final=True)
    openai.note_tier(chat, "default")
    openai.note_tier(silent, "auto")
    assert (claude.variant, chat.variant, silent.variant) == ("speed=standard", "service_tier=default", None)


@pytest.mark.parametrize("vectors", [[], [{"index": 0, "embedding": "%"}]])
def test_an_answer_that_is_no_good_is_paid_for_nevertheless(vectors: list[Any]) -> None:
    call = EmbeddingsCall(("Hi",), "m", "m")
    with pytest.raises(ProtocolError):
        embeddings.read({"data": vectors, "usage": {"prompt_tokens": 9}}, call, Errors("openai"))
    assert (call.exchange.usage.input_tokens, call.exchange.usage.estimated) == (9, frozenset())
