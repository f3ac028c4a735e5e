"""Reads what a Responses client is sent."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import orjson

from providers.translate.response_writer import ResponseWriter
from providers.types import NewWriter, Usage

Event = dict[str, Any]


def events(data: bytes) -> list[Event]:
    """The events in ``data``; each one's name is its ``type``, and they are numbered from 0."""
    found = []
    for piece in data.split(b"\n\n"):
        if piece:
            name, _, payload = piece.partition(b"\n")
            event = orjson.loads(payload.removeprefix(b"data: "))
            assert name.decode() == f"event: {event['type']}"
            found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def kinds(found: list[Event]) -> list[str]:
    """The types of the events, without what they have in common; a run of one type is told once."""
    short = [event["type"].removeprefix("response.") for event in found]
    return [kind for index, kind in enumerate(short) if index == 0 or short[index - 1] != kind]


def accumulated(data: bytes) -> Any:
    """What the real SDK makes of the stream ``data``: its last event and the texts that it has gathered."""
    reply = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)
    transport = httpx2.MockTransport(lambda request: reply)
    client = openai.OpenAI(
        api_key="k", base_url="http://gateway/v1", http_client=httpx2.Client(transport=transport)
    )
    texts: dict[str, str] = {}
    last: Any = None
    with client, client.responses.stream(model="m", input="x") as stream:
        for last in stream:
            if last.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                texts[last.item_id] = last.snapshot
    return last, texts


def writer(new: NewWriter | None = None, *, streaming: bool = True, **options: Any) -> Any:
    """A writer whose answer has begun."""
    made = (new or ResponseWriter)(streaming=streaming, include_usage=False, legacy=False, **options)
    made.start("01AbC", 1_700_000_000, "opus")
    return made


def finished(made: Any, reason: str = "stop", before: bytes = b"") -> tuple[list[Event], dict[str, Any]]:
    """The events (behind those in ``before``) and the whole response of ``made``, which is told that it is
    complete."""
    made.finish(reason, Usage(10, 42, 100, 3, 4, 9))
    return events(before + made.take()), made.whole()
