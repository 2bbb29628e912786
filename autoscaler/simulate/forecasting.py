"""The forecaster as a policy: refits itself when it is due, in line, where the autoscaler would do it beside its loop."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.forecast.forecaster import Forecaster
from autoscaler.forecast.learner import Learner
from autoscaler.forecast.training import refit


@dataclass(frozen=True, slots=True)
class Forecasting:
    """Without a learner it stays reactive."""

    forecaster: Forecaster
    learner: Learner | None

    def observe(self, minute: int, requests: float | None) -> None:
        self.forecaster.observe(minute, requests)
        if self.learner is not None and self.forecaster.is_refit_due(minute + 1):
            self.forecaster.adopt(refit(self.forecaster.window(), self.forecaster.question, self.learner))

    def desired(self, minute: int) -> int:
        return self.forecaster.desired(minute).desired
