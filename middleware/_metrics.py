"""Every Prometheus series of the gateway, declared in one place.

Several workers: set ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before Python starts
(prometheus_client decides at import) and any worker's :meth:`Metrics.render` adds all of them up.
Then there can be one :class:`Metrics` per process only: two would write over each other's counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ._state import Completion

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Distinct label values per label; what comes later is counted as "other". Names of models can be
#: the callers' own words, and each series costs memory here and in Prometheus for ever.
MAX_LABEL_VALUES = 200
#: The label of what has none: a refusal knows no provider.
NONE = "none"
OTHER = "other"

#: Seconds. A refusal takes under a millisecond, a long answer ten minutes.
LATENCY_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TTFT_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)


class _Bounded:
    """Lets the first ``MAX_LABEL_VALUES`` values of a label through."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if not value:
            return NONE
        if value not in self._seen:
            if len(self._seen) >= MAX_LABEL_VALUES:
                return OTHER
            self._seen.add(value)
        return value


class _Series(NamedTuple):
    """The methods that one (provider, model, status) needs; ``labels()`` costs more than all of them."""

    request: Callable[[], None]
    latency: Callable[[float], None]
    ttft: Callable[[float], None]
    input: Callable[[float], None]
    output: Callable[[float], None]
    cache_read: Callable[[float], None]
    cache_write: Callable[[float], None]


class Metrics:
    """The gateway's counters, histograms and gauges, over a registry of their own.

    Telemetry fills in what a request shows; the other attributes are there for whoever knows
    (``cache_hits``, ``cost_usd``, ``saved_usd``, ``circuit_state``).
    Raises ``ModuleNotFoundError`` naming the extra when prometheus-client is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            import prometheus_client as prometheus
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "metrics need prometheus-client: pip install 'gw-middleware[metrics]'"
            ) from error
        self.registry = own = prometheus.CollectorRegistry() if registry is None else registry
        counter, histogram, gauge = prometheus.Counter, prometheus.Histogram, prometheus.Gauge
        by_model = ("provider", "model")
        self.requests = counter(
            "gateway_requests_total", "Requests answered", (*by_model, "status"), registry=own
        )
        self.tokens = counter(
            "gateway_tokens_total",
            "Tokens, by direction (input, output, cache_read, cache_write)",
            (*by_model, "direction"),
            registry=own,
        )
        self.cache_hits = counter(
            "gateway_cache_hits_total", "Answers taken from the response cache", registry=own
        )
        self.cost_usd = counter(
            "gateway_cost_usd_total", "What the upstreams charge, in USD", by_model, registry=own
        )
        self.latency = histogram(
            "gateway_latency_seconds",
            "From the request's arrival to the answer's last byte",
            ("provider",),
            buckets=LATENCY_BUCKETS,
            registry=own,
        )
        self.ttft = histogram(
            "gateway_ttft_seconds",
            "From the request's arrival to the answer's first content",
            buckets=TTFT_BUCKETS,
            registry=own,
        )
        self.saved_usd = counter(
            "gateway_saved_usd_total",
            "What a layer made unnecessary to pay, in USD",
            ("layer",),
            registry=own,
        )
        self.upstream_errors = counter(
            "gateway_upstream_errors_total",
            "Upstream failures that ended a request",
            ("stage", "code"),
            registry=own,
        )
        self.circuit_state = gauge(
            "gateway_circuit_state",
            "0 closed, 1 half-open, 2 open",
            by_model,
            multiprocess_mode="mostrecent",  # a worker that died must not keep a circuit open for ever
            registry=own,
        )
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._provider, self._model = _Bounded(), _Bounded()
        self._stage, self._code = _Bounded(), _Bounded()

    def observe(
        self, completion: Completion | None, status: int, seconds: float, ttft_seconds: float | None
    ) -> None:
        """Count one finished request. ``completion`` is None when the application was never reached."""
        provider, model = (completion.provider, completion.model) if completion else ("", "")
        series = self._series.get((provider, model, status)) or self._open(provider, model, status)
        series.request()
        series.latency(seconds)
        if ttft_seconds is not None:
            series.ttft(ttft_seconds)
        if completion is None:
            return
        if completion.input_tokens:
            series.input(completion.input_tokens)
        if completion.output_tokens:
            series.output(completion.output_tokens)
        if completion.cache_read_tokens:
            series.cache_read(completion.cache_read_tokens)
        if completion.cache_write_tokens:
            series.cache_write(completion.cache_write_tokens)
        if completion.upstream_error is not None:
            stage, code = completion.upstream_error
            self.upstream_errors.labels(self._stage(stage), self._code(code)).inc()

    def _open(self, provider: str, model: str, status: int) -> _Series:
        known = self._provider(provider), self._model(model)
        tokens = self.tokens
        series = _Series(
            self.requests.labels(*known, str(status)).inc,
            self.latency.labels(known[0]).observe,
            self.ttft.observe,
            tokens.labels(*known, "input").inc,
            tokens.labels(*known, "output").inc,
            tokens.labels(*known, "cache_read").inc,
            tokens.labels(*known, "cache_write").inc,
        )
        if OTHER not in known:  # or the short cuts to "other" would grow with every new name
            self._series[provider, model, status] = series
        return series

    def render(self) -> tuple[bytes, str]:
        """``(body, content type)`` for a scrape: all workers' counts in multi-process mode."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, values

        registry = self.registry
        if getattr(values.ValueClass, "_multiprocess", False):
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
