"""OpenTelemetry, as a collector gets it from a real gateway; and what a bad collector costs: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from gw.observability import _conventions as names
from gw.observability.otel import QUEUE, OpenTelemetry, _resource, problem
from gw.settings import load
from middleware._state import COMPLETION, PRINCIPAL, REQUEST_ID, Completion, Principal
from tests.e2e.conftest import others_at, settings_for
from tests.e2e.gateway import KEY, ROOT, Gateway, clean_environment, running_gateway
from tests.e2e.upstream import Upstream, running_upstream

from .collector import Collector, attributes, running_collector

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = "canary-prompt-of-somebody"
CHAT = {"model": "sonnet", "messages": [{"role": "user", "content": PROMPT}]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, collector: Collector) -> Iterator[Gateway]:
    with running_gateway(**exporting(upstream, collector), **others_at(upstream)) as running:
        yield running


def exporting(upstream: Upstream, collector: Collector, **more: str) -> dict[str, str]:
    return settings_for(
        upstream,
        **{
            "LEDGER_ENABLED": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            **more,
        },
    )


def ask(gateway: Gateway, path: str, body: dict[str, Any], **headers: str) -> tuple[int, str]:
    """The status and the request's id."""
    request = urllib.request.Request(
        gateway.base_url + path,
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return answer.status, answer.headers["x-request-id"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-request-id"]


def spans_of(collector: Collector, request_id: str) -> tuple[Span, list[Span]]:
    """The span of a request, and those inside it, which are sent before it."""

    def outer() -> list[Span]:
        return [s for s in collector.spans if attributes(s).get("gateway.request_id") == request_id]

    (found,) = collector.wait_for(outer)
    return found, [s for s in collector.spans if s.parent_span_id == found.span_id]


def test_the_callers_trace_goes_on_and_says_what_the_model_did(
    gateway: Gateway, collector: Collector
) -> None:
    _, request_id = ask(gateway, "/v1/chat/completions", CHAT, traceparent=f"00-{TRACE}-{CALLER}-01")
    outer, (inner,) = spans_of(collector, request_id)
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE, CALLER)
    assert inner.trace_id.hex() == TRACE
    assert (outer.kind, inner.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert outer.name == "POST /v1/chat/completions"
    assert attributes(outer)["http.response.status_code"] == 200
    assert inner.name == "chat claude-sonnet-5-5"
    told = attributes(inner)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "claude-sonnet-5-5"
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.output_tokens"] > 0
    assert told["server.address"] == "127.0.0.1"
    assert told["gateway.cost_usd"] > 0
    assert "error.type" not in told
    assert outer.start_time_unix_nano <= inner.start_time_unix_nano < inner.end_time_unix_nano
    assert inner.end_time_unix_nano <= outer.end_time_unix_nano


def test_a_caller_without_a_trace_begins_one_and_a_wrong_one_is_ignored(
    gateway: Gateway, collector: Collector
) -> None:
    for headers in ({}, {"traceparent": "00-nonsense-01"}, {"traceparent": f"00-{'0' * 32}-{CALLER}-01"}):
        _, request_id = ask(gateway, "/v1/messages", {**CHAT, "max_tokens": 9, "stream": True}, **headers)
        outer, (inner,) = spans_of(collector, request_id)
        assert outer.parent_span_id == b""
        assert len(outer.trace_id) == 16
        assert attributes(inner)["gen_ai.request.stream"] is True
        assert attributes(inner)["gen_ai.response.time_to_first_chunk"] >= 0


def test_a_caller_who_does_not_sample_gets_no_spans(gateway: Gateway, collector: Collector) -> None:
    _, unsampled = ask(gateway, "/v1/chat/completions", CHAT, traceparent=f"00-{TRACE}-{CALLER}-00")
    _, sampled = ask(gateway, "/v1/chat/completions", CHAT)
    spans_of(collector, sampled)
    assert not [s for s in collector.spans if attributes(s).get("gateway.request_id") == unsampled]


def test_failures_have_a_type_where_they_happened(
    gateway: Gateway, collector: Collector, upstream: Upstream
) -> None:
    upstream.script({"status": 529})
    status, request_id = ask(gateway, "/v1/chat/completions", CHAT)
    assert status == 503
    outer, (inner,) = spans_of(collector, request_id)
    assert attributes(outer)["error.type"] == attributes(inner)["error.type"] == "upstream_overloaded"
    assert outer.status.code == inner.status.code == SpanStatus.STATUS_CODE_ERROR
    status, request_id = ask(gateway, "/v1/chat/completions", {**CHAT, "model": "canary-nobody-knows"})
    assert status == 404
    outer, inside = spans_of(collector, request_id)
    assert attributes(outer)["error.type"] == "model_not_found"
    assert outer.status.code == SpanStatus.STATUS_CODE_UNSET  # the caller's own
    assert inside == []


def test_embeddings_are_an_operation_of_their_own(gateway: Gateway, collector: Collector) -> None:
    body = {"model": "local:nomic-embed-text", "input": PROMPT}
    _, request_id = ask(gateway, "/v1/embeddings", body)
    _, (inner,) = spans_of(collector, request_id)
    assert attributes(inner)["gen_ai.operation.name"] == "embeddings"
    assert attributes(inner)["gen_ai.provider.name"] == "ollama"


def test_tokens_and_durations_come_as_the_conventions_metrics(gateway: Gateway, collector: Collector) -> None:
    ask(gateway, "/v1/chat/completions", CHAT)
    ask(gateway, "/v1/chat/completions", {**CHAT, "model": "claude-canary-invented"})

    def kinds() -> set[tuple[str, str, str]]:
        return {
            (name, attributes(point).get("gen_ai.token.type", ""), attributes(point)["gen_ai.request.model"])
            for name, point in collector.points
        }

    wanted = {
        (names.TOKEN_USAGE, "input", "claude-sonnet-5-5"),
        (names.TOKEN_USAGE, "output", "claude-sonnet-5-5"),
        (names.OPERATION_DURATION, "", "claude-sonnet-5-5"),
        (names.OPERATION_DURATION, "", "other"),
    }
    collector.wait_for(lambda: wanted <= kinds())
    assert not [kind for kind in kinds() if "canary" in kind[2]]
    bounds = {name: list(point.explicit_bounds) for name, point in collector.points}
    assert bounds[names.TOKEN_USAGE] == list(names.TOKEN_BUCKETS)
    assert bounds[names.OPERATION_DURATION] == list(names.DURATION_BUCKETS)


def test_neither_prompts_nor_answers_nor_keys_are_told(gateway: Gateway, collector: Collector) -> None:
    _, request_id = ask(gateway, "/v1/chat/completions", CHAT)
    spans_of(collector, request_id)
    assert collector.resources[0]["service.name"] == "claude-gateway"
    for secret in (PROMPT, KEY, "sk-ant-e2e", "sk-e2e", "Bearer"):
        assert secret.encode() not in collector.raw


def test_each_worker_is_an_instance_of_its_own() -> None:
    one, other = (_resource().attributes["service.instance.id"] for _ in range(2))
    assert one != other


def test_workers_say_their_last_words_under_the_name_that_they_were_given(upstream: Upstream) -> None:
    with running_collector() as collector:
        patient = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
        settings = exporting(upstream, collector, WEB_CONCURRENCY="2", OTEL_SERVICE_NAME="ours", **patient)
        with running_gateway(**settings) as gateway:
            for _ in range(20):
                assert ask(gateway, "/v1/chat/completions", CHAT)[0] == 200
            assert gateway.stop() == 0
        assert len([s for s in collector.spans if s.kind == Span.SPAN_KIND_CLIENT]) == 20
        durations = [point.count for name, point in collector.points if name == names.OPERATION_DURATION]
        assert sum(durations) == 20
        assert {resource["service.name"] for resource in collector.resources} == {"ours"}


@pytest.mark.parametrize("status", [0, 500])
def test_a_collector_that_hangs_or_refuses_costs_no_answer_and_one_line(
    upstream: Upstream, status: int
) -> None:
    with running_collector() as collector:
        collector.status = status
        with running_gateway(**exporting(upstream, collector)) as gateway:
            assert [ask(gateway, "/v1/chat/completions", CHAT)[0] for _ in range(30)] == [200] * 30
            assert gateway.stop() == 0  # and no worker had to be killed
            log = gateway.log
        assert log.count("traces are dropped") == (1 if status else 0)  # or it still waits for an answer
        assert "opentelemetry" not in log
        assert collector.spans == []


def test_what_waits_for_a_collector_is_bounded() -> None:
    with running_collector() as collector:
        collector.status = 0
        settings = load({"GATEWAY_API_KEY": KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        telemetry = OpenTelemetry(settings, lambda _provider, model, _answered: model)
        try:
            for number in range(QUEUE * 2):
                done = Completion("anthropic", "m", asked_model="m", input_tokens=1, output_tokens=1)
                state = {COMPLETION: done, PRINCIPAL: Principal("p", "k"), REQUEST_ID: f"req_{number}"}
                scope = {"method": "POST", "path": "/v1/chat/completions", "headers": []}
                telemetry.record(scope, state, done.asked_at, 200, 0.1, None)
            assert len(telemetry._spans._batch_processor._queue) == QUEUE
        finally:
            collector.end.set()
            telemetry.stop()


def test_the_names_are_those_of_the_installed_conventions() -> None:
    attributes_there = {v for k, v in vars(gen_ai_attributes).items() if k.isupper()}
    metrics_there = {v for k, v in vars(gen_ai_metrics).items() if k.isupper()}
    ours = {k: v for k, v in vars(names).items() if isinstance(v, str) and v.startswith("gen_ai.")}
    metrics = {ours.pop("TOKEN_USAGE"), ours.pop("OPERATION_DURATION")}
    assert metrics <= metrics_there
    assert set(ours.values()) <= attributes_there
    providers = {v.value for v in gen_ai_attributes.GenAiProviderNameValues}
    assert set(names.PROVIDERS.values()) <= providers
    operations = {v.value for v in gen_ai_attributes.GenAiOperationNameValues}
    assert {*names.OPERATIONS.values(), "chat"} <= operations


def test_a_missing_package_stops_the_start_and_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("")  # hides the real one

    def gw(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gw", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    environment = clean_environment(
        GATEWAY_API_KEY=KEY,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
        LEDGER_ENABLED="0",
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]),
    )
    done = gw("serve", "--check")
    assert done.returncode == 2
    assert "pip install 'claude-gateway[otel]'" in done.stderr
    assert "Traceback" not in done.stderr
    examined = gw("doctor", "--only", "settings")
    assert examined.returncode == 1
    assert "pip install 'claude-gateway[otel]'" in examined.stdout


def test_off_it_is_not_even_loaded() -> None:
    settings = load({"GATEWAY_API_KEY": KEY})
    assert problem(settings) is None
    code = (
        "import sys; from gw.app import create_app; from gw.settings import load; "
        f"create_app(load({{'GATEWAY_API_KEY': '{KEY}', 'LEDGER_ENABLED': '0'}})); "
        "print([m for m in sys.modules if m.split('.')[0] in ('opentelemetry', 'requests', 'google')])"
    )
    env = clean_environment(PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
