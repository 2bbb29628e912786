"""The router's numbers between two scrapes: plain integers where requests pass, handed to the recorder when somebody asks.

Every model of the catalogue has its counts from the start, so that a scraper can tell "none yet" from "unknown".
A model that is not in the catalogue is counted as "-": tags have few values.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleet import metrics
from fleet.metrics import Metric
from fleet.recorder import Histogram, Recorder
from router.budget import Budget

UNKNOWN = "-"


class ModelCounts:
    __slots__ = ("arrivals", "ejections", "in_flight", "input_tokens", "output_tokens", "retries", "session_starts", "truncations")

    def __init__(self) -> None:
        self.session_starts = 0
        self.retries = Budget()
        self.arrivals = self.in_flight = self.input_tokens = self.output_tokens = self.truncations = self.ejections = 0

    def retry(self) -> bool:
        """A request for this model may be tried once more."""
        return self.retries.take(self.arrivals)


_COUNTS = (
    (metrics.ARRIVALS, "arrivals"),
    (metrics.INPUT_TOKENS, "input_tokens"),
    (metrics.OUTPUT_TOKENS, "output_tokens"),
    (metrics.TRUNCATIONS, "truncations"),
    (metrics.EJECTIONS, "ejections"),
    (metrics.SESSION_STARTS, "session_starts"),
)


class Tally:
    def __init__(self, recorder: Recorder, models: Iterable[str]) -> None:
        self.recorder = recorder
        self._models = {model: ModelCounts() for model in models}
        self._lookups: dict[str, int] = {}
        self._answers: dict[tuple[str, str, int], int] = {}
        self._latency: dict[tuple[str, str], Histogram] = {}
        self._ttft: dict[tuple[str, str], Histogram] = {}
        recorder.collectors.append(self._collect)

    def of(self, model: str) -> ModelCounts:
        """The counts of a model; one that Consul names and the catalogue does not is added."""
        counts = self._models.get(model)
        if counts is None:
            counts = self._models[model] = ModelCounts()
        return counts

    def looked_up(self, result: str) -> None:
        """A session was looked up: local, redis, miss or unavailable."""
        self._lookups[result] = self._lookups.get(result, 0) + 1

    def answered(self, model: str, route: str, status: int) -> None:
        key = (model, route, status)
        self._answers[key] = self._answers.get(key, 0) + 1

    def refused(self, status: int) -> None:
        """Answered before anything was known about the request."""
        self.answered(UNKNOWN, UNKNOWN, status)

    def took(self, model: str, route: str, seconds: float) -> None:
        """Request received to last byte."""
        key = (model, route)
        histogram = self._latency.get(key) or self._histogram(self._latency, metrics.LATENCY, key)
        histogram.add(seconds)

    def first_token(self, model: str, route: str, seconds: float) -> None:
        """Request received to first content of a stream."""
        key = (model, route)
        histogram = self._ttft.get(key) or self._histogram(self._ttft, metrics.TTFT, key)
        histogram.add(seconds)

    def _histogram(self, known: dict[tuple[str, str], Histogram], metric: Metric, key: tuple[str, str]) -> Histogram:
        histogram = known[key] = self.recorder.distributions[metric, key] = Histogram()
        return histogram

    def _collect(self, recorder: Recorder) -> None:
        for model, counts in self._models.items():
            for metric, name in _COUNTS:
                recorder.counts[metric, (model,)] = getattr(counts, name)
            recorder.gauge(metrics.IN_FLIGHT, model, value=counts.in_flight)
        for result, count in self._lookups.items():
            recorder.counts[metrics.SESSION_LOOKUPS, (result,)] = count
        for (model, route, status), count in self._answers.items():
            recorder.counts[metrics.REQUESTS, (model, route, str(status))] = count
