"""Metrics: every series of the contract, under labels that stay few, from all workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram

from middleware import _metrics
from middleware._metrics import LATENCY_BUCKETS, MAX_LABEL_VALUES, Metrics
from middleware._reject import Rejection, reject_json
from middleware._state import COMPLETION, Completion
from middleware.telemetry import TelemetryMiddleware

from .asgi import call

pytestmark = pytest.mark.anyio


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def _answering(completion: Completion, status: int = 200) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"][COMPLETION] = completion
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


async def test_a_request_is_counted_under_what_the_application_resolved() -> None:
    metrics = Metrics()
    done = Completion(
        "anthropic", "claude-opus-5", False, 7, 11, 13, 17, 0, first_token_at=time.perf_counter() + 60
    )
    await call(TelemetryMiddleware(_answering(done), metrics=metrics))
    await call(TelemetryMiddleware(_answering(done), metrics=metrics))
    by_model = {"provider": "anthropic", "model": "claude-opus-5"}
    assert _value(metrics, "gateway_requests_total", **by_model, status="200") == 2
    tokens = {
        direction: _value(metrics, "gateway_tokens_total", **by_model, direction=direction)
        for direction in ("input", "output", "cache_read", "cache_write")
    }
    assert tokens == {"input": 14, "output": 22, "cache_read": 26, "cache_write": 34}
    assert _value(metrics, "gateway_latency_seconds_count", provider="anthropic") == 2
    assert _value(metrics, "gateway_ttft_seconds_count") == 2
    assert _value(metrics, "gateway_ttft_seconds_bucket", le="30.0") == 0


async def test_a_refusal_is_counted_although_it_has_no_model() -> None:
    metrics = Metrics()

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await call(TelemetryMiddleware(refuse, metrics=metrics))
    assert _value(metrics, "gateway_requests_total", provider="none", model="none", status="401") == 1


async def test_a_stream_that_its_upstream_broke_counts_as_an_upstream_error() -> None:
    metrics = Metrics()
    broken = Completion("p", "m", True, upstream_error=("stream", "upstream_overloaded"))
    await call(TelemetryMiddleware(_answering(broken), metrics=metrics))
    assert _value(metrics, "gateway_upstream_errors_total", stage="stream", code="upstream_overloaded") == 1


async def test_a_refusal_is_counted_by_its_code_and_an_upstreams_failure_is_none_of_ours() -> None:
    metrics = Metrics()

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        rejection = Rejection(402, "It is spent.", code="budget_exceeded")
        await reject_json(rejection)(scope, receive, send)

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        scope["state"][COMPLETION] = Completion("p", "m", upstream_error=("response", "upstream_auth"))
        await reject_json(Rejection(502, "No.", code="upstream_auth"))(scope, receive, send)

    await call(TelemetryMiddleware(refuse, metrics=metrics))
    await call(TelemetryMiddleware(fail, metrics=metrics))
    assert _value(metrics, "gateway_refusals_total", code="budget_exceeded") == 1
    assert _value(metrics, "gateway_refusals_total", code="upstream_auth") is None
    assert _value(metrics, "gateway_upstream_errors_total", stage="response", code="upstream_auth") == 1


async def test_counting_tokens_is_counted_as_nobodys_answer() -> None:
    metrics = Metrics()
    await call(TelemetryMiddleware(_answering(Completion("p", "m", counting=True)), metrics=metrics))
    assert _value(metrics, "gateway_requests_total", provider="p", model="none", status="200") == 1


async def test_a_name_that_was_only_ever_refused_takes_no_models_place() -> None:
    metrics = Metrics()
    for number in range(MAX_LABEL_VALUES + 50):
        await call(
            TelemetryMiddleware(_answering(Completion("p", f"made-up-{number}"), 404), metrics=metrics)
        )
    await call(TelemetryMiddleware(_answering(Completion("p", "real")), metrics=metrics))
    await call(TelemetryMiddleware(_answering(Completion("p", "real"), 404), metrics=metrics))
    assert _value(metrics, "gateway_requests_total", provider="p", model="other", status="404") == 250
    assert _value(metrics, "gateway_requests_total", provider="p", model="real", status="200") == 1
    assert _value(metrics, "gateway_requests_total", provider="p", model="real", status="404") == 1


async def test_callers_cannot_flood_the_metrics_with_names() -> None:
    metrics = Metrics()
    for number in range(MAX_LABEL_VALUES + 50):
        done = Completion("p", f"model-{number}", upstream_error=("read", f"code-{number}"))
        await call(TelemetryMiddleware(_answering(done), metrics=metrics))
    assert _value(metrics, "gateway_requests_total", provider="p", model="other", status="200") == 50
    assert _value(metrics, "gateway_upstream_errors_total", stage="read", code="other") == 50
    await call(TelemetryMiddleware(_answering(Completion("p", "model-0")), metrics=metrics))
    assert _value(metrics, "gateway_requests_total", provider="p", model="model-0", status="200") == 2


def test_a_price_that_nobody_knows_is_never_shown_as_0() -> None:
    metrics = Metrics()
    used: dict[str, Any] = {"input_tokens": 3, "output_tokens": 4}
    metrics.observe(Completion("p", "own", **used, unpriced=True), 200, 0.1, None)
    metrics.observe(Completion("p", "own", cost_nano=0), 529, 0.1, None)  # it failed, and used nothing
    metrics.observe(Completion("ollama", "free", **used, cost_nano=0), 200, 0.1, None)
    metrics.observe(Completion("p", "dear", **used, cost_nano=5), 200, 0.1, None)
    text = metrics.render()[0].decode()
    assert 'gateway_cost_usd_total{model="own"' not in text
    assert 'gateway_unpriced_requests_total{model="own",provider="p"} 1.0' in text
    assert 'gateway_cost_usd_total{model="free",provider="ollama"} 0.0' in text
    assert 'gateway_cost_usd_total{model="dear",provider="p"} 5e-09' in text


def test_the_contract_of_series_is_complete() -> None:
    metrics = Metrics()
    metrics.cache_hits.inc()
    metrics.cost_usd.labels("p", "m").inc(0.5)
    metrics.saved_usd.labels("limits").inc(0.25)
    metrics.circuit_state.labels("p", "m").set(2)
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    text = body.decode()
    assert "gateway_cache_hits_total 1.0" in text
    assert 'gateway_cost_usd_total{model="m",provider="p"} 0.5' in text
    assert 'gateway_saved_usd_total{layer="limits"} 0.25' in text
    assert 'gateway_circuit_state{model="m",provider="p"} 2.0' in text
    for name in (
        "requests_total",
        "tokens_total",
        "latency_seconds",
        "ttft_seconds",
        "upstream_errors_total",
    ):
        assert f"# HELP gateway_{name} " in text


_WORKER = """
import sys
from middleware._metrics import Metrics
from middleware._state import Completion
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.observe(Completion("p", "m", input_tokens=5), 200, 0.01, 0.005)
print(metrics.render()[0].decode())
"""


def test_the_workers_counts_are_added_up(tmp_path: Path) -> None:
    root = Path(_metrics.__file__).parents[1]
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(root)}

    def worker(requests: int) -> str:
        command = [sys.executable, "-c", _WORKER, str(requests)]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def requests_in(text: str) -> str:
        return next(line for line in text.splitlines() if line.startswith("gateway_requests_total{")).split()[
            -1
        ]

    assert requests_in(worker(3)) == "3.0"
    everybody = worker(4)
    assert requests_in(everybody) == "7.0"
    assert 'gateway_tokens_total{direction="input",model="m",provider="p"} 35.0' in everybody


_BESIDE = """
import asyncio, subprocess, sys
from middleware._metrics import Metrics
from middleware._state import Completion
metrics = Metrics()
async def main():
    metrics.observe(Completion("p", "m"), 200, 0.01, None)
    look = "from middleware._metrics import Metrics; print(Metrics().render()[0].decode())"
    other = [sys.executable, "-c", look]
    print(subprocess.run(other, check=True, capture_output=True, text=True).stdout)
