"""The router's numbers between two scrapes: plain integers where requests pass, handed to the recorder when somebody asks.

Every model of the catalogue has its counts from the start, so that a scraper can tell "none yet" from "unknown".
A model that is not in the catalogue is counted as "-": tags have few values.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleet import metrics
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

    def spare(self) -> None:
        """The next further attempt follows one that asked nothing of an engine."""
        self.retries.give()


_COUNTS = (
    (metrics.ARRIVALS, "arrivals"),
    (metrics.INPUT_TOKENS, "input_tokens"),
    (metrics.OUTPUT_TOKENS, "output_tokens"),
    (metrics.TRUNCATIONS, "truncations"),
    (metrics.EJECTIONS, "ejections"),
    (metrics.SESSION_STARTS, "session_starts"),
)


class _Answers:
    """How the requests of one model and route ended."""

    __slots__ = ("by_status", "latency")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.latency: Histogram | None = None


class Tally:
    def __init__(self, recorder: Recorder, models: Iterable[str]) -> None:
        self.recorder = recorder
        self.found_here = 0  # sessions that the local cache knew: counted in place, because every turn does
        self._models = {model: ModelCounts() for model in models}
        self._lookups: dict[str, int] = {}
        self._answers: dict[tuple[str, str], _Answers] = {}
        self._ttft: dict[tuple[str, str], Histogram] = {}
        recorder.collectors.append(self._collect)

    def of(self, model: str) -> ModelCounts:
        """The counts of a model; one that Consul names and the catalogue does not is added."""
        counts = self._models.get(model)
        if counts is None:
            counts = self._models[model] = ModelCounts()
        return counts

    def looked_up(self, result: str) -> None:
        """A session was not in the local cache: redis, miss or unavailable."""
        self._lookups[result] = self._lookups.get(result, 0) + 1

    def answered(self, tags: tuple[str, str], status: int, seconds: float) -> None:
        """A request of a model and a route has ended, so long after it was received."""
        answers = self._answers.get(tags) or self._of_tags(tags)
        by_status = answers.by_status
        by_status[status] = by_status.get(status, 0) + 1
        histogram = answers.latency
        if histogram is None:
            histogram = answers.latency = self.recorder.distributions[metrics.LATENCY, tags] = Histogram()
        histogram.add(seconds)

    def refused(self, status: int) -> None:
        """Answered before anything was known about the request."""
        by_status = self._of_tags((UNKNOWN, UNKNOWN)).by_status
        by_status[status] = by_status.get(status, 0) + 1

    def _of_tags(self, tags: tuple[str, str]) -> _Answers:
        return self._answers.setdefault(tags, _Answers())

    def first_token(self, model: str, route: str, seconds: float) -> None:
        """Request received to first content of a stream."""
        key = (model, route)
        histogram = self._ttft.get(key)
        if histogram is None:
            histogram = self._ttft[key] = self.recorder.distributions[metrics.TTFT, key] = Histogram()
        histogram.add(seconds)

    def _collect(self, recorder: Recorder) -> None:
        for model, counts in self._models.items():
            for metric, name in _COUNTS:
                recorder.counts[metric, (model,)] = getattr(counts, name)
            recorder.gauge(metrics.IN_FLIGHT, model, value=counts.in_flight)
        if self.found_here:
            recorder.counts[metrics.SESSION_LOOKUPS, ("local",)] = self.found_here
        for result, count in self._lookups.items():
            recorder.counts[metrics.SESSION_LOOKUPS, (result,)] = count
        for tags, answers in self._answers.items():
            for status, count in answers.by_status.items():
                recorder.counts[metrics.REQUESTS, (*tags, str(status))] = count
