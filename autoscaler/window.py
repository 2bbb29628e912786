"""Samples of a counter or a gauge -> its rate or mean over the last `window_s`.

Laws: time that was not observed is left out, never counted as zero. An interval longer than `gap_s` is a gap. Where a counter
falls, the interval is left out as a whole: several worker processes stand behind one scrape, and one of them starting afresh
makes the sum fall without becoming zero, so that Prometheus' rule (count the new value) would invent a burst of old requests.
A window of which less than three quarters was observed is Partial. Pure; samples come in order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoscaler.signals import Known, Partial, Signal, Unknown

_ENOUGH = 0.75


@dataclass(frozen=True, slots=True)
class Point:
    """A sample; `at` in seconds on any clock that does not jump."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Window:
    """`max_age_s`: with no sample this young the answer is Unknown; an interval longer than this is a gap."""

    now: float
    window_s: float
    max_age_s: float

    @property
    def start(self) -> float:
        return self.now - self.window_s


def rate_per_s(points: Sequence[Point], window: Window) -> Signal:
    """Increase of a counter per second."""
    if isinstance(age := _age(points, window), Unknown):
        return age
    steps = [(a, b) for a, b in _intervals(points, window) if b.value >= a.value]
    seen_s = sum(b.at - a.at for a, b in steps)
    if not seen_s:
        return Unknown("a rate needs two answers, and there is one so far")
    return _judged(sum(b.value - a.value for a, b in steps) / seen_s, seen_s, age.value, window)


def mean(points: Sequence[Point], window: Window) -> Signal:
    """Time-weighted mean of a gauge; a single sample counts for itself."""
    if isinstance(age := _age(points, window), Unknown):
        return age
    steps = list(_intervals(points, window))
    seen_s = sum(b.at - a.at for a, b in steps)
    if not seen_s:
        return _judged(points[-1].value, 0.0, age.value, window)
    return _judged(sum((a.value + b.value) / 2 * (b.at - a.at) for a, b in steps) / seen_s, seen_s, age.value, window)


def _age(points: Sequence[Point], window: Window) -> Known | Unknown:
    if not points:
        return Unknown("no answer yet")
    age_s = max(0.0, window.now - points[-1].at)
    if age_s > window.max_age_s:
        return Unknown(f"the last answer is {age_s:.0f} s old, more than {window.max_age_s:.0f} s")
    return Known(age_s, age_s)


def _intervals(points: Sequence[Point], window: Window) -> Iterator[tuple[Point, Point]]:
    """Neighbouring samples that end inside the window and have no gap between them."""
    for a, b in pairwise(points):
        if b.at > window.start and 0 < b.at - a.at <= window.max_age_s:
            yield a, b


def _judged(value: float, seen_s: float, age_s: float, window: Window) -> Signal:
    if seen_s < _ENOUGH * window.window_s:
        return Partial(value, age_s, f"only {seen_s:.0f} s of the {window.window_s:.0f} s window were seen")
    return Known(value, age_s)
