"""Every Prometheus series of the gateway, declared in one place.

Several workers: set ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before Python starts
(prometheus_client decides at import) and any worker's :meth:`Metrics.render` adds all of them up.
Then there can be one :class:`Metrics` per process only: two would write over each other's counts.

A request is counted in plain numbers, which are poured into Prometheus' objects when somebody looks:
that costs a fifth of counting in those. Where other workers may look they are poured at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._counts import LATENCY_BUCKETS as LATENCY_BUCKETS
from ._counts import MAX_LABEL_VALUES as MAX_LABEL_VALUES
from ._counts import OTHER, TTFT_BUCKETS, Bounded, Distribution, Dollars, Series
from ._state import Completion

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.registry import Collector

_DIRECTIONS = ("input", "output", "cache_read", "cache_write")

#: ``(provider, model, answered)`` → the label of the model: its name, or :data:`OTHER` for one that nobody
#: but the caller has ever named. ``answered``: the upstream has just answered under that name.
ModelLabel = Callable[[str, str, bool], str]


class _Flush:
    """A collector of nothing. Registered before all others, it brings them up to date for a scrape."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush

    def collect(self) -> Iterable[Metric]:
        self._flush()
        return ()


class Metrics:
    """The gateway's counters, histograms and gauges, over a registry of their own.

    Telemetry fills in what a request shows; the other attributes are there for whoever knows
    (``cache_hits``, ``circuit_state``, ``ratelimit_degraded``). ``model_label`` tells names of models from
    inventions of callers; without it, a name is known when a request for it was not refused as unknown.
    Raises ``ModuleNotFoundError`` naming the extra when prometheus-client is not installed.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, model_label: ModelLabel | None = None
    ) -> None:
        try:
            import prometheus_client as prometheus
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "metrics need prometheus-client: pip install 'gw-middleware[metrics]'"
            ) from error
        self.registry = own = prometheus.CollectorRegistry() if registry is None else registry
        own.register(_Flush(self.flush))
        counter, histogram, gauge = prometheus.Counter, prometheus.Histogram, prometheus.Gauge
        by_model = ("provider", "model")
        self.requests = counter(
            "gateway_requests_total", "Requests answered", (*by_model, "status"), registry=own
        )
        self.tokens = counter(
            "gateway_tokens_total",
            f"Tokens, by direction ({', '.join(_DIRECTIONS)})",
            (*by_model, "direction"),
            registry=own,
        )
        self.cache_hits = counter(
            "gateway_cache_hits_total", "Answers taken from the response cache", registry=own
        )
        self.cost_usd = counter(
            "gateway_cost_usd_total", "What the upstreams charge, in USD", by_model, registry=own
        )
        self.unpriced = counter(
            "gateway_unpriced_requests_total",
            "Requests missing in gateway_cost_usd_total, because nobody knows the price of the model",
            by_model,
            registry=own,
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
        self.refusals = counter(
            "gateway_refusals_total", "Requests that the gateway itself refused", ("code",), registry=own
        )
        self.ratelimit_degraded = counter(
            "gateway_ratelimit_degraded_total",
            "Requests whose limits were counted in one process, because Redis did not answer",
            registry=own,
        )
        self._collectors: list[Collector] = []
        self._model_label = model_label
        self._short_cuts: dict[tuple[str, str, int], Series] = {}
        self._series: dict[tuple[str, str, int], Series] = {}
        self._changed: list[Series] = []
        self._costs: dict[tuple[str, str], Dollars] = {}
        self._savings: dict[str, Dollars] = {}
        self._layer = Bounded()
        self._ttft = Distribution(TTFT_BUCKETS)
        self._provider, self._model = Bounded(), Bounded()
        self._stage, self._code, self._refusal = Bounded(), Bounded(), Bounded()
        self._shared = _is_shared()

    def add(self, collector: Collector) -> None:
        """Show what ``collector`` collects in every scrape, once however many workers there are."""
        self._collectors.append(collector)
        if not self._shared:
            self.registry.register(collector)

    def latest(self, name: str, documentation: str) -> Callable[[float], None]:
        """A gauge that shows what any of the workers has set last; returns what sets it."""
        from prometheus_client import Gauge

        return Gauge(name, documentation, multiprocess_mode="mostrecent", registry=self.registry).set

    def observe(
        self,
        completion: Completion | None,
        status: int,
        seconds: float,
        ttft_seconds: float | None,
        refused: str | None = None,
    ) -> None:
        """Count one finished request. ``completion`` is None when the application was never reached;
        ``refused`` is the code with which the gateway turned the request away."""
        provider = model = ""
        if completion is not None:
            provider = completion.provider
            model = "" if completion.counting else completion.model
        series = self._short_cuts.get((provider, model, status)) or self._open(provider, model, status)
        if not series.requests:
            self._changed.append(series)
        series.requests += 1
        series.latency.add(seconds)
        if ttft_seconds is not None:
            self._ttft.add(ttft_seconds)
        if completion is not None:
            series.input += completion.input_tokens
            series.output += completion.output_tokens
            series.cache_read += completion.cache_read_tokens
            series.cache_write += completion.cache_write_tokens
            if completion.cost_nano is not None:
                # What used nothing has cost nothing, which does not tell what its model costs.
                if completion.cost_nano or completion.input_tokens or completion.output_tokens:
                    series.dollars.add(completion.cost_nano)
            elif completion.unpriced:
                series.unpriced += 1
            if completion.saved_nano:
                self._save(completion.saved_nano)
            if completion.upstream_error is not None:
                stage, code = completion.upstream_error
                self.upstream_errors.labels(self._stage(stage), self._code(code)).inc()
                refused = None  # the gateway has only told what the upstream did
        if refused is not None:
            self.refusals.labels(self._refusal(refused)).inc()
        if self._shared:
            self.flush()

    def _save(self, saved: dict[str, int]) -> None:
        for name, nano in saved.items():
            layer = self._layer(name)
            if (dollars := self._savings.get(layer)) is None:
                dollars = self._savings[layer] = Dollars(self.saved_usd, layer)
            dollars.add(nano)

    def _open(self, provider: str, model: str, status: int) -> Series:
        # A name that is not known upstream may be anybody's invention: it must not take the place of a
        # model that is there.
        if self._model_label is None or not model:
            label = self._model(model, learn=status not in (400, 404))
        else:
            label = self._model_label(provider, model, 200 <= status < 300)
            label = OTHER if label == OTHER else self._model(label)
        known = self._provider(provider), label, status
        series = self._series.get(known)
        if series is None:
            tokens, model_of = self.tokens, known[:2]
            if (dollars := self._costs.get(model_of)) is None:
                dollars = self._costs[model_of] = Dollars(self.cost_usd, *model_of)
            series = self._series[known] = Series(
                self.requests.labels(*model_of, str(status)),
                self.latency.labels(known[0]),
                [tokens.labels(*model_of, direction) for direction in _DIRECTIONS],
                dollars,
                self.unpriced.labels(*model_of),
            )
        if OTHER not in known:  # or the short cuts to "other" would grow with every new name
            self._short_cuts[provider, model, status] = series
        return series

    def flush(self) -> None:
        """Bring ``registry`` up to date, as each scrape of it does by itself."""
        changed, self._changed = self._changed, []
        for series in changed:
            series.pour()
        for dollars in self._savings.values():
            dollars.pour()
        self._ttft.pour(self.ttft)

    def render(self) -> tuple[bytes, str]:
        """``(body, content type)`` for a scrape: all workers' counts in multi-process mode."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = self.registry
        if self._shared:
            from prometheus_client.multiprocess import MultiProcessCollector

            self.flush()
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            for collector in self._collectors:
                registry.register(collector)
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _is_shared() -> bool:
    """Whether prometheus_client keeps its values in files that several processes write."""
    from prometheus_client import values

    return bool(getattr(values.ValueClass, "_multiprocess", False))
