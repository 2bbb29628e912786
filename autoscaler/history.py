"""The scrapes of every target that still matter, as a value.

A target that left Consul is forgotten with everything it said; one that is back under a new id starts afresh. A failed scrape
adds nothing, so that the target's last answer grows old, but its reason is kept for the sentence. An answer that lies ahead, because the
clock was put back, is dropped: it would stay young for as long as that. Pure; times are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.window import Point

Key = tuple[str, str]
"""Metric name and model."""
ANY = ""
"""The model under which a target notes that it has a metric at all: then a model that is missing is zero."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer. Sums over all labels but the model; a key that is missing is a series at zero."""

    target: str
    at: float
    values: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Failed:
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class Track:
    """All that one target said lately, oldest first. `trouble`: why the last scrape failed, or empty."""

    scrapes: tuple[Scrape, ...] = ()
    trouble: str = ""

    def points(self, key: Key) -> Sequence[Point]:
        return [Point(scrape.at, scrape.values.get(key, 0.0)) for scrape in self.scrapes]

    def tells(self, key: Key) -> bool:
        """Whether any scrape has the metric."""
        return any(key in scrape.values or (key[0], ANY) in scrape.values for scrape in self.scrapes)

    def told(self, key: Key) -> Sequence[Point]:
        """Only of scrapes that have the metric: not every version of a program has every one, and then missing is not zero."""
        noted = (key[0], ANY)
        return [Point(s.at, s.values.get(key, 0.0)) for s in self.scrapes if key in s.values or noted in s.values]


@dataclass(frozen=True, slots=True)
class History:
    tracks: Mapping[str, Track] = field(default_factory=dict)

    def track(self, target: str) -> Track:
        return self.tracks.get(target, Track())


def extend(history: History, targets: Iterable[str], answers: Iterable[Scrape | Failed], *, now: float, keep_s: float) -> History:
    """The history of `targets` only, with the new answers, without scrapes older than `keep_s`."""
    heard = {answer.target: answer for answer in answers}
    return History({target: _next(history.track(target), heard.get(target), now - keep_s, now) for target in targets})


def _next(track: Track, answer: Scrape | Failed | None, oldest: float, now: float) -> Track:
    kept = tuple(scrape for scrape in track.scrapes if oldest <= scrape.at <= now)
    if isinstance(answer, Scrape):
        return Track((*kept, answer))
    return Track(kept, answer.why if answer is not None else "was not asked")
