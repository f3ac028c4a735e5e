"""An OpenTelemetry collector that keeps what it is sent (OTLP over HTTP, protobuf), or takes nothing."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

T = TypeVar("T")


class Collector:
    """``resources``: the attributes of every sender. ``raw``: all bodies, to be searched for secrets."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.points: list[tuple[str, HistogramDataPoint]] = []
        self.resources: list[dict[str, Any]] = []
        self.raw = b""
        #: What it answers; 0: nothing, ever.
        self.status = 200
        self.lock = threading.Lock()
        self.end = threading.Event()

    def take(self, path: str, body: bytes) -> None:
        with self.lock:
            self.raw += body
            if path == "/v1/traces":
                traces = ExportTraceServiceRequest.FromString(body)
                for source in traces.resource_spans:
                    self.resources.append(attributes(source.resource))
                    self.spans += [span for scope in source.scope_spans for span in scope.spans]
            elif path == "/v1/metrics":
                metrics = ExportMetricsServiceRequest.FromString(body)
                for told in metrics.resource_metrics:
                    self.resources.append(attributes(told.resource))
                    for metric in (m for scope in told.scope_metrics for m in scope.metrics):
                        self.points += [(metric.name, point) for point in metric.histogram.data_points]

    def wait_for(self, look: Callable[[], T], seconds: float = 20) -> T:
        """What ``look`` finds, as soon as that is something."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, (self.spans, self.points)
            time.sleep(0.05)
        return found


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span, a point or a resource."""
    return {pair.key: _value(pair.value) for pair in holder.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@contextmanager
def running_collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.status == 0:
                collector.end.wait()
                return
            if collector.status == 200:
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.end.set()
        server.shutdown()
        server.server_close()
        thread.join()
