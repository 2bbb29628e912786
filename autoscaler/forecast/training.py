"""Learning the need from the past: a pure function of a window, slow enough (seconds) to be run off the loop.

Examples are every fourth minute of the last 14 days, at the levels near the load of that minute: what is far below it is
needed, what is far above is not, and neither teaches anything. Minutes with a gap in what followed them teach nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscaler.forecast.features import DAY, SLACK_MIN, Levels, Rows, hours, level, levels_of, rises_at, rows
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
_FIRST_MIN = 180
_LEAST_ROWS = 2000


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


def near(load: Floats, ends: npt.NDArray[np.intp], levels: Levels) -> npt.NDArray[np.bool_]:
    """Which levels are asked about at each end, shape (ends, levels)."""
    now = np.exp(level(load, ends))[:, None]
    thresholds = levels[None, :] + 0.5
    out: npt.NDArray[np.bool_] = (thresholds >= NEAR[0] * now) & (thresholds <= NEAR[1] * now + NEAR[2])
    return out


def _examples(window: Window, question: Question) -> tuple[Rows, Floats]:
    span = question.lead_min + SLACK_MIN
    load = window.counts / question.capacity
    levels = levels_of(question.most)
    oldest = max(_FIRST_MIN, len(load) - _DAYS * DAY)
    need = ahead(needs(load[oldest:], levels, question.hold_s), span)
    ends = np.arange(oldest, oldest + len(need), _EVERY_MIN)
    ends = ends[whole(window.gap[oldest:], span)[ends - oldest]]
    if not len(ends):
        return np.empty((0, 0), dtype=np.float32), np.empty(0)
    asked = near(load, ends, levels)
    rises = rises_at(load, window.first_minute, hours(window.first_minute, ends), question.lead_min)
    found = rows(load, window.first_minute, ends, levels=levels, lead_min=question.lead_min, rises=rises)
    return found[asked], need[ends - oldest][asked]
