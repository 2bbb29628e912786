"""A day of answers in one go, for a replay: the same as minute by minute, and several times as fast.

The minutes to come are read, but no answer rests on them: the row of a minute is made from those before it (forecast/features.py),
and tests compare both ways. A new model, or another question, begins anew from the minute it came in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoscaler.forecast.answers import answered, recent
from autoscaler.forecast.blend import Blend
from autoscaler.forecast.features import DAY, hours, levels_of, rises_at
from autoscaler.forecast.question import Question
from autoscaler.forecast.series import Series, Window
from autoscaler.forecast.windows import Floats
from autoscaler.simulate.trace import Trace


@dataclass(slots=True)
class DayAhead:
    """Answers for a forecaster that is told the minutes of `trace`, each as it ends."""

    trace: Trace
    _blend: Blend | None = None
    _question: Question | None = None
    _first: int = 0
    _found: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def at(self, blend: Blend, window: Window, question: Question) -> Floats:
        now = window.next_minute
        if blend is not self._blend or question != self._question or not self._first <= now < self._first + len(self._found):
            self._blend, self._question, self._first = blend, question, now
            self._found = self._day(blend, window, question)
        answer: Floats = self._found[now - self._first]
        return answer

    def _day(self, blend: Blend, window: Window, question: Question) -> Floats:
        """From the end of the window on, at most until the end of the trace; shape (minutes, levels)."""
        ahead = self._lengthened(window)
        count = 1 + ahead.next_minute - window.next_minute
        load, first_minute = recent(ahead, question, count)
        ends = np.arange(len(load) - count + 1, len(load) + 1)
        rises = rises_at(load, first_minute, hours(first_minute, ends), blend.lead_min)
        return answered(blend, load, first_minute, ends, levels=levels_of(question.most), rises=rises)

    def _lengthened(self, window: Window) -> Window:
        """The window as it will be in a day: gaps are filled as the forecaster will fill them."""
        series, at = Series.of(window), window.next_minute - self.trace.first_minute
        told, gap = self.trace.requests[at : at + DAY - 1], self.trace.gap[at : at + DAY - 1]
        for minute, (count, is_gap) in enumerate(zip(told.tolist(), gap.tolist(), strict=True), window.next_minute):
            series.observe(minute, None if is_gap else count)
        return series.view()
