"""What the recorder holds, to DogStatsD: what is new since the last flush, once per flush interval.

Counts go as increments, gauges as they stand. A distribution goes as one line per non-empty bucket, weighted by DogStatsD's
sample rate (`value|d|@1/n`): a thousand latencies cost as much as their few dozen buckets. Where DD_AGENT_HOST (or
DD_DOGSTATSD_URL) is not set, nothing is sent: `/metrics` is then the only outlet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleet.metrics import Metric
from fleet.recorder import Key, Recorder, bucket_bounds_us

if TYPE_CHECKING:
    from datadog.dogstatsd.base import DogStatsd

# The client warns at every second send while no agent listens; one outlet being away is no news once a second.
logging.getLogger("datadog.dogstatsd").setLevel(logging.ERROR)

_EVENT_CHARACTERS = 4000


def from_environment(environment: Mapping[str, str] = os.environ) -> DogStatsd | None:
    """A client for the agent that the environment names, None where it names none. DD_ENV, DD_SERVICE, DD_VERSION become tags."""
    if not (environment.get("DD_AGENT_HOST") or environment.get("DD_DOGSTATSD_URL")):
        return None
    from datadog.dogstatsd.base import DogStatsd  # noqa: PLC0415 - all of datadog's client comes with it

    return DogStatsd(disable_telemetry=True, disable_buffering=False, disable_aggregation=True)


@dataclass(slots=True)
class Flusher:
    """Remembers what was sent. Not for two threads at once."""

    client: DogStatsd
    recorder: Recorder
    _counts: dict[Key, float] = field(default_factory=dict)
    _buckets: dict[Key, dict[int, int]] = field(default_factory=dict)

    def flush(self) -> None:
        """One round: everything recorded since the last one."""
        self.recorder.collect()
        for (metric, tags), value in self.recorder.gauges.items():
            self.client.gauge(metric.name, value, tags=_tags(metric, tags))
        self._counted()

    def last(self) -> None:
        """What was counted since the last round, before the process ends. Its levels are no longer true."""
        self.recorder.collect()
        self._counted()

    def _counted(self) -> None:
        for key, total in self.recorder.counts.items():
            self._count(key, total)
        for key, histogram in self.recorder.distributions.items():
            self._distribution(key, histogram.buckets)
        self.client.flush()

    def _count(self, key: Key, total: float) -> None:
        new = total - self._counts.get(key, 0)
        if new:
            self._counts[key] = total
            self.client.increment(key[0].name, new, tags=_tags(*key))

    def _distribution(self, key: Key, buckets: dict[int, int]) -> None:
        sent = self._buckets.setdefault(key, {})
        for bucket, total in buckets.items():
            new = total - sent.get(bucket, 0)
            if new:
                sent[bucket] = total
                low, high = bucket_bounds_us(bucket)
                # the public distribution() would throw dice for the rate; here it is a weight
                self.client._report(key[0].name, "d", (low + high) / 2e6, _tags(*key), 1 / new, sampling=False)


@dataclass(frozen=True, slots=True)
class Events:
    """Datadog events through the agent, which is told and does not answer."""

    client: DogStatsd

    def send(self, title: str, text: str, kind: str, tags: tuple[str, ...]) -> None:
        """`kind`: info, success, warning or error; `tags`: `key:value`. Events of one title are shown as one."""
        self.client.event(
            title, text[:_EVENT_CHARACTERS], alert_type=kind, aggregation_key=title, source_type_name="warmfleet", tags=list(tags)
        )
        self.client.flush()


def _tags(metric: Metric, values: tuple[str, ...]) -> list[str]:
    return [f"{name}:{value}" for name, value in zip(metric.tags, values, strict=True)]
