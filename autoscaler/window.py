"""Samples of a counter or a gauge -> its rate or mean over the last `window_s`.

Laws: time that was not observed is left out, never counted as zero. An interval longer than `gap_s` is a gap. Where a counter
falls, the interval is left out as a whole: several worker processes stand behind one scrape, and one of them starting afresh
makes the sum fall without becoming zero, so that Prometheus' rule (count the new value) would invent a burst of old requests.
A window of which less than three quarters was observed is Partial. An interval a thousand times the others is Unknown: `usual` is
what is ordinary, below a thousand times that nothing counts as a jump. Pure; samples come in order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from autoscaler.signals import Known, Partial, Signal, Unknown

_ENOUGH = 0.75
_JUMP = 1000
_FEWEST = 3
USUAL = 100.0


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


def rate_per_s(points: Sequence[Point], window: Window, *, usual: float = USUAL) -> Signal:
    """Increase of a counter per second."""
    if isinstance(age := _age(points, window), Unknown):
        return age
    steps = [_Step(b.at - a.at, (b.value - a.value) / (b.at - a.at)) for a, b in _intervals(points, window) if b.value >= a.value]
    if not steps:
        return Unknown("a rate needs two answers, and there is one so far")
    return _judged(steps, age.value, window, usual)


def mean(points: Sequence[Point], window: Window, *, usual: float = USUAL) -> Signal:
    """Time-weighted mean of a gauge; a single sample counts for itself."""
    if isinstance(age := _age(points, window), Unknown):
        return age
    steps = [_Step(b.at - a.at, (a.value + b.value) / 2) for a, b in _intervals(points, window)]
    return _judged(steps or [_Step(0.0, points[-1].value)], age.value, window, usual)


@dataclass(frozen=True, slots=True)
class _Step:
    """A stretch of time that was observed, and the value in it."""

    seconds: float
    value: float


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


def _judged(steps: Sequence[_Step], age_s: float, window: Window, usual: float) -> Signal:
    if jump := _jump([step.value for step in steps], usual):
        return Unknown(jump)
    seen_s = sum(step.seconds for step in steps)
    value = sum(step.value * step.seconds for step in steps) / seen_s if seen_s else steps[-1].value
    if seen_s < _ENOUGH * window.window_s:
        return Partial(value, age_s, f"only {seen_s:.0f} s of the {window.window_s:.0f} s window were seen")
    return Known(value, age_s)


def _jump(values: Sequence[float], usual: float) -> str:
    """What is wrong with the values, or nothing. With fewer than three there is nothing to measure a jump against."""
    if len(values) < _FEWEST or max(values) <= _JUMP * max(usual, median(values)):
        return ""
    return f"its values jump from {median(values):g} to {max(values):g}"
