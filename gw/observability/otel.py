"""OpenTelemetry: a span for each request to a model and one for its upstream call, and how they went on the
whole, by the semantic conventions for generative AI.

Handed over in the background: a collector that hangs or is away costs what fits into a queue, and no time of
a request. Metadata only, as in the access log: no prompt, no answer, no key.

The SDK reads its own variables too: ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_TRACES_SAMPLER`` and so on
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from middleware._asgi import Scope, header
from middleware._counts import Bounded
from middleware._metrics import ModelLabel
from middleware._paths import canonical
from middleware._state import ABORTED, COMPLETION, PRINCIPAL, REFUSED, REQUEST_ID, Completion, Principal

from .. import __version__
from ..ledger.asking import dialect_of, is_for_models
from ..settings import Settings
from . import _conventions as names

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util.types import AttributeValue

#: Spans that wait to be sent; what comes beyond them is dropped. (One takes some 3 kB.)
QUEUE = 2048
#: Seconds for one attempt to send, and for the last words of a worker that stops.
SEND_SECONDS = 5.0
STOP_SECONDS = 2.0
_NEEDED = "opentelemetry.exporter.otlp.proto.http"


def problem(settings: Settings) -> str | None:
    """Why what the settings ask for cannot be, with its fix; None: nothing stands in the way."""
    if settings.otlp_endpoint is None:
        return None
    try:
        found = importlib.util.find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        found = False
    if found:
        return None
    return (
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
        "pip install 'claude-gateway[otel]', or unset it."
    )


class OpenTelemetry:
    """Opened by a worker after it was forked. :meth:`record` is a callback of the telemetry middleware.

    Raises ``ModuleNotFoundError`` naming the extra when its packages are not installed.
    """

    def __init__(
        self, settings: Settings, model_label: ModelLabel, *, interval_seconds: float | None = None
    ) -> None:
        """``interval_seconds`` between two exports of metrics; None: as OTEL_METRIC_EXPORT_INTERVAL says."""
        if (missing := problem(settings)) is not None:
            raise ModuleNotFoundError(missing)
        from opentelemetry.context import Context
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from ._exporters import metric_exporter, span_exporter

        endpoint = settings.otlp_endpoint
        assert endpoint is not None
        # It would say for every batch that nobody takes it; the exporters say it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource = _resource()
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans = BatchSpanProcessor(
            span_exporter(f"{endpoint}/v1/traces", SEND_SECONDS), max_queue_size=QUEUE
        )
        self._tracers.add_span_processor(self._spans)
        reader = PeriodicExportingMetricReader(
            metric_exporter(f"{endpoint}/v1/metrics", SEND_SECONDS),
            export_interval_millis=None if interval_seconds is None else interval_seconds * 1000,
        )
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._tracers.get_tracer("claude-gateway", __version__)
        meter = self._meters.get_meter("claude-gateway", __version__)
        self._tokens = meter.create_histogram(
            names.TOKEN_USAGE,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            names.OPERATION_DURATION,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        )
        self._server, self._client = SpanKind.SERVER, SpanKind.CLIENT
        self._failed = Status(StatusCode.ERROR)
        self._extract = TraceContextTextMapPropagator().extract
        self._inside = set_span_in_context
        self._nowhere = Context()
        self._places = _places(settings)
        self._model_label = model_label
        self._errors = Bounded()

    def record(
        self,
        scope: Scope,
        state: dict[str, Any],
        at: float,
        status: int,
        seconds: float,
        ttft_seconds: float | None,
    ) -> None:
        """Make the spans of a request that is over; see :data:`middleware.telemetry.Record`."""
        principal: Principal | None = state.get(PRINCIPAL)
        if principal is None or scope["method"] != "POST" or not is_for_models(scope["path"]):
            return
        completion: Completion | None = state.get(COMPLETION)
        error, route = _error_type(state, completion, status), canonical(scope["path"])
        began, ended = int(at * 1e9), int((at + seconds) * 1e9)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "http.route": route,
            "url.path": scope["path"],
            "url.scheme": scope.get("scheme", "http"),
            "http.response.status_code": status,
            "gateway.request_id": state[REQUEST_ID],
            "gateway.project": principal.project,
            "gateway.key_id": principal.key_id,
        }
        if error:
            attributes["error.type"] = error
        outer = self._tracer.start_span(
            f"POST {route}", self._parent(scope), self._server, attributes, start_time=began
        )
        if error and status >= 500:
            outer.set_status(self._failed)
        if completion is not None and completion.asked_model:
            asked = max(began, int(completion.asked_at * 1e9))
            operation = names.OPERATIONS.get(dialect_of(scope["path"]), "chat")
            known = self._known(completion, operation)
            inner = self._tracer.start_span(
                f"{operation} {completion.asked_model}",
                self._inside(outer, self._nowhere),
                self._client,
                {**known, **_of_the_call(completion, ttft_seconds, at)},
                start_time=asked,
            )
            if error:
                inner.set_attribute("error.type", error)
                inner.set_status(self._failed)
            inner.end(ended)
            self._measure(completion, known, error, (ended - asked) / 1e9)
        outer.end(ended)

    def stop(self) -> None:
        """Send what waits, for :data:`STOP_SECONDS` at most. Blocks; call it from a thread."""

        # Not one of a pool, which the interpreter would wait for.
        spans = threading.Thread(target=self._tracers.shutdown, daemon=True)
        meters = threading.Thread(target=self._meters.shutdown, daemon=True)
        until = time.monotonic() + STOP_SECONDS
        for thread in (spans, meters):
            thread.start()
        for thread in (spans, meters):
            thread.join(max(0.0, until - time.monotonic()))

    def _parent(self, scope: Scope) -> Context:
        """The caller's span, where it has told a valid one."""
        given = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := header(scope["headers"], name.encode())) is not None
        }
        return self._extract(given, self._nowhere) if given else self._nowhere

    def _known(self, completion: Completion, operation: str) -> dict[str, AttributeValue]:
        """What spans and metrics share; few values, for these are series."""
        provider = completion.provider
        return {
            names.OPERATION_NAME: operation,
            names.PROVIDER_NAME: names.PROVIDERS.get(provider, provider),
            names.REQUEST_MODEL: completion.asked_model,
            # Before an answer it is what was asked for.
            names.RESPONSE_MODEL: completion.model,
            **self._places.get(provider, {}),
        }

    def _measure(
        self, completion: Completion, known: Mapping[str, AttributeValue], error: str, seconds: float
    ) -> None:
        provider = completion.provider
        attributes = {
            **known,
            names.REQUEST_MODEL: self._model_label(provider, completion.asked_model, not error),
            names.RESPONSE_MODEL: self._model_label(provider, completion.model, not error),
        }
        read = completion.input_tokens + completion.cache_read_tokens + completion.cache_write_tokens
        for kind, count in (("input", read), ("output", completion.output_tokens)):
            if count > 0:
                self._tokens.record(count, {**attributes, names.TOKEN_TYPE: kind}, self._nowhere)
        if error:
            attributes["error.type"] = self._errors(error)
        self._duration.record(max(seconds, 0.0), attributes, self._nowhere)


