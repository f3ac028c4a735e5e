"""Refusals: the right envelope for each dialect, and one that arrives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from middleware._asgi import Message
from middleware._reject import Rejection, dialect_of, drained, envelope, reject_json, sse_error

from .asgi import call, make_scope

pytestmark = pytest.mark.anyio
REJECTION = Rejection(
    429, "Slow down", "rate_limit_error", "rate_limit_exceeded", headers=((b"retry-after", b"2"),)
)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/", "/v1/messagesx"])
async def test_openai_paths_get_openais_envelope(path: str) -> None:
    answer = await call(reject_json(REJECTION), path=path)
    assert answer.status == 429
    assert orjson.loads(answer.body) == {
        "error": {
            "message": "Slow down",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
async def test_messages_paths_get_anthropics_envelope(path: str, status: int, kind: str) -> None:
    answer = await call(reject_json(Rejection(status, "No")), path=path)
    assert answer.status == status
    assert orjson.loads(answer.body) == {"type": "error", "error": {"type": kind, "message": "No"}}


def test_a_stream_error_carries_the_envelope_and_no_done() -> None:
    for dialect in ("openai", "anthropic"):
        event = sse_error(REJECTION, dialect)
        assert event.endswith(b"\n\n")
        assert orjson.loads(event.rpartition(b"data: ")[2]) == envelope(REJECTION, dialect)
        assert b"[DONE]" not in event


class Sender:
    """A client that sends ``messages`` and a record of what it got and when."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []
        self.unread_at_answer: int | None = None

    async def receive(self) -> Message:
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        if self.unread_at_answer is None:
            self.unread_at_answer = len(self.messages)
        self.sent.append(message)


def body(more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * 1000, "more_body": more}


async def test_a_drained_refusal_reads_the_body_before_it_answers() -> None:
    client = Sender(body(True), body(True), body(False))
    await drained()(REJECTION)(make_scope(), client.receive, client.send)
    assert client.unread_at_answer == 0
    assert client.sent[0]["status"] == 429


async def test_a_drained_refusal_says_nothing_to_a_client_that_has_gone() -> None:
    client = Sender(body(True), {"type": "http.disconnect"})
    await drained()(REJECTION)(make_scope(), client.receive, client.send)
    assert client.sent == []


async def test_a_drained_refusal_does_not_wait_for_ever() -> None:
    import anyio

    client = Sender()

    async def never() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    await drained(seconds=0.01)(REJECTION)(make_scope(), never, client.send)
    assert client.sent[0]["status"] == 429


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", "anthropic"),
        ("/messages", "anthropic"),
        ("/V1//Messages/count_tokens/", "anthropic"),
        ("/v1/responses", "responses"),
        ("/responses/resp_1/cancel", "responses"),
        ("/v1/chat/completions", "openai"),
        ("/v1/messages_of_mine", "openai"),
        ("/v1/responsesx", "openai"),
        ("/", "openai"),
        ("/v1/messages/" + "x" * 500, "openai"),
    ],
)
def test_the_dialect_is_that_of_the_path(path: str, dialect: str) -> None:
    assert dialect_of({"path": path}) == dialect


@pytest.mark.parametrize("first", [True, False])
def test_a_response_that_breaks_off_is_a_failed_one(first: bool) -> None:
    """OpenAI's SDK insists on a ``response.created`` before anything else, and numbers only ever grow."""
    raw = sse_error(Rejection(504, "Too late.", code="deadline_exceeded"), "responses", "req_1", first=first)
    events = [orjson.loads(event.partition(b"data: ")[2]) for event in raw.split(b"\n\n") if event]
    assert [event["type"] for event in events] == ["response.created", "response.failed"][not first :]
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": "deadline_exceeded", "message": "Too late."}
    assert events[-1]["sequence_number"] == (1 if first else 2**31 - 1)


def test_anthropics_envelope_names_the_place_that_it_has_no_field_for() -> None:
    """Claude's own messages begin with it."""
    refusal = Rejection(400, "'x' parts are not supported here.", param="system.0.type")
    assert envelope(refusal, "anthropic")["error"]["message"] == f"system.0.type: {refusal.message}"
    named = Rejection(400, "`tools.0.name` is empty.", param="tools.0.name")
    assert envelope(named, "anthropic")["error"]["message"] == named.message