asyncio.run(main())
"""


def test_another_worker_sees_at_once_what_was_counted(tmp_path: Path) -> None:
    root = Path(_metrics.__file__).parents[1]
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _BESIDE]
    seen = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert 'gateway_requests_total{model="m",provider="p",status="200"} 1.0' in seen


@given(st.lists(st.one_of(st.floats(0, 700), st.sampled_from(LATENCY_BUCKETS)), max_size=50), st.data())
def test_the_distribution_is_what_prometheus_would_have_made_of_it(times: list[float], data: Any) -> None:
    metrics = Metrics()
    plain = Histogram("plain", "", buckets=LATENCY_BUCKETS, registry=metrics.registry)
    for seconds in times:
        metrics.observe(None, 200, seconds, None)
        plain.observe(seconds)
        if data.draw(st.booleans()):
            metrics.flush()
    if times:
        for bound in (*(str(bound) for bound in LATENCY_BUCKETS), "+Inf"):
            ours = _value(metrics, "gateway_latency_seconds_bucket", provider="none", le=bound)
            assert ours == _value(metrics, "plain_bucket", le=bound)
        total = _value(metrics, "plain_sum")
        assert _value(metrics, "gateway_latency_seconds_sum", provider="none") == pytest.approx(total)


def test_a_count_that_makes_no_sense_spoils_no_scrape() -> None:
    metrics = Metrics()
    metrics.observe(Completion("p", "m", input_tokens=-5, output_tokens=3), 200, 0.01, None)
    labels = {"provider": "p", "model": "m"}
    assert _value(metrics, "gateway_tokens_total", **labels, direction="input") == 0
    assert _value(metrics, "gateway_tokens_total", **labels, direction="output") == 3


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ModuleNotFoundError, match=r"gw-middleware\[metrics\]"):
        Metrics()
