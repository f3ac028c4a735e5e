"""OTLP over HTTP, by the SDK's exporters: each outage of a collector is told once, and so is its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger("gateway")


class _Teller:
    def __init__(self, what: str) -> None:
        self._what = what
        self._failing = False

    def tell(self, *, sent: bool) -> None:
        if self._failing == sent:
            self._failing = not sent
            if sent:
                logger.warning("%s are sent to the collector again", self._what)
            else:
                logger.warning("%s are dropped: the OpenTelemetry collector does not take them", self._what)


class _Spans(OTLPSpanExporter):
    def __init__(self, endpoint: str, timeout: float) -> None:
        super().__init__(endpoint=endpoint, timeout=timeout)
        self._teller = _Teller("traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        self._teller.tell(sent=result is SpanExportResult.SUCCESS)
        return result


class _Metrics(OTLPMetricExporter):
    def __init__(self, endpoint: str, timeout: float) -> None:
        super().__init__(endpoint=endpoint, timeout=timeout)
        self._teller = _Teller("OpenTelemetry metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = None, **kwargs: Any
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self._teller.tell(sent=result is MetricExportResult.SUCCESS)
        return result


def span_exporter(endpoint: str, timeout: float) -> SpanExporter:
    """``timeout``: seconds for a batch, its repetitions included."""
    return _Spans(endpoint, timeout)


def metric_exporter(endpoint: str, timeout: float) -> MetricExporter:
    return _Metrics(endpoint, timeout)
