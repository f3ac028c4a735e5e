"""Keep-alives: never inside an event, never beside another message, never a pretence of success."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from middleware._asgi import Scope
from middleware.keep_alive import COMMENT, PING, KeepAliveMiddleware, late_error

from .asgi import Answer, Client, Message, answer_of, body_messages, call, make_scope

pytestmark = pytest.mark.anyio

STREAM = orjson.dumps({"model": "m", "stream": True, "messages": []})
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"x-provider", b"sim")],
}
INTERVAL = 0.015
#: Long enough for one keep-alive at least, however busy the machine is.
LONG = 5 * INTERVAL

Play = Callable[[Any], Awaitable[None]]


def piece(body: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def app_of(play: Play, interval: float = INTERVAL) -> KeepAliveMiddleware:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await play(send)

    return KeepAliveMiddleware(app, interval=interval)


async def answer_to(play: Play, *, path: str = "/v1/chat/completions", body: bytes = STREAM) -> Answer:
    return await call(app_of(play), path=path, body=body)


async def silent_then(send: Any, *messages: Message) -> None:
    await asyncio.sleep(LONG)
    for message in messages:
        await send(message)


@pytest.mark.parametrize(
    ("path", "sign"),
    [
        ("/v1/chat/completions", COMMENT),
        ("/chat/completions", COMMENT),
        ("/v1/responses", COMMENT),
        ("/v1/completions", COMMENT),
        ("/v1/messages", PING),
        ("/messages", PING),
    ],
)
async def test_a_stream_that_falls_silent_is_kept_alive_in_its_own_dialect(path: str, sign: bytes) -> None:
    async def play(send: Any) -> None:
        await send(START)
        await send(piece(b"data: 1\n\n"))
        await silent_then(send, piece(b"data: 2\n\n"), piece(b"", more=False))

    answer = await answer_to(play, path=path)
    assert answer.body.replace(sign, b"") == b"data: 1\n\ndata: 2\n\n"
    first, _, last = answer.body.partition(b"data: 1\n\n")
    assert first == b""
    assert last.startswith(sign)
    assert last.endswith(b"data: 2\n\n")
    assert answer.headers["x-provider"] == "sim"


async def test_an_answer_that_has_not_begun_is_begun_and_goes_on_with_the_applications_own() -> None:
    async def play(send: Any) -> None:
        await silent_then(send, START, piece(b"data: 1\n\n"), piece(b"", more=False))

    answer = await answer_to(play)
    assert [m["type"] for m in answer.messages].count("http.response.start") == 1
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "no-transform" in answer.headers["cache-control"]
    assert answer.body.startswith(COMMENT)
    assert answer.body.replace(COMMENT, b"") == b"data: 1\n\n"
    assert answer.messages[-1]["more_body"] is False


async def test_a_lively_stream_is_left_as_it_is() -> None:
    sent = [START, *(piece(b"data: %d\n\n" % n) for n in range(40)), piece(b"", more=False)]

    async def play(send: Any) -> None:
        for message in sent:
            await send(message)
            await asyncio.sleep(0.01)

    client = Client(body_messages(STREAM))
    await app_of(play, interval=0.3)(make_scope(), client.receive, client.send)
    assert client.sent == sent


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (orjson.dumps({"stream": False, "messages": []}), "/v1/chat/completions"),
        (orjson.dumps({"stream": "true"}), "/v1/chat/completions"),
        (orjson.dumps({"messages": []}), "/v1/chat/completions"),
        (b"[]", "/v1/chat/completions"),
        (b"no JSON", "/v1/chat/completions"),
        (STREAM, "/v1/messages/count_tokens"),
        (STREAM, "/v1/embeddings"),
    ],
)
async def test_what_does_not_ask_for_a_stream_waits_for_its_answer(body: bytes, path: str) -> None:
    whole = {"type": "http.response.start", "status": 503, "headers": []}

    async def play(send: Any) -> None:
        await silent_then(send, whole, piece(b"{}", more=False))

    answer = await answer_to(play, body=body, path=path)
    assert (answer.status, answer.body) == (503, b"{}")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: 1\n\nda", b"ta: 2\n\n"],
        [b"data: 1", b"\n\ndata: 2\n\n"],
        [b"data: 1\n", b"\n"],
        [b"event: x\ndata: 1\n", b"data: 2\n\n"],
        [b"data: 1\r\n\r", b"\n"],
    ],
)
async def test_nothing_ever_stands_inside_an_event(pieces: list[bytes]) -> None:
    async def play(send: Any) -> None:
        await send(START)
        for part in pieces:
            await send(piece(part))
            await asyncio.sleep(LONG)
        await send(piece(b"", more=False))

    answer = await answer_to(play)
    assert answer.body.startswith(b"".join(pieces)), answer.body
    assert answer.body.endswith(COMMENT)


async def test_a_blank_line_that_comes_in_two_pieces_is_one() -> None:
    async def play(send: Any) -> None:
        await send(START)
        await send(piece(b"data: 1\n"))
        await send(piece(b"\n"))
        await silent_then(send, piece(b"data: 2\n\n"), piece(b"", more=False))

    answer = await answer_to(play)
    assert COMMENT in answer.body
    assert answer.body.replace(COMMENT, b"") == b"data: 1\n\ndata: 2\n\n"


class SlowClient(Client):
    """Reads one message after the other, each after ``wait`` seconds; two at a time are an error."""

    def __init__(self, wait: float) -> None:
        super().__init__(body_messages(STREAM))
        self.wait = wait
        self.reading = False

    async def send(self, message: Any) -> None:
        assert not self.reading, "two messages at once"
        self.reading = True
        await asyncio.sleep(self.wait)
        await super().send(message)
        self.reading = False


async def test_a_client_that_reads_slowly_never_gets_two_messages_at_once() -> None:
    async def play(send: Any) -> None:
        await send(START)
        for n in range(3):
            await send(piece(b"data: %d\n\n" % n))
            await asyncio.sleep(INTERVAL)
        await send(piece(b"", more=False))

    client = SlowClient(wait=LONG)
    await app_of(play)(make_scope(), client.receive, client.send)
    body = answer_of(client.sent).body
    assert body.replace(COMMENT, b"") == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_nothing_follows_the_last_message() -> None:
    async def play(send: Any) -> None:
        await send(START)
        await send(piece(b"data: 1\n\n", more=False))
        await asyncio.sleep(LONG)

    assert (await answer_to(play)).body == b"data: 1\n\n"


async def test_an_answer_that_is_no_stream_after_all_is_left_alone() -> None:
    async def play(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await silent_then(send, piece(b"{}", more=False))

    assert (await answer_to(play)).body == b"{}"


@pytest.mark.parametrize("leaves", [False, True])
async def test_nothing_is_left_behind_when_the_work_is_cancelled(leaves: bool) -> None:
    async def play(send: Any) -> None:
        await asyncio.sleep(60)

    before = asyncio.all_tasks()
    client = SlowClient(wait=60) if leaves else Client(body_messages(STREAM))
    running = asyncio.ensure_future(app_of(play)(make_scope(), client.receive, client.send))
    await asyncio.sleep(LONG)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    sent = len(client.sent)
    assert asyncio.all_tasks() == before
    await asyncio.sleep(LONG)
    assert len(client.sent) == sent


async def test_a_client_that_is_found_gone_fails_the_application_too() -> None:
    """Where a server reports a departure by raising from ``send``."""
    ended = []

    async def play(send: Any) -> None:
        try:
            await silent_then(send, START)
        except OSError:
            ended.append("told")
            raise

    async def gone(message: Any) -> None:
        raise OSError("the client has gone")

    client = Client(body_messages(STREAM))
    with pytest.raises(OSError, match="gone"):
        await app_of(play)(make_scope(), client.receive, gone)
    assert ended == ["told"]


# ---- an answer that was begun here and turns out to be an error


def refusal(status: int, body: Any) -> list[Message]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_INDENT_2)
    head = {"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"3")]}
    return [head, piece(raw[:10]), piece(raw[10:], more=False)]


LIMITED = {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "busy"}}
OVERLOADED = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "r",
}


def data_of(event: bytes) -> Any:
    line = next(line for line in event.split(b"\n") if line.startswith(b"data: "))
    return orjson.loads(line.removeprefix(b"data: "))


async def late(path: str, messages: list[Message]) -> list[bytes]:
    """The events behind the keep-alives."""

    async def play(send: Any) -> None:
        await silent_then(send, *messages)

    answer = await answer_to(play, path=path)
    assert answer.status == 200
    assert answer.messages[-1]["more_body"] is False
    assert b"[DONE]" not in answer.body
    events = [event for event in answer.body.split(b"\n\n") if event]
    return [event for event in events if event + b"\n\n" not in (COMMENT, PING)]


async def test_a_late_error_reaches_a_chat_as_it_would_have_been_told() -> None:
    (event,) = await late("/v1/chat/completions", refusal(429, LIMITED))
    assert data_of(event) == LIMITED


async def test_a_late_error_reaches_anthropics_clients_as_an_error_event() -> None:
    (event,) = await late("/v1/messages", refusal(529, OVERLOADED))
    assert event.startswith(b"event: error\n")
    assert data_of(event) == OVERLOADED


async def test_a_late_error_fails_a_response() -> None:
    created, failed = await late("/v1/responses", refusal(429, LIMITED))
    assert created.startswith(b"event: response.created\n")
    assert failed.startswith(b"event: response.failed\n")
    assert [data_of(created)["sequence_number"], data_of(failed)["sequence_number"]] == [0, 1]
    response = data_of(failed)["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "busy", "message": "Slow down."}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize(
    "messages",
    [
        refusal(502, b"<html>Bad Gateway</html>"),
        refusal(200, b'{"object": "chat.completion"}'),
        refusal(500, b"x" * 600_000),
        refusal(302, b""),
        [],
        [{"type": "http.response.start", "status": 500, "headers": []}],
    ],
    ids=["html", "a whole answer", "endless", "elsewhere", "nothing", "no body"],
)
async def test_whatever_is_no_stream_is_a_failure(path: str, messages: list[Message]) -> None:
    *_, event = await late(path, messages)
    told = data_of(event)
    error = told["response"]["error"] if path == "/v1/responses" else told["error"]
    assert error["message"] in ("The answer is no event stream.", "The gateway failed to answer.")


async def test_an_unhandled_error_behind_a_begun_answer_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play(send: Any) -> None:
        await asyncio.sleep(LONG)
        raise RuntimeError("a secret detail")

    answer = await answer_to(play)
    assert data_of(answer.body.replace(COMMENT, b""))["error"]["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert "unhandled error" in caplog.text


async def test_an_unhandled_error_before_that_is_somebody_elses() -> None:
    async def play(send: Any) -> None:
        raise RuntimeError("early")

    with pytest.raises(RuntimeError, match="early"):
        await answer_to(play)


def test_no_answer_at_all_is_an_error_of_the_gateways() -> None:
    assert data_of(late_error(None, b"", "openai", None))["error"]["code"] == "internal_error"


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        KeepAliveMiddleware(app_of, interval=0)  # type: ignore[arg-type]
