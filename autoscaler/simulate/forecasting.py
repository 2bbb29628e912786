"""The forecaster as a policy: refits itself when it is due, in line, where the autoscaler would do it beside its loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoscaler.forecast.forecaster import Forecaster
from autoscaler.forecast.learner import Learner
from autoscaler.forecast.training import Fitted, refit


@dataclass(frozen=True, slots=True)
class Forecasting:
    """`told` hears of every refit: the day (counted from minute 0) and its outcome. Without a learner it stays reactive."""

    forecaster: Forecaster
    learner: Learner | None
    told: Callable[[int, Fitted | None], None] = lambda _day, _fitted: None

    def observe(self, minute: int, requests: float | None) -> None:
        self.forecaster.observe(minute, requests)

    def desired(self, minute: int) -> int:
        if self.learner is not None and self.forecaster.is_refit_due(minute):
            fitted = refit(self.forecaster.window(), self.forecaster.question, self.learner)
            self.forecaster.adopt(fitted)
            self.told(minute // 1440, fitted)
        return self.forecaster.desired(minute).desired
