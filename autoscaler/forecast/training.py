"""Learning the need from the past: a pure function of a window, slow enough (seconds) to be run off the loop.

Examples are every fourth minute of the last 14 days, at the levels near the load of that minute: what is far below it is
needed, what is far above is not, and neither teaches anything. Minutes with a gap in what followed them teach nothing either.
A fleet of a few replicas has few levels near its load; it is shown the levels between them too, halves, thirds and so on, because
with too few examples a learner asks for what it cannot tell apart.

What follows an example is looked at for the lead time and `slack_min` more. Where requests may wait, a need is a stretch of minutes.
Where nobody may, it is a single minute as often as not, and the next one is some way off: too few of them fall into a short time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscaler.forecast.features import DAY, SLACK_MIN, Levels, Rows, hours, level, levels_of, rises_at, rows
from autoscaler.forecast.holding import HELD_MIN
from autoscaler.forecast.labels import ahead, needs, whole
from autoscaler.forecast.learner import Learner, Model
from autoscaler.forecast.question import Question
from autoscaler.forecast.series import Window
from autoscaler.forecast.windows import Floats

LEAST_DAYS = 2
NEAR = (0.74, 3.3, 2.0)
"""Levels that are asked about, from and to, around the load of the last three minutes: .74 of it, and 3.3 of it and 2 replicas."""

_DAYS = 14
_EVERY_MIN = 4
_NEAR_EACH = 12
"""Levels that a minute is shown at, on average, at the least. Large fleets have more without being asked."""
_FIRST_MIN = 180
_LEAST_ROWS = 2000
_SPIKES_CARRIED_S = 30.0
"""A hold that takes what is over in a minute. Measured with none and with this one, between them a straight line."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model, the lead time its features are made for, and the minute up to which it has seen."""

    model: Model
    lead_min: int
    until_minute: int


def refit(window: Window, question: Question, learner: Learner) -> Fitted | None:
    """A model of the window's end; None where the window has too little in it."""
    if len(window) < LEAST_DAYS * DAY:
        return None
    found = _examples(window, question)
    if len(found[1]) < _LEAST_ROWS:
        return None
    return Fitted(learner.fit(*found), question.lead_min, window.first_minute + len(window))


def slack_min(hold_s: float) -> int:
    """Minutes beyond the lead time in which a need counts: without a hold all those for which a warm replica would be kept anyway."""
    carried = min(1.0, hold_s / _SPIKES_CARRIED_S)
    return round(HELD_MIN - carried * (HELD_MIN - SLACK_MIN))


def near(load: Floats, ends: npt.NDArray[np.intp], levels: Levels) -> npt.NDArray[np.bool_]:
    """Which levels are asked about at each end, shape (ends, levels)."""
    now = np.exp(level(load, ends))[:, None]
    thresholds = levels[None, :] + 0.5
    out: npt.NDArray[np.bool_] = (thresholds >= NEAR[0] * now) & (thresholds <= NEAR[1] * now + NEAR[2])
    return out


def _examples(window: Window, question: Question) -> tuple[Rows, Floats]:
    span = question.lead_min + slack_min(question.hold_s)
    load = window.counts / question.capacity
    oldest = max(_FIRST_MIN, len(load) - _DAYS * DAY)
    ends = np.arange(oldest, len(load) - span + 1, _EVERY_MIN)
    ends = ends[whole(window.gap[oldest:], span)[ends - oldest]]
    levels = _shown(load, ends, question.most) if len(ends) else ends
    if not len(levels):
        return np.empty((0, 0), dtype=np.float32), np.empty(0)
    asked = near(load, ends, levels)
    need = ahead(needs(load[oldest:], levels, question.hold_s), span)
    rises = rises_at(load, window.first_minute, hours(window.first_minute, ends), question.lead_min)
    found = rows(load, window.first_minute, ends, levels=levels, asked=asked, lead_min=question.lead_min, rises=rises)
    return found, need[ends - oldest][asked]


def _shown(load: Floats, ends: npt.NDArray[np.intp], most: int) -> Levels:
    """The levels that are near the load at any of the ends; where they are few, with parts between them."""
    levels = levels_of(most)
    each = near(load, ends, levels).sum() / len(ends)
    parts = math.ceil(_NEAR_EACH / max(1.0, each))
    finer = levels if parts == 1 else np.arange(levels[-1] * parts + 1) / parts
    return finer[near(load, ends, finer).any(axis=0)]
