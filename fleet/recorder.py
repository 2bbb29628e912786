"""Counts, levels and distributions of one process, and their Prometheus text.

Recording is a dictionary update; nothing is formatted before somebody asks. Distributions are log-linear histograms: 8 buckets
per power of two of a microsecond, so a value is known to within 12.5 %. Not for values that other processes must share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fleet.metrics import Metric

Tags = tuple[str, ...]
Key = tuple[Metric, Tags]


class Histogram:
    """Log-linear histogram of microseconds. `buckets` maps a bucket number to a count; `total_us` is the exact sum."""

    __slots__ = ("buckets", "total_us")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.total_us = 0

    def add(self, seconds: float) -> None:
        us = int(seconds * 1e6)
        self.total_us += us
        shift = us.bit_length() - 4
        bucket = (shift << 3) + (us >> shift) if shift > 0 else us
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1


def bucket_bounds_us(bucket: int) -> tuple[int, int]:
    """Microseconds [low, high) of a bucket: exact below 16, then 8 buckets per power of two."""
    if bucket < 16:
        return bucket, bucket + 1
    shift = (bucket >> 3) - 1
    low = (bucket - (shift << 3)) << shift
    return low, low + (1 << shift)


@dataclass(slots=True)
class Recorder:
    """`collectors` are called before the values are read, to set gauges from the state that owns them."""

    counts: dict[Key, float] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)
    distributions: dict[Key, Histogram] = field(default_factory=dict)
    collectors: list[Callable[[Recorder], None]] = field(default_factory=list)

    def count(self, metric: Metric, *tags: str, by: float = 1) -> None:
        key = (metric, tags)
        self.counts[key] = self.counts.get(key, 0) + by

    def gauge(self, metric: Metric, *tags: str, value: float) -> None:
        self.gauges[metric, tags] = value

    def observe(self, metric: Metric, *tags: str, seconds: float) -> None:
        key = (metric, tags)
        histogram = self.distributions.get(key)
        if histogram is None:
            histogram = self.distributions[key] = Histogram()
        histogram.add(seconds)

    def collect(self) -> None:
        for collector in self.collectors:
            collector(self)


def prometheus_text(recorder: Recorder) -> str:
    """Exposition format 0.0.4 of everything recorded so far."""
    recorder.collect()
    lines: list[str] = []
    for metric, samples in _families(recorder):
        name = metric.prometheus
        kind = {"count": "counter", "gauge": "gauge", "distribution": "histogram"}[metric.kind]
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {kind}"]
        for tags, value in samples:
            labels = _labels(metric, tags)
            if isinstance(value, Histogram):
                lines += _histogram_lines(name, labels, value)
            else:
                lines.append(f"{name}{_braces(labels)} {value!r}")
    return "\n".join(lines) + "\n"


def _families(recorder: Recorder) -> Iterator[tuple[Metric, list[tuple[Tags, float | Histogram]]]]:
    families: dict[Metric, list[tuple[Tags, float | Histogram]]] = {}
    stores: Iterable[dict[Key, float] | dict[Key, Histogram]] = (recorder.counts, recorder.gauges, recorder.distributions)
    for store in stores:
        for (metric, tags), value in store.items():
            families.setdefault(metric, []).append((tags, value))
    yield from families.items()


def _histogram_lines(name: str, labels: list[str], histogram: Histogram) -> Iterator[str]:
    seen = 0
    for bucket in sorted(histogram.buckets):
        seen += histogram.buckets[bucket]
        le = f'le="{bucket_bounds_us(bucket)[1] / 1e6:g}"'
        yield f"{name}_bucket{_braces([*labels, le])} {seen}"
    infinity = 'le="+Inf"'
    yield f"{name}_bucket{_braces([*labels, infinity])} {seen}"
    yield f"{name}_sum{_braces(labels)} {histogram.total_us / 1e6:g}"
    yield f"{name}_count{_braces(labels)} {seen}"


def _labels(metric: Metric, tags: Tags) -> list[str]:
    return [f'{name}="{_escape(value)}"' for name, value in zip(metric.tags, tags, strict=True)]


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _braces(labels: list[str]) -> str:
    return "{" + ",".join(labels) + "}" if labels else ""
