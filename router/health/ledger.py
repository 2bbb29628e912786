"""The numbers and the health of several workers as one.

Law: what was counted stays counted. A worker that dies leaves its last counts to the sum and takes its gauges with it, so no counter
ever falls. Gauges are added, but for those that say the same fact in every worker: there the largest speaks. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from fleet import metrics
from fleet.metrics import Metric
from fleet.recorder import Histogram, Recorder
from router.health.report import Health, together

_METRICS: Final = {metric.name: metric for metric in metrics.ALL}
_SAME_IN_ALL: Final = frozenset((metrics.ENDPOINTS, metrics.SNAPSHOT_AGE, metrics.DEGRADED))

Sample = tuple[str, tuple[str, ...], float]


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """A distribution: bucket numbers and counts, and the exact sum in microseconds."""

    metric: str
    tags: tuple[str, ...]
    buckets: dict[int, int]
    total_us: int


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """What a recorder holds, fit to be sent."""

    counts: tuple[Sample, ...] = ()
    gauges: tuple[Sample, ...] = ()
    spreads: tuple[Spread, ...] = ()


class Report(msgspec.Struct, frozen=True, array_like=True):
    """One worker, or all of them."""

    numbers: Numbers
    health: Health


def numbers(recorder: Recorder) -> Numbers:
    recorder.collect()
    return Numbers(
        tuple((metric.name, tags, value) for (metric, tags), value in recorder.counts.items()),
        tuple((metric.name, tags, value) for (metric, tags), value in recorder.gauges.items()),
        tuple(Spread(metric.name, tags, dict(h.buckets), h.total_us) for (metric, tags), h in recorder.distributions.items()),
    )


def recorder(parts: Iterable[Numbers]) -> Recorder:
    """A recorder that holds the sum."""
    whole = Recorder()
    for part in parts:
        _add(whole, part)
    return whole


def _add(whole: Recorder, part: Numbers) -> None:
    for name, tags, value in part.counts:
        whole.count(_METRICS[name], *tags, by=value)
    for name, tags, value in part.gauges:
        _add_gauge(whole, _METRICS[name], tags, value)
    for spread in part.spreads:
        histogram = whole.distributions.setdefault((_METRICS[spread.metric], spread.tags), Histogram())
        histogram.total_us += spread.total_us
        for bucket, count in spread.buckets.items():
            histogram.buckets[bucket] = histogram.buckets.get(bucket, 0) + count


def _add_gauge(whole: Recorder, metric: Metric, tags: tuple[str, ...], value: float) -> None:
    before = whole.gauges.get((metric, tags))
    if before is None:
        whole.gauges[metric, tags] = value
    else:
        whole.gauges[metric, tags] = max(before, value) if metric in _SAME_IN_ALL else before + value


class Ledger:
    """The last report of every living worker, by its slot, and what the dead have counted."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._living: dict[int, Report] = {}
        self._dead = Numbers()

    def heard(self, slot: int, report: Report) -> None:
        self._living[slot] = report

    def died(self, slot: int) -> None:
        report = self._living.pop(slot, None)
        if report is not None:
            counted = msgspec.structs.replace(report.numbers, gauges=())
            self._dead = numbers(recorder((self._dead, counted)))

    def total(self) -> Report:
        reports = tuple(self._living.values())
        whole = numbers(recorder((self._dead, *(report.numbers for report in reports))))
        return Report(whole, together(tuple(report.health for report in reports), self._wanted))
