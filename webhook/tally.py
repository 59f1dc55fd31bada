"""Counts on the path of every Pod: no dearer than a dict, and put in Prometheus' form only when somebody asks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tally(Collector):
    """A counter: `counts` has how often, by the values of the labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Nothing yet; Prometheus sees `name` with `_total` after it."""
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._described = name, documentation, labels

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What prometheus_client asks for."""
        name, documentation, labels = self._described
        family = CounterMetricFamily(name, documentation, labels=labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        yield family


class Durations(Collector):
    """A histogram of seconds, by one label."""

    def __init__(self, name: str, documentation: str, label: str, buckets: Sequence[float]) -> None:
        """Nothing yet; `buckets` are their upper bounds, in ascending order."""
        self._described = name, documentation, (label,)
        self._buckets = buckets
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(buckets) + 1))
        self._sums: defaultdict[str, float] = defaultdict(float)

    def observe(self, value: str, seconds: float) -> None:
        """Count one, under this value of the label."""
        self._counts[value][bisect_left(self._buckets, seconds)] += 1
        self._sums[value] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What prometheus_client asks for."""
        name, documentation, labels = self._described
        family = HistogramMetricFamily(name, documentation, labels=labels)
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        for value, counts in self._counts.items():
            family.add_metric([value], [*zip(bounds, accumulate(counts), strict=True)], self._sums[value])
        yield family
