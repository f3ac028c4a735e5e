"""What an upstream may tell a writer of Anthropic's dialect, and the SDK that reads what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import orjson
from anthropic import Anthropic
from anthropic.types import Message

from providers.translate.chunks import escaped
from providers.translate.message_writer import MessageWriter
from providers.types import NewWriter, Usage, Writer

USAGE = Usage(
    input_tokens=7, output_tokens=5, cache_read_tokens=3, cache_write_5m_tokens=2, reasoning_tokens=1
)
Step = Callable[[Writer], None]


class Sdk:
    """The SDK's client, for which :meth:`read` is the network."""

    def __init__(self) -> None:
        self._body = b""
        transport = httpx2.MockTransport(self._answer)
        self._http = httpx2.Client(transport=transport)
        self._client = Anthropic(api_key="k", base_url="http://test", http_client=self._http, max_retries=0)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self._body)

    def read(self, body: bytes) -> Message:
        self._body = body
        asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        with self._client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
            return stream.get_final_message()

    def close(self) -> None:
        self._http.close()


def text(said: str) -> Step:
    return lambda writer: writer.text((escaped(said),))


def thought(said: str) -> Step:
    return lambda writer: writer.reasoning((escaped(said),))


def call(index: int, name: str, call_id: str = "", *, custom: bool = False) -> Step:
    return lambda writer: writer.call(index, call_id or f"call_{index}", name, custom=custom)


def arguments(index: int, *pieces: str, custom: bool = False) -> Step:
    return lambda writer: writer.arguments(index, [escaped(piece) for piece in pieces], custom=custom)


def close(writer: Writer) -> None:
    writer.close()


def answered(
    *steps: Step, streaming: bool, reason: str = "stop", usage: Usage = USAGE
) -> tuple[Writer, bytes]:
    new: NewWriter = MessageWriter
    writer = new(streaming=streaming, include_usage=False, legacy=False)
    writer.start("1a", 1, "local:m")
    for step in steps:
        step(writer)
    writer.finish(reason, usage)
    return writer, writer.take()


def streamed(*steps: Step, reason: str = "stop", usage: Usage = USAGE) -> bytes:
    return answered(*steps, streaming=True, reason=reason, usage=usage)[1]


def whole(*steps: Step, reason: str = "stop", usage: Usage = USAGE) -> dict[str, Any]:
    writer, written = answered(*steps, streaming=False, reason=reason, usage=usage)
    assert written == b""
    return writer.whole()


def parsed(body: bytes) -> list[dict[str, Any]]:
    """The events, which stand as Anthropic writes them."""
    found = []
    for event in body.decode().split("\n\n")[:-1]:
        kind, data = event.split("\n")
        value = orjson.loads(data.removeprefix("data: "))
        assert kind == f"event: {value['type']}"
        found.append(value)
    return found


def shape(body: bytes) -> list[str]:
    """Kinds of events; starts with their kind of block, deltas with theirs."""
    return [
        " ".join(
            filter(
                None,
                (
                    event["type"],
                    str(event.get("index", "")),
                    event.get("content_block", {}).get("type"),
                    event.get("delta", {}).get("type"),
                ),
            )
        )
        for event in parsed(body)
    ]


def check(sdk: Sdk, *steps: Step, reason: str = "stop", usage: Usage = USAGE) -> dict[str, Any]:
    """The whole answer, which is also what the SDK makes of the stream."""
    expected = whole(*steps, reason=reason, usage=usage)
    body = streamed(*steps, reason=reason, usage=usage)
    sequential(body)
    read = sdk.read(body)
    assert read.to_dict(exclude_unset=False, exclude_none=True) == Message.model_validate(expected).to_dict(
        exclude_unset=False, exclude_none=True
    )
    return expected


def sequential(body: bytes) -> None:
    """One block is open at a time, and they are counted from zero without gaps."""
    kinds = parsed(body)
    assert [kinds[0]["type"], *(event["type"] for event in kinds[-2:])] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    opened, count = False, 0
    for event in kinds[1:-2]:
        if event["type"] == "content_block_start":
            assert not opened
            assert event["index"] == count
            opened, count = True, count + 1
        else:
            assert opened
            assert event["index"] == count - 1
            opened = event["type"] != "content_block_stop"
    assert not opened
