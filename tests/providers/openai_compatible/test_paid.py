"""What is no answer, or no good one, has the usage that it tells; a call has that of each attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from providers.errors import BadRequest, ProtocolError, ProviderError, Timeout, UpstreamFailed
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall, EmbeddingsCall, Usage
from tests.providers.anthropic.sources import Client, Scripted

from .streams import GOLDEN, ROLE, event, text
from .test_adapter import BODY, COMPLETION, JSON, call, provider, read, refusal, streamed, whole

pytestmark = pytest.mark.anyio

UNKNOWN = {"message": "Unknown parameter: 'temperature'.", "param": "temperature", "code": 400}
USED = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}
PAID = Usage(40, 2)
ANSWERED = Usage(30, 20, 60, 10, 0, 5)
BOTH = frozenset(("input", "output"))
FAILED = {"message": "The model has failed.", "code": 502}


class Ended(Scripted):
    """Knows without reading that nothing is left, as the engine does as a rule."""

    @property
    def ended(self) -> bool:
        return not self.left


def in_one(body: Any) -> Ended:
    return Ended(body if isinstance(body, bytes) else orjson.dumps(body), headers=JSON)


def in_pieces(body: Any, size: int = 40) -> Ended:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Ended(*(data[at : at + size] for at in range(0, len(data), size)), headers=JSON)


def error_chunk(error: dict[str, Any], **more: Any) -> bytes:
    return event({"object": "chat.completion.chunk", "error": error, "choices": [], **more})


def writing(writer: Any, *, stream: bool = True) -> ChatCall:
    return ChatCall({**BODY, "stream": stream}, "m", "x:m", writer=writer)


async def used_in_vain(asked: ChatCall, answer: Ended) -> Usage:
    """What a whole ``answer``, which is none, has used, wherever that was noticed."""
    exchange = asked.exchange
    try:
        reply = await provider(Client(answer)).chat(asked)
    except ProviderError:
        return exchange.usage
    with pytest.raises(ProviderError):
        await reply.completion()
    return exchange.usage.plus(reply.usage)


@pytest.mark.parametrize("writer", [None, MessageWriter])
async def test_an_error_within_a_stream_tells_what_it_has_used(writer: Any) -> None:
    http = Client(streamed(ROLE + text("Hel"), error_chunk(FAILED, usage=USED)))
    reply = await provider(http).chat(writing(writer))
    with pytest.raises(UpstreamFailed):
        await read(reply)
    assert reply.usage == PAID


@pytest.mark.parametrize("writer", [None, MessageWriter])
@pytest.mark.parametrize("begun", [b"", ROLE])
async def test_a_stream_that_is_refused_and_billed_adds_to_the_next(writer: Any, begun: bytes) -> None:
    http = Client(streamed(begun + error_chunk(UNKNOWN, usage=USED)), streamed(GOLDEN["text"]))
    asked = writing(writer)
    reply = await provider(http).chat(asked)
    await read(reply)
    assert (reply.usage, asked.exchange.usage, reply.attempts) == (ANSWERED, PAID, 2)


@pytest.mark.parametrize("error", ["beside", "in the choice"])
async def test_a_whole_answer_that_is_refused_and_billed_adds_to_the_next(error: str) -> None:
    choice = {"index": 0, "message": {"content": ""}, "error": UNKNOWN}
    bad = {"choices": [choice]} if error == "in the choice" else {"error": UNKNOWN}
    http = Client(in_one({**bad, "usage": USED}), in_one(COMPLETION))
    asked = call()
    reply = await provider(http).chat(asked)
    assert await reply.completion() == COMPLETION
    assert (reply.usage, asked.exchange.usage, reply.attempts) == (ANSWERED, PAID, 2)


async def test_each_of_many_attempts_counts() -> None:
    other = {"message": "Unknown parameter: 'seed'.", "param": "seed", "code": 400}
    http = Client(
        in_one({"error": UNKNOWN, "usage": USED}),
        refusal("Unknown parameter: 'top_p'.", param="top_p"),
        in_one({"error": other, "usage": {**USED, "completion_tokens": 3}}),
        in_one(COMPLETION),
    )
    asked = call(seed=1, top_p=1)
    reply = await provider(http).chat(asked)
    assert (reply.usage, asked.exchange.usage, reply.attempts) == (ANSWERED, Usage(80, 5), 4)


async def test_what_nobody_knows_of_the_last_attempt_is_estimated_and_the_rest_is_exact() -> None:
    http = Client(in_one({"error": UNKNOWN, "usage": USED}), Timeout("Nothing came.", stage="first_byte"))
    asked = call()
    with pytest.raises(Timeout):
        await provider(http).chat(asked)
    found = asked.exchange.usage
    assert (found.estimated, found.output_tokens, asked.exchange.attempts) == (BOTH, 2, 2)
    assert 40 < found.input_tokens < 100


NO_ANSWER: list[tuple[Any, type[ProviderError]]] = [
    ({"usage": USED}, ProtocolError),
    ({"choices": None, "usage": USED}, ProtocolError),
    ({"error": FAILED, "usage": USED}, UpstreamFailed),
]


@pytest.mark.parametrize(("body", "kind"), NO_ANSWER)
async def test_whoever_does_not_stream_is_paid_for_what_is_no_answer(
    body: Any, kind: type[Exception]
) -> None:
    """Told as a stream by the gateway; and in place of a stream."""
    never = refusal("This model does not support streaming.", param="stream")
    for answers in ([never, in_one(body)], [in_one(body)]):
        http, asked = Client(*answers), writing(None)
        with pytest.raises(kind if answers[0] is never or "error" in body else ProtocolError):
            await provider(http).chat(asked)
        assert asked.exchange.usage == PAID


@pytest.mark.parametrize("answer", [in_one, in_pieces])
async def test_a_whole_refusal_has_used_nothing_however_it_comes(answer: Any) -> None:
    busy = {"error": {"message": "Too busy.", "code": 429}}
    assert await used_in_vain(call(), answer(busy)) == Usage()


@pytest.mark.parametrize("pieces", [1, 4])
async def test_a_whole_answer_of_which_not_all_is_there_counts_its_words(pieces: int) -> None:
    words = "word " * 60
    body = orjson.dumps({"choices": [{"message": {"role": "assistant", "content": words}}]})[:-5]
    cut: Sequence[bytes] = [body] if pieces == 1 else [body[:150], body[150:]]
    found = await used_in_vain(call(), Ended(*cut, headers=JSON))
    assert (found.estimated, 40 < found.output_tokens < 100, found.input_tokens > 0) == (BOTH, True, True)


async def test_embeddings_that_are_refused_and_billed_add_to_the_next() -> None:
    refused = {"message": "Unknown parameter: 'encoding_format'.", "param": "encoding_format", "code": 400}
    used = {"prompt_tokens": 9, "total_tokens": 9}
    vectors = {"data": [{"index": 0, "embedding": [0.5]}], "usage": used}
    http, asked = (
        Client(whole({"error": refused, "usage": used}), whole(vectors)),
        EmbeddingsCall(("Hi",), "m", "m"),
    )
    found = await provider(http).embed(asked)
    assert (found.usage, asked.exchange.usage, found.attempts) == (Usage(9), Usage(9), 2)


async def test_a_refusal_costs_what_it_tells_and_nothing_else() -> None:
    for body, used in (({"error": UNKNOWN, "usage": USED}, PAID), ({"error": UNKNOWN}, Usage())):
        asked = call()
        del asked.body["temperature"]  # type: ignore[attr-defined]  # then nothing can be left out
        with pytest.raises(BadRequest):
            await provider(Client(in_one(body))).chat(asked)
        assert asked.exchange.usage == used
