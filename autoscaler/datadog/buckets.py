"""Buckets of one series -> what they say of the last `window_s`.

Laws. Only whole buckets inside the span count; Datadog may send others. A bucket that is not there is not zero. The one exception:
a count, or a level, of a program that reported something else in the same bucket (`told`): then it had nothing to report.
What cannot be true is Unknown with the reason: no number, negative, above `most`, times off the grid (another rollup was used), or
a value a thousand times what it was. A window of which less than three quarters was seen is Partial. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from autoscaler.datadog.question import Query, Span
from autoscaler.signals import Known, Partial, Signal, Unknown

_ENOUGH = 0.75
_JUMP = 1000

Buckets: TypeAlias = Mapping[float, float]
"""Start of a bucket in seconds -> its value."""


@dataclass(frozen=True, slots=True)
class Look:
    """`window_s` before the end of `span` are looked at, at least one bucket; `now` is when the answer came."""

    span: Span
    window_s: float
    now: float

    @property
    def starts(self) -> Sequence[float]:
        """The buckets of the window, oldest first."""
        width = self.span.width_s
        number = min(max(1, math.ceil(self.window_s / width)), round((self.span.end - self.span.start) / width))
        return [self.span.end - width * back for back in range(number, 0, -1)]


def clipped(points: Sequence[tuple[float, float]], query: Query, span: Span) -> Buckets | Unknown:
    """The whole buckets inside the span, or why the series cannot be believed."""
    rows = [(at, value) for at, value in points if span.start <= at and at + span.width_s <= span.end]
    inside = dict(rows)
    if len(inside) < len(rows):
        return _wrong(query, "has a time twice")
    if any((at - span.start) % span.width_s for at in inside):
        return _wrong(query, f"is not in buckets of {span.width_s:g} s")
    for value in inside.values():
        if not math.isfinite(value):
            return _wrong(query, "has a value that is no number")
        if value < 0 or value > query.most:
            return _wrong(query, f"has the impossible value {value:g}")
    return inside


def without_jumps(buckets: Buckets, query: Query, look: Look) -> Buckets | Unknown:
    """The same buckets, unless the window's are a thousand times those before it."""
    before = [value for at, value in buckets.items() if at < look.starts[0]]
    highest = max((value for at, value in buckets.items() if at >= look.starts[0]), default=0.0)
    if before and highest > _JUMP * max(query.usual, median(before)):
        return _wrong(query, f"jumped from {median(before):g} to {highest:g}")
    return buckets


def with_zeros(buckets: Buckets, told: Collection[float]) -> Buckets:
    """Zero where the program reported something else, and this not."""
    return dict.fromkeys(told, 0.0) | dict(buckets)


def rate_per_s(buckets: Buckets, look: Look) -> Signal:
    """Counts per second over the window."""
    return _judged(buckets, look, 1 / look.span.width_s)


def mean(buckets: Buckets, look: Look) -> Signal:
    """Mean of a level over the window."""
    return _judged(buckets, look, 1.0)


def _judged(buckets: Buckets, look: Look, scale: float) -> Signal:
    seen = {at: buckets[at] for at in look.starts if at in buckets}
    if not seen:
        return Unknown(f"Datadog has no data of {len(look.starts) * look.span.width_s:.0f} s")
    age_s = max(0.0, look.now - (max(seen) + look.span.width_s))
    value = scale * sum(seen.values()) / len(seen)
    if len(seen) < _ENOUGH * len(look.starts):
        return Partial(value, age_s, f"Datadog has {len(seen)} of {len(look.starts)} buckets")
    return Known(value, age_s)


def _wrong(query: Query, what: str) -> Unknown:
    return Unknown(f"{query.target} in Datadog {what}")
