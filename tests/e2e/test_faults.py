"""Each dialect with each kind of provider and each way to fail, streamed and whole: the caller is told so in
its own dialect, the failure is on record, and nothing is taken for a whole answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from .conftest import others_at, settings_for
from .gateway import Gateway, free_port, running_gateway
from .odd_server import OddServer, odd_server
from .raw import post
from .upstream import Upstream

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
COMPLETIONS, COUNT = "/v1/completions", "/v1/messages/count_tokens"
SAID: list[Any] = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": SAID},
    MESSAGES: {"messages": SAID, "max_tokens": 100},
    RESPONSES: {"input": "Hi"},
    COMPLETIONS: {"prompt": "def f("},
    COUNT: {"messages": SAID},
}


class Case(NamedTuple):
    """Where a request goes, and where its upstream is asked."""

    path: str
    model: str
    asked: str

    @property
    def anthropic(self) -> bool:
        return self.path in (MESSAGES, COUNT)

    @property
    def passed_through(self) -> bool:
        """Claude in its own dialect."""
        return self.anthropic and self.model.startswith("claude")


CASES = [
    *(
        Case(path, model, asked)
        for path in (CHAT, MESSAGES, RESPONSES)
        for model, asked in (
            ("claude-opus-5", "/v1/messages"),
            ("local:llama3.1:8b", "/api/chat"),
            ("sim:gpt-4o", "/openai/v1/chat/completions"),
        )
    ),
    Case(COMPLETIONS, "local:codellama:13b", "/api/generate"),
    Case(COMPLETIONS, "sim:gpt-3.5-turbo-instruct", "/openai/v1/completions"),
]
COUNTING = Case(COUNT, "claude-opus-5", COUNT)

#: What the upstream answers → what the caller is answered, and whether asking again is of any use.
STATUSES: dict[int, tuple[int, bool]] = {
    400: (400, False),
    401: (502, False),
    402: (402, False),
    403: (502, False),
    404: (404, False),
    413: (413, False),
    429: (429, True),
    500: (502, True),
    503: (503, True),
    529: (503, True),
}
#: How a stream breaks off. What is malformed passes through to a caller of Claude's own dialect.
BROKEN = ["reset", "cut", "truncate", "error", "bad_json", "bad_utf8"]
MALFORMED = ("bad_json", "bad_utf8")


def name(case: object) -> str | None:
    return f"{case.path}-{case.model}" if isinstance(case, Case) else None


def ask(gateway: Gateway, case: Case, *, stream: bool) -> tuple[int, dict[str, str], bytes]:
    body = {"model": case.model, **BODIES[case.path], **({"stream": True} if stream else {})}
    return post(gateway.base_url, case.path, json.dumps(body).encode())


def error_in(case: Case, body: bytes) -> dict[str, Any]:
    """The error of an envelope, which has to be that of the dialect and no other."""
    told = json.loads(body)
    if case.anthropic:
        assert told["type"] == "error"
        assert told.keys() == {"type", "error", "request_id"}
        assert told["error"].keys() >= {"type", "message"}
    else:
        assert told.keys() == {"error"}
        assert told["error"].keys() == {"message", "type", "param", "code"}
    assert told["error"]["message"]
    return dict(told["error"])


def events_in(body: bytes) -> list[tuple[str, Any]]:
    """``(event, data)`` of a stream; comments are left out."""
    found = []
    for block in body.decode("utf-8", "replace").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if "data" in fields:
            done = fields["data"] == "[DONE]"
            found.append((fields.get("event", ""), "[DONE]" if done else json.loads(fields["data"])))
    return found


def records_of(gateway: Gateway, answers: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The lines of the access log for answers with these headers. Lines are written together, ten times a
    second: who waits for many at once waits once."""
    wanted = [headers["x-request-id"] for headers in answers]
    deadline = time.monotonic() + 10
    while True:
        written = gateway.log.rpartition("\n")[0]  # the last line may be half there
        lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
        known = {line.get("request_id"): line for line in lines}
        if known.keys() >= set(wanted):
            return [known[request_id] for request_id in wanted]
        assert time.monotonic() < deadline, set(wanted) - known.keys()
        time.sleep(0.01)


def assert_ends_broken(case: Case, body: bytes) -> None:
    """The last event of a stream says, in the way of its dialect, that the answer is not whole."""
    events = events_in(body)
    event, data = events[-1]
    if case.path == RESPONSES:
        assert event == data["type"] == "response.failed"
        assert data["response"]["status"] == "failed"
        assert data["response"]["error"]["message"]
        assert [said["sequence_number"] for _, said in events] == list(range(len(events)))
        assert len({said["response"]["id"] for _, said in events if "response" in said}) == 1
    elif case.anthropic:
        assert event == data["type"] == "error"
        assert "message_stop" not in {kind for kind, _ in events}
    else:
        assert data["error"]["message"]
        assert "[DONE]" not in [said for _, said in events]
        assert [said for _, said in events if "error" in said] == [data]


