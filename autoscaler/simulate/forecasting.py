"""The forecaster as a policy: refits itself when it is due, in line, where the autoscaler would do it beside its loop."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.forecast.blend import MODELS
from autoscaler.forecast.forecaster import REFIT_MIN, Forecaster
from autoscaler.forecast.learner import Learner
from autoscaler.forecast.question import Forecast
from autoscaler.forecast.training import refit


@dataclass(frozen=True, slots=True)
class Forecasting:
    """Without a learner it stays reactive. `first_minute`: it is asked from then on.

    Refits of the history whose models would be forgotten by then are left out: they would change no answer.
    """

    forecaster: Forecaster
    learner: Learner | None
    first_minute: int = 0

    def observe(self, minute: int, requests: float | None) -> None:
        self.forecaster.observe(minute, requests)
        if self.learner is None or not self.forecaster.is_refit_due(minute + 1):
            return
        is_forgotten = minute + 1 + MODELS * REFIT_MIN <= self.first_minute
        found = None if is_forgotten else refit(self.forecaster.window(), self.forecaster.question, self.learner)
        self.forecaster.adopt(found)

    def desired(self, minute: int) -> Forecast:
        return self.forecaster.desired(minute)
