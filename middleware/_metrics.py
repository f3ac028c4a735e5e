"""Every Prometheus series of the gateway, declared in one place.

Several workers: set ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before Python starts
(prometheus_client decides at import) and any worker's :meth:`Metrics.render` adds all of them up.
Then there can be one :class:`Metrics` per process only: two would write over each other's counts.

A request is counted in plain numbers, which are poured into Prometheus' objects when somebody looks:
that costs a fifth of counting in those. Where other workers may look they are poured at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._state import Completion

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

#: Distinct label values per label; what comes later is counted as "other". Names of models can be
#: the callers' own words, and each series costs memory here and in Prometheus for ever.
MAX_LABEL_VALUES = 200
#: The label of what has none: a refusal knows no provider.
NONE = "none"
OTHER = "other"
_DIRECTIONS = ("input", "output", "cache_read", "cache_write")

#: Seconds. A refusal takes under a millisecond, a long answer ten minutes.
LATENCY_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TTFT_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)


class _Bounded:
    """Lets the first ``MAX_LABEL_VALUES`` values of a label through."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str, *, learn: bool = True) -> str:
        """The label for ``value``; a new one only where ``learn`` is true."""
        if not value:
            return NONE
        if value not in self._seen:
            if not learn or len(self._seen) >= MAX_LABEL_VALUES:
                return OTHER
            self._seen.add(value)
        return value


class _Distribution:
    """A histogram in plain numbers; :meth:`pour` empties it into Prometheus' own."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def pour(self, histogram: Histogram) -> None:
        counts, self._counts = self._counts, [0] * len(self._counts)
        total, self._total = self._total, 0.0
        if not total and not any(counts):
            return
        # There is no public way to add many observations at once; a test would notice a change.
        histogram._sum.inc(total)
        for bucket, count in zip(histogram._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Dollars:
    """A counter of dollars that is given whole nano-dollars: what it shows is their sum, rounded once, and
    not a sum of what was rounded, which would part from the ledger's."""

    __slots__ = ("_before", "_into", "nano")

    def __init__(self, counter: Counter) -> None:
        self._into = counter._value  # there is no public way to set what only ever grows
        # Not 0 where a process that was before this one had the same number, and so the same file.
        self._before: float = self._into.get()
        self.nano = 0

    def pour(self) -> None:
        self._into.set(self._before + self.nano / 10**9)


class _Series:
    """What one (provider, model, status) has counted since the last :meth:`Metrics.flush`; ``dollars`` are
    those of all statuses."""

    __slots__ = (
        "_into",
        "cache_read",
        "cache_write",
        "dollars",
        "input",
        "latency",
        "output",
        "requests",
        "unpriced",
    )

    def __init__(
        self,
        requests: Counter,
        latency: Histogram,
        tokens: list[Counter],
        dollars: _Dollars,
        unpriced: Counter,
    ) -> None:
        #: ``labels()`` costs more than counting does.
        self._into = requests, latency, tokens, unpriced
        self.latency = _Distribution(LATENCY_BUCKETS)
        self.dollars = dollars
        self.requests = self.input = self.output = self.cache_read = self.cache_write = self.unpriced = 0

    def pour(self) -> None:
        requests, latency, tokens, unpriced = self._into
        counted = self.input, self.output, self.cache_read, self.cache_write  # as in _DIRECTIONS
        self.input = self.output = self.cache_read = self.cache_write = 0
        requests.inc(self.requests)
        self.requests = 0
        self.latency.pour(latency)
        self.dollars.pour()
        unpriced.inc(self.unpriced)
        self.unpriced = 0
        for counter, count in zip(tokens, counted, strict=True):
            if count > 0:
                counter.inc(count)


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
    (``cache_hits``, ``circuit_state``).
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
        self._short_cuts: dict[tuple[str, str, int], _Series] = {}
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._changed: list[_Series] = []
        self._costs: dict[tuple[str, str], _Dollars] = {}
        self._savings: dict[str, _Dollars] = {}
        self._layer = _Bounded()
        self._ttft = _Distribution(TTFT_BUCKETS)
        self._provider, self._model = _Bounded(), _Bounded()
        self._stage, self._code = _Bounded(), _Bounded()
        self._shared = _is_shared()

    def observe(
        self, completion: Completion | None, status: int, seconds: float, ttft_seconds: float | None
    ) -> None:
        """Count one finished request. ``completion`` is None when the application was never reached."""
        provider, model = (completion.provider, completion.model) if completion else ("", "")
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
                series.dollars.nano += completion.cost_nano
            elif completion.unpriced:
                series.unpriced += 1
            if completion.saved_nano:
                self._save(completion.saved_nano)
            if completion.upstream_error is not None:
                stage, code = completion.upstream_error
                self.upstream_errors.labels(self._stage(stage), self._code(code)).inc()
        if self._shared:
            self.flush()

    def _save(self, saved: dict[str, int]) -> None:
        for name, nano in saved.items():
            layer = self._layer(name)
            if (dollars := self._savings.get(layer)) is None:
                dollars = self._savings[layer] = _Dollars(self.saved_usd.labels(layer))
            dollars.nano += nano

    def _open(self, provider: str, model: str, status: int) -> _Series:
        # A name that is not known upstream may be anybody's invention: it must not take the place of a
        # model that is there.
        refused = status in (400, 404)
        known = self._provider(provider), self._model(model, learn=not refused), status
        series = self._series.get(known)
        if series is None:
            tokens, model_of = self.tokens, known[:2]
            if (dollars := self._costs.get(model_of)) is None:
                dollars = self._costs[model_of] = _Dollars(self.cost_usd.labels(*model_of))
            series = self._series[known] = _Series(
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
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _is_shared() -> bool:
    """Whether prometheus_client keeps its values in files that several processes write."""
    from prometheus_client import values

    return bool(getattr(values.ValueClass, "_multiprocess", False))
