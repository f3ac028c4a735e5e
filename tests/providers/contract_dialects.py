"""Dialects: every provider answers in each of them, counts tokens, and completes texts where it can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import orjson

from providers.base import CountsTokens, SpeaksCompletions, SpeaksMessages
from providers.errors import ProviderError
from providers.translate.message_writer import MessageWriter
from providers.translate.response_writer import Echo, ResponseWriter
from providers.translate.unsigned import UNSIGNED
from providers.types import ChatCall, CompletionCall, MessagesCall, NewWriter

from .contract import Theme
from .contract_faults import MIDDLE, SAID
from .contract_stage import DONE, Stage
from .contract_tools import CLOCK, PING, TWO, WEATHER
from .golden.rules import RULES
from .golden.transcripts import events

theme = Theme("Dialects")

Json = dict[str, Any]
#: What a response repeats of its request.
_ECHO = Echo(
    b'{"instructions":null,"metadata":{},"parallel_tool_calls":true,"store":false,"tool_choice":"auto","tools":[]}'
)
WRITERS: dict[str, Callable[[str], NewWriter]] = {
    "messages": lambda _model: MessageWriter,
    "responses": lambda model: partial(ResponseWriter, echo=_ECHO, model=model, signed=False),
}


class Told(NamedTuple):
    """An answer in whichever dialect, without ids. ``usage`` is (input, output, from a cache)."""

    texts: list[str]
    calls: list[tuple[str, Any]]
    finish: str
    usage: tuple[int, int, int]


async def _both(stage: Stage, said: Any, *, model: str = "", **body: Any) -> list[Told]:
    """The answer in each dialect, whole and streamed, all of which must say the same."""
    told = []
    for dialect in WRITERS:
        whole = await (await _ask(stage, dialect, said, model=model, **body)).completion()
        stream = await _streamed(stage, dialect, said, model=model, **body)
        RULES[dialect](events(stream), broken=False)
        told += [_READERS[dialect](whole), _READERS[dialect](_assembled(dialect, stream))]
    assert all(one == told[0] for one in told), told
    return told


async def _ask(stage: Stage, dialect: str, said: Any, *, model: str = "", **body: Any) -> Any:
    call: ChatCall = stage.call(said, model=model, **body)
    reply = await stage.provider.chat(replace(call, writer=WRITERS[dialect](call.model)))
    stage.replies.append(reply)
    return reply


async def _streamed(stage: Stage, dialect: str, said: Any, **body: Any) -> bytes:
    reply = await _ask(stage, dialect, said, stream=True, **body)
    return b"".join([piece async for piece in reply.sse()])


def _assembled(dialect: str, stream: bytes) -> Json:
    """The whole that the events add up to."""
    bodies = [event.body() for event in events(stream) if event.name != ":"]
    if dialect == "responses":
        found: Json = bodies[-1]["response"]
        return found
    message: Json = bodies[0]["message"]
    for body in bodies:
        match body["type"]:
            case "content_block_start":
                message["content"].append({**body["content_block"], "json": ""})
            case "content_block_delta":
                block, delta = message["content"][-1], body["delta"]
                block["json"] += delta.get("partial_json", "")
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        block[name] += delta[name]
            case "message_delta":
                message |= {**body["delta"], "usage": body["usage"]}
    for block in message["content"]:
        if json := block.pop("json"):
            block["input"] = orjson.loads(json)
    return message


def _of_message(message: Json) -> Told:
    blocks, usage = message["content"], message["usage"]
    cached = usage["cache_read_input_tokens"]
    read = usage["input_tokens"] + cached + usage["cache_creation_input_tokens"]
    return Told(
        ["".join(block["text"] for block in blocks if block["type"] == "text")],
        [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        {"max_tokens": "cut", "tool_use": "calls", "end_turn": "end"}[message["stop_reason"]],
        (read, usage["output_tokens"], cached),
    )


def _of_response(response: Json) -> Told:
    output, usage = response["output"], response["usage"]
    texts = [part["text"] for item in output if item["type"] == "message" for part in item["content"]]
    calls = [
        (item["name"], orjson.loads(item["arguments"])) for item in output if item["type"] == "function_call"
    ]
    why = response["incomplete_details"]
    finish = "cut" if why == {"reason": "max_output_tokens"} else "calls" if calls else "end"
    cached = usage["input_tokens_details"]["cached_tokens"]
    return Told(["".join(texts)], calls, finish, (usage["input_tokens"], usage["output_tokens"], cached))


_READERS = {"messages": _of_message, "responses": _of_response}


@theme()
async def dialect_text(stage: Stage) -> None:
    """A question in the Messages or the Responses dialect is answered in it, streamed as whole."""
    told = await _both(stage, "Tell me of Ulm — für Elise, 日本, 👩‍🚀.")
    assert "👩‍🚀" in told[0].texts[0]
    assert told[0].finish == "end"


@theme(needs="tools")
async def dialect_tools(stage: Stage) -> None:
    """In each dialect one answer may call several tools, and one without parameters gets an empty object."""
    told = await _both(stage, TWO, tools=[WEATHER, CLOCK])
    assert [name for name, _ in told[0].calls] == ["get_weather", "get_time"]
    assert [given.keys() for _, given in told[0].calls] == [{"city"}, {"zone"}]
    assert told[0].finish == "calls"
    told = await _both(stage, "Call the tool ping.", tools=[PING])
    assert told[0].calls == [("ping", {})]


@theme()
async def dialect_usage(stage: Stage) -> None:
    """In each dialect the caller is told the usage that the ledger keeps."""
    told = await _both(stage, "hello there")
    for reply in stage.replies:
        kept = reply.usage
        assert told[0].usage == (kept.prompt_tokens, kept.output_tokens, kept.cache_read_tokens)
    assert min(told[0].usage[:2]) > 0


@theme()
async def dialect_length(stage: Stage) -> None:
    """In each dialect an answer that the limit cuts short says so."""
    told = await _both(stage, "Tell me a long story.", max_tokens=30)  # more than it thinks
    assert told[0].finish == "cut"


@theme(scripted=True)
async def dialect_broken(stage: Stage) -> None:
    """In each dialect what was said before a stream broke arrives, and its end says that it broke."""
    for dialect in WRITERS:
        stage.script(text=SAID, fault="cut", after=MIDDLE)
        reply = await _ask(stage, dialect, "hello", stream=True)
        said, error = await _until_it_breaks(reply.sse())
        last = reply.failed(error.code, error.message)
        assert DONE not in said
        assert b"The" in said
        assert b"message_stop" not in said
        assert b"response.completed" not in said
        if dialect == "responses":
            RULES[dialect](events(said + last), broken=True)
        else:
            assert last == b""  # the dialect's error needs nothing that only the writer knows


async def _until_it_breaks(stream: AsyncIterator[bytes]) -> tuple[bytes, ProviderError]:
    said = bytearray()
    try:
        async for piece in stream:
            said += piece
    except ProviderError as error:
        return bytes(said), error
    raise AssertionError("the stream ended as if nothing had happened")


@theme(needs="thinking")
async def dialect_thinking(stage: Stage) -> None:
    """Thinking in Anthropic's dialect is signed by the model, or marked as what no Claude has written."""
    model = stage.models.thinking or stage.models.plain
    stream = await _streamed(stage, "messages", "Think hard.", model=model, reasoning_effort="high")
    blocks = _assembled("messages", stream)["content"]
    thoughts = [block for block in blocks if block["type"] == "thinking"]
    assert thoughts
    assert thoughts[0]["thinking"]
    signed = "signed_thinking" in stage.provider.features
    assert all((block["signature"] not in ("", UNSIGNED)) is signed for block in thoughts)


