"""The callbacks at a request's end: once for each request, before counting and log, and at nobody's risk."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import orjson
import pytest

from middleware._metrics import Metrics
from middleware._state import ABORTED, COMPLETION, REQUEST_ID, Completion
from middleware.telemetry import TelemetryMiddleware

from .asgi import call

pytestmark = pytest.mark.anyio


class _Kept:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(
        self, scope: Any, state: Any, at: float, status: int, seconds: float, ttft_seconds: float | None
    ) -> None:
        assert scope["state"] is state
        self.calls.append((state[REQUEST_ID], at, status, seconds, ttft_seconds))


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    scope["state"][COMPLETION] = Completion("p", "m", first_token_at=time.perf_counter())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 402, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _fail(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("unforeseen")


async def _leave(scope: Any, receive: Any, send: Any) -> None:
    scope["state"][ABORTED] = "client"


@pytest.mark.parametrize(("app", "status"), [(_answer, 200), (_refuse, 402), (_fail, 500), (_leave, 499)])
async def test_every_request_is_recorded_once_by_each(app: Any, status: int) -> None:
    one, other = _Kept(), _Kept()
    before = time.time()
    answer = await call(TelemetryMiddleware(app, record=[one, other], access_log=False))
    assert one.calls == other.calls
    ((request_id, at, seen, seconds, ttft),) = one.calls
    assert seen == status
    assert answer.headers.get("x-request-id", request_id) == request_id
    assert before <= at <= time.time()
    assert 0 <= seconds < 10
    assert (ttft is not None) == (app is _answer)


async def test_a_cancelled_request_is_recorded_too() -> None:
    began = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        await asyncio.sleep(30)

    kept = _Kept()
    task = asyncio.create_task(call(TelemetryMiddleware(slow, record=[kept], access_log=False)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [seen[2] for seen in kept.calls] == [499]


async def test_one_that_fails_costs_neither_the_answer_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("the disk is gone")

    kept, metrics = _Kept(), Metrics()
    answer = await call(
        TelemetryMiddleware(_answer, record=[broken, kept], metrics=metrics, access_log=False)
    )
    assert answer.body == b"hello"
    assert len(kept.calls) == 1
    assert "the disk is gone" in caplog.text
    labels = {"provider": "p", "model": "m", "status": "200"}
    assert metrics.registry.get_sample_value("gateway_requests_total", labels) == 1


async def test_what_they_find_out_stands_in_the_metrics_and_in_the_log() -> None:
    def price(scope: Any, state: Any, *_: Any) -> None:
        state[COMPLETION].cost_nano = 3_000_000_001
        state[COMPLETION].saved_nano["limits"] = 5

    lines: list[str] = []
    metrics = Metrics()
    await call(TelemetryMiddleware(_answer, record=[price], metrics=metrics, access_log=lines.append))
    assert b'"cost_usd":3.000000001' in lines[0].encode()
    assert orjson.loads(lines[0])["cost_usd"] == 3.000000001
    value = metrics.registry.get_sample_value
    assert value("gateway_cost_usd_total", {"provider": "p", "model": "m"}) == 3.000000001
    assert value("gateway_saved_usd_total", {"layer": "limits"}) == 5e-9


@pytest.mark.parametrize("known", [None, 0, 1, 999_999_999, 10**9, 12_345_678_901_234_567_890])
async def test_the_log_has_the_cost_to_the_last_nano_dollar_or_not_at_all(known: int | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await _answer(scope, receive, send)
        scope["state"][COMPLETION].cost_nano = known

    lines: list[str] = []
    await call(TelemetryMiddleware(app, access_log=lines.append))
    _, found, rest = lines[0].partition('"cost_usd":')
    if known is None:
        assert not found
    else:
        assert int(rest.partition(",")[0].rstrip("}").replace(".", "")) == known


async def test_without_callbacks_and_logs_there_is_no_work(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert (await call(TelemetryMiddleware(_answer, access_log=False))).body == b"hello"
    assert not caplog.records
