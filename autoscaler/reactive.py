"""The forecast of who cannot forecast: 70 % use at the largest demand of the last 30 minutes. Without numpy, which may be missing.

The same rule that autoscaler/forecast falls back to while it has no model yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.forecast.question import Forecast, Question

_USE = 0.7
_LOOK_BACK_MIN = 30


@dataclass(slots=True)
class Reactive:
    question: Question
    why: str
    _counts: dict[int, float] = field(default_factory=dict)

    def observe(self, minute: int, count: float | None) -> None:
        """As `forecast.forecaster.Forecaster.observe`."""
        if count is not None:
            self._counts[minute] = count
        self._counts = {at: seen for at, seen in self._counts.items() if at > minute - _LOOK_BACK_MIN}

    def desired(self, now: int) -> Forecast:
        if not self._counts:
            return Forecast(self.question.clip(0), 0, 0, 0, "no demand was seen yet: the least")
        most, least = (pick(self._counts.values()) / self.question.capacity for pick in (max, min))
        wanted = self.question.clip(math.ceil(most / _USE - 1e-9))
        reason = f"{self.why}: {_USE:.0%} use at the largest of {_LOOK_BACK_MIN} min, {most:.1f} replicas"
        return Forecast(wanted, math.ceil(least), wanted, now - 1 - max(self._counts), reason)