@theme(needs="messages")
async def messages_pass(stage: Stage) -> None:
    """A request in Anthropic's dialect is answered in it, streamed and whole, without a translation."""
    for stream in (False, True):
        body = _messages_body(stage, stream=stream)
        reply = await _passed(stage, body)
        answer = b"".join([piece async for piece in reply.chunks()])
        if stream:
            RULES["messages"](events(answer), broken=False)
        told = _of_message(_assembled("messages", answer) if stream else orjson.loads(answer))
        assert told.texts[0]
        assert reply.usage.output_tokens == told.usage[1] > 0
        await reply.aclose()


@theme()
async def tokens_are_counted(stage: Stage) -> None:
    """The tokens of a request are counted by the upstream or estimated: more words are more tokens."""
    counts = [await _count(stage, "word " * words) for words in (10, 1_000)]
    assert 0 < counts[0] < counts[1] < 10_000


async def _count(stage: Stage, said: str) -> int:
    if isinstance(stage.provider, CountsTokens):
        return await stage.provider.estimate(stage.call(said))
    body = _messages_body(stage, said)
    body = {name: body[name] for name in ("model", "messages")}
    reply = await _passed(stage, body, "count_tokens")
    answer = b"".join([piece async for piece in reply.chunks()])
    await reply.aclose()
    count: int = orjson.loads(answer)["input_tokens"]
    return count


def _messages_body(stage: Stage, said: str = "Say something.", *, stream: bool = False) -> Json:
    messages = [{"role": "user", "content": said}]
    return {"model": stage.models.plain, "max_tokens": 1000, "messages": messages, "stream": stream}


async def _passed(stage: Stage, body: Json, endpoint: Any = "messages") -> Any:
    assert isinstance(stage.provider, SpeaksMessages)
    call = MessagesCall(orjson.dumps(body), stage.models.plain, endpoint=endpoint)
    return await stage.provider.messages(call)


@theme(needs="completions")
async def completions(stage: Stage) -> None:
    """A text is completed, streamed as whole, with its usage."""
    assert isinstance(stage.provider, SpeaksCompletions)
    model = stage.models.completing or stage.models.plain
    asked = {"model": model, "prompt": "def add(a, b):", "max_tokens": 200}
    whole = await stage.provider.complete(CompletionCall(asked, model, model))
    text = await whole.completion()
    assert text["object"] == "text_completion"
    assert text["choices"][0]["text"]
    assert text["usage"]["completion_tokens"] == whole.usage.output_tokens > 0
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    streamed = await stage.provider.complete(CompletionCall(asked, model, model))
    said = b"".join([piece async for piece in streamed.sse()])
    assert said.endswith(DONE)
    chunks = [event.body() for event in events(said)[:-1]]
    pieces = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(pieces) == text["choices"][0]["text"]