def _of_the_call(completion: Completion, ttft_seconds: float | None, at: float) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        names.REQUEST_STREAM: completion.stream,
        # Everything that was read: the classes below are parts of it.
        names.INPUT_TOKENS: completion.input_tokens
        + completion.cache_read_tokens
        + completion.cache_write_tokens,
        names.OUTPUT_TOKENS: completion.output_tokens,
    }
    if completion.cache_read_tokens:
        found[names.CACHE_READ_TOKENS] = completion.cache_read_tokens
    if completion.cache_write_tokens:
        found[names.CACHE_CREATION_TOKENS] = completion.cache_write_tokens
    if completion.reasoning_tokens:
        found[names.REASONING_TOKENS] = completion.reasoning_tokens
    if completion.estimated:
        found["gateway.estimated"] = sorted(completion.estimated)
    if ttft_seconds is not None:
        found[names.TIME_TO_FIRST_CHUNK] = max(0.0, ttft_seconds - (completion.asked_at - at))
    if completion.cost_nano is not None:
        found["gateway.cost_usd"] = completion.cost_nano / 10**9
    return found


def _error_type(state: Mapping[str, Any], completion: Completion | None, status: int) -> str:
    """A word for why it failed; "" where it did not."""
    if completion is not None and completion.upstream_error is not None:
        return completion.upstream_error[1]
    refused: tuple[str, str] | None = state.get(REFUSED)
    if refused is not None:
        return refused[1]
    aborted: str | None = state.get(ABORTED)
    return aborted or (str(status) if status >= 400 else "")


def _resource() -> Resource:
    """Who is telling: as the environment names it, or else by our name. Each worker is an instance."""
    from opentelemetry.sdk.resources import Resource

    given = Resource.create()
    own = {"service.version": __version__, "service.instance.id": str(uuid4())}
    if str(given.attributes.get("service.name", "")).startswith("unknown_service"):
        own["service.name"] = "claude-gateway"
    return given.merge(Resource(own))


def _places(settings: Settings) -> dict[str, dict[str, AttributeValue]]:
    """Provider -> ``server.address`` and ``server.port`` of its upstream."""
    urls = {"anthropic": settings.claude.base_url, "ollama": settings.local.base_url}
    urls |= {compatible.name: compatible.base_url for compatible in settings.compatible}
    urls |= {cloud.name: cloud.base_url for cloud in settings.clouds}
    found: dict[str, dict[str, AttributeValue]] = {}
    for name, url in urls.items():
        parts = urlsplit(url or "")
        if parts.hostname:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            found[name] = {"server.address": parts.hostname, "server.port": port}
    return found
