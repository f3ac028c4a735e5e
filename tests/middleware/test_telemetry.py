"""Telemetry: every request has an id, a line and a count, and costs nobody an answer."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._metrics import Metrics
from middleware._state import (
    ABORTED,
    COMPLETION,
    PRINCIPAL,
    REQUEST_ID,
    Completion,
    Principal,
    Saving,
    add_saving,
)
from middleware.telemetry import TelemetryMiddleware

from .asgi import call, make_scope

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-5f2d"


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def access(self) -> list[dict[str, Any]]:
        return [orjson.loads(r.getMessage()) for r in self.records if r.levelno == logging.INFO]


@pytest.fixture
def log() -> Iterator[_Lines]:
    handler = _Lines()
    logger = logging.getLogger("gateway.access")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def _counted(metrics: Metrics, status: int) -> float | None:
    labels = {"provider": "p", "model": "m", "status": str(status)}
    return metrics.registry.get_sample_value("gateway_requests_total", labels)


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"theirs")]})
    await send({"type": "http.response.body", "body": b"hello"})


def _answering(completion: Completion, *, aborted: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        state = scope["state"]
        state[COMPLETION] = completion
        state[ABORTED] = aborted
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


async def test_a_request_gets_an_id_of_its_own_and_the_answer_carries_it() -> None:
    app = TelemetryMiddleware(_hello, gateway="my-gateway")
    answers = [await call(app) for _ in range(50)]
    assert all(a.headers["x-gateway"] == "my-gateway" for a in answers)
    ids = [[v for k, v in a.raw_headers if k == b"x-request-id"] for a in answers]
    assert all(len(values) == 1 for values in ids), "the application's own id must not stand beside ours"
    assert len({values[0] for values in ids}) == 50


@given(st.one_of(st.binary(max_size=160), st.from_regex(rb"[A-Za-z0-9._-]{1,140}", fullmatch=True)))
def test_only_a_sane_incoming_id_is_adopted(raw: bytes) -> None:
    async def run() -> None:
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["state"][REQUEST_ID])
            await _hello(scope, receive, send)

        telemetry = TelemetryMiddleware(app, access_log=False)
        answer = await call(telemetry, headers=[(b"x-request-id", raw)])
        assert answer.headers["x-request-id"] == seen[0]
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", seen[0])
        adopted = seen[0].encode() == raw
        assert adopted == bool(re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", raw))

    asyncio.run(run())


async def test_the_access_log_is_one_json_line_of_metadata(log: _Lines) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        state = scope["state"]
        state[PRINCIPAL] = Principal("red", "0123456789ab")
        add_saving(state, Saving("limits", 400, 100))
        state[COMPLETION] = Completion(
            "anthropic",
            "claude-sonnet-5-5",
            True,
            10,
            20,
            30,
            40,
            0,
            5,
            first_token_at=time.perf_counter(),
            upstream_error=("idle", "stalled"),
        )
        await _hello(scope, receive, send)

    answer = await call(
        TelemetryMiddleware(app),
        headers={"authorization": f"Bearer {CANARY}", "x-api-key": CANARY},
        query=f"key={CANARY}",
        body=CANARY.encode(),
    )
    (line,) = log.access
    assert line.pop("time").endswith("Z")
    assert line.pop("duration_ms") >= line.pop("ttft_ms") >= 0
    assert line == {
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "provider": "anthropic",
        "model": "claude-sonnet-5-5",
        "stream": True,
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_tokens": 30,
        "cache_write_tokens": 40,
        "reasoning_tokens": 5,
        "upstream_error": "idle/stalled",
        "project": "red",
        "key_id": "0123456789ab",
        "savings": [{"layer": "limits", "chars": 400, "tokens": 100}],
    }
    assert not [r for r in log.records if CANARY in r.getMessage()]


async def test_the_access_log_can_be_switched_off(log: _Lines) -> None:
    await call(TelemetryMiddleware(_hello, access_log=False))
    assert log.records == []


async def test_a_line_can_be_given_to_a_function_instead(log: _Lines) -> None:
    lines: list[str] = []
    answer = await call(TelemetryMiddleware(_hello, access_log=lines.append), path='/"quoted"\\path')
    (line,) = map(orjson.loads, lines)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["path"] == '/"quoted"\\path'
    assert log.records == []


@given(
    names=st.tuples(*[st.text(max_size=12)] * 4),
    counts=st.tuples(*[st.integers(0, 10**12)] * 5),
    stream=st.booleans(),
)
def test_whatever_a_line_tells_it_is_json(
    names: tuple[str, ...], counts: tuple[int, ...], stream: bool
) -> None:
    provider, model, project, stage = names

    async def app(scope: Any, receive: Any, send: Any) -> None:
        state = scope["state"]
        state[PRINCIPAL] = Principal(project, "0123456789ab")
        state[COMPLETION] = done = Completion(
            provider, model, stream, counts[0], counts[1], counts[2], counts[3]
        )
        done.reasoning_tokens, done.upstream_error = counts[4], (stage, "x")
        await _hello(scope, receive, send)

    lines: list[str] = []
    asyncio.run(call(TelemetryMiddleware(app, access_log=lines.append)))
    line = orjson.loads(lines[0])
    assert [line[k] for k in ("provider", "model", "project", "upstream_error")] == [*names[:3], f"{stage}/x"]
    kinds = ("input", "output", "cache_read", "cache_write", "reasoning")
    assert tuple(line[f"{kind}_tokens"] for kind in kinds) == counts
    assert line["stream"] is stream
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    said = datetime.fromisoformat(line["time"])
    assert abs((datetime.now(UTC) - said).total_seconds()) < 60


@pytest.mark.parametrize("path", ["/\udcff", "/ü\nfake line", "/" + "a" * 5000])
async def test_no_path_breaks_or_forges_a_log_line(log: _Lines, path: str) -> None:
    scope = make_scope()
    scope["path"] = path

    async def send(message: Any) -> None: ...

    async def receive() -> Any: ...

    await TelemetryMiddleware(_hello)(scope, receive, send)
    (line,) = log.access
    assert len(line["path"]) <= 256
    assert "\n" not in log.records[0].getMessage()


@pytest.mark.parametrize(
    ("aborted", "status"), [("client_disconnect", 499), ("write_timeout", 499), ("deadline", 504)]
)
async def test_an_aborted_stream_is_never_counted_as_success(log: _Lines, aborted: str, status: int) -> None:
    metrics = Metrics()
    done = Completion("p", "m", True)
    await call(TelemetryMiddleware(_answering(done, aborted=aborted), metrics=metrics))
    assert _counted(metrics, status) == 1
    assert log.access[0]["status"] == status
    assert log.access[0]["aborted"] == aborted


async def test_an_exception_becomes_a_500_without_details(log: _Lines) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    answer = await call(TelemetryMiddleware(broken))
    assert answer.status == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    errors = [r for r in log.records if r.levelno == logging.ERROR]
    assert answer.headers["x-request-id"] in errors[0].getMessage()
    assert errors[0].exc_info is not None
    assert log.access[0]["status"] == 500


async def test_an_exception_in_anthropics_dialect_names_the_request() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    answer = await call(TelemetryMiddleware(broken), path="/v1/messages")
    assert answer.json()["type"] == "error"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_an_exception_after_the_start_reaches_the_server(log: _Lines) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        await call(TelemetryMiddleware(broken))
    assert len(log.access) == 1


async def test_an_answer_broken_off_on_purpose_is_no_error_in_the_log(log: _Lines) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["state"][ABORTED] = "deadline"
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError):
        await call(TelemetryMiddleware(app))
    assert [r.levelno for r in log.records] == [logging.INFO]
    assert log.access[0]["status"] == 504


async def test_a_cancelled_request_is_recorded_and_stays_cancelled(log: _Lines) -> None:
    began = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        await asyncio.sleep(30)

    task = asyncio.create_task(call(TelemetryMiddleware(slow)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.access[0]["status"] == 499
    assert log.access[0]["aborted"] == "cancelled"


async def test_broken_telemetry_never_costs_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()

    def explode(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(metrics, "observe", explode)
    answer = await call(TelemetryMiddleware(_hello, metrics=metrics))
    assert answer.body == b"hello"
    assert "unrecorded" in caplog.text


async def test_other_scope_types_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope = {"type": "lifespan"}
    await TelemetryMiddleware(app)(scope, call, call)  # type: ignore[arg-type]
    assert seen == [(scope, call, call)]
