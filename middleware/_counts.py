"""What :mod:`._metrics` counts in before it pours it into Prometheus' objects: plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

#: Distinct label values per label; what comes later is counted as "other". Names of models can be
#: the callers' own words, and each series costs memory here and in Prometheus for ever.
MAX_LABEL_VALUES = 200
#: The label of what has none: a refusal knows no provider.
NONE = "none"
OTHER = "other"
#: Seconds. A refusal takes under a millisecond, a long answer ten minutes.
LATENCY_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TTFT_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)


class Bounded:
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


class Distribution:
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


class Dollars:
    """A counter of dollars that is given whole nano-dollars: what it shows is their sum, rounded once, and
    not a sum of what was rounded, which would part from the ledger's. Before the first are given there is
    no series: unknown is not 0."""

    __slots__ = ("_before", "_counter", "_into", "_labels", "_nano")

    def __init__(self, counter: Counter, *labels: str) -> None:
        self._counter, self._labels = counter, labels
        self._into: Any = None
        self._before = 0.0
        self._nano: int | None = None

    def add(self, nano: int) -> None:
        self._nano = nano + (self._nano or 0)

    def pour(self) -> None:
        if self._nano is None:
            return
        if self._into is None:
            # There is no public way to set what only ever grows. It is not 0 where a process that was before
            # this one had the same number, and so the same file.
            self._into = self._counter.labels(*self._labels)._value
            self._before = self._into.get()
        self._into.set(self._before + self._nano / 10**9)


class Series:
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
        dollars: Dollars,
        unpriced: Counter,
    ) -> None:
        #: ``labels()`` costs more than counting does.
        self._into = requests, latency, tokens, unpriced
        self.latency = Distribution(LATENCY_BUCKETS)
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