@pytest.mark.parametrize("case", [*CASES, COUNTING], ids=name)
def test_a_refusal_has_its_status_in_the_dialect(
    all_providers: Gateway, upstream: Upstream, case: Case
) -> None:
    answers = []
    for status, stream in (*((status, True) for status in STATUSES), (404, False), (500, False)):
        upstream.script({"path": case.asked, "status": status, "retry_after": 7 if status == 429 else None})
        shown, headers, body = ask(all_providers, case, stream=stream)
        about = (status, stream, headers, body)
        expected, again = STATUSES[status]
        assert shown == (529 if case.passed_through and status == 529 else expected), about
        error_in(case, body)
        assert headers.get("x-should-retry") == (None if again else "false"), about
        assert headers.get("retry-after") == ("7" if status == 429 else None), about
        assert headers["content-type"] == "application/json", about
        answers.append((shown, headers))
    lines = records_of(all_providers, [headers for _, headers in answers])
    assert [line["status"] for line in lines] == [shown for shown, _ in answers]
    assert all(line["upstream_error"].startswith("response/") for line in lines), lines


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_stream_that_breaks_off_says_so(all_providers: Gateway, upstream: Upstream, case: Case) -> None:
    answers = []
    for fault in BROKEN:
        upstream.script({"path": case.asked, "tokens": 30, "fault": fault, "after": 8, "delay_ms": 1})
        status, headers, body = ask(all_providers, case, stream=True)
        assert status == 200, (fault, body)
        assert headers["content-type"].startswith("text/event-stream"), (fault, headers)
        if case.passed_through and fault in MALFORMED:
            mark = b'"index":0,\n\n' if fault == "bad_json" else b"\xff\xfe"
            assert mark in body  # Claude's bytes, for the caller to judge
            continue
        assert_ends_broken(case, body)
        answers.append(headers)
    lines = records_of(all_providers, answers)
    assert all(line["upstream_error"] for line in lines), lines


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_whole_answer_that_breaks_off_is_an_error(
    all_providers: Gateway, upstream: Upstream, case: Case
) -> None:
    answers = []
    for fault in ("bad_http",) if case.passed_through else ("reset", "cut", "bad_http"):
        upstream.script({"path": case.asked, "tokens": 30, "fault": fault, "after": 8, "delay_ms": 1})
        status, headers, body = ask(all_providers, case, stream=False)
        assert status == 502, (fault, body)
        error_in(case, body)
        assert "x-should-retry" not in headers, (fault, headers)
        answers.append(headers)
    lines = records_of(all_providers, answers)
    assert all(line["upstream_error"] for line in lines), lines


# ---- upstreams that are not there, say nothing, or are something else


@pytest.fixture(scope="module")
def odd() -> Iterator[OddServer]:
    with odd_server() as server:
        yield server


@pytest.fixture(scope="module")
def astray(odd: OddServer, shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway whose upstreams all are one server that is none."""
    settings = settings_for(shared_upstream, **others_at(shared_upstream))
    addresses = {
        "ANTHROPIC_BASE_URL": odd.base_url,
        "LOCAL_LLM_BASE_URL": odd.base_url,
        "OPENAI_COMPATIBLE_SIM_BASE_URL": f"{odd.base_url}/v1",
    }
    patience = {"UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": "0.3", "LOCAL_LLM_TIMEOUT_SECONDS": "0.3"}
    with running_gateway(**{**settings, **addresses, **patience}) as running:
        yield running


@pytest.fixture(scope="module")
def alone(shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway behind which nobody listens."""
    settings = settings_for(shared_upstream, **others_at(shared_upstream))
    nobody = f"http://127.0.0.1:{free_port()}"
    addresses = ("ANTHROPIC_BASE_URL", "LOCAL_LLM_BASE_URL", "OPENAI_COMPATIBLE_SIM_BASE_URL")
    with running_gateway(**{**settings, **dict.fromkeys(addresses, nobody)}) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_no_answer_of_an_api_is_502(astray: Gateway, odd: OddServer, stream: bool) -> None:
    odd.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"
    answers = []
    for case in CASES:
        status, headers, body = ask(astray, case, stream=stream)
        assert status == 502, (case, body)
        assert "<html>" not in error_in(case, body)["message"]
        answers.append(headers)
    lines = records_of(astray, answers)
    assert all(line["upstream_error"] for line in lines), lines


def test_an_upstream_that_says_nothing_is_504(astray: Gateway, odd: OddServer) -> None:
    odd.answer = b""
    cases = [*CASES, COUNTING]
    with ThreadPoolExecutor(len(cases)) as pool:
        for case, (status, headers, body) in zip(
            cases, pool.map(lambda case: ask(astray, case, stream=True), cases), strict=True
        ):
            assert status == 504, (case, body)
            error_in(case, body)
            assert "x-should-retry" not in headers, (case, headers)


def test_an_upstream_that_is_not_there_is_502(alone: Gateway) -> None:
    answers = []
    for case in (*CASES, COUNTING):
        status, headers, body = ask(alone, case, stream=True)
        assert status == 502, (case, body)
        error_in(case, body)
        answers.append(headers)
    causes = {line["upstream_error"] for line in records_of(alone, answers)}
    assert causes == {"connect/upstream_connect"}


def test_every_failure_is_counted(all_providers: Gateway, upstream: Upstream) -> None:
    before = all_providers.metric("gateway_upstream_errors_total")
    for case in CASES:
        upstream.script({"path": case.asked, "status": 500})
        ask(all_providers, case, stream=False)
    assert all_providers.metric("gateway_upstream_errors_total") == before + len(CASES)
