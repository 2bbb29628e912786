"""The forecaster of one model: told a count per minute, asked for the replicas wanted.

    no model yet         reactive: 70 % use, largest of the last 30 minutes
    models               every replica up to the highest whose need is worth its price, held (holding.py)

The owner runs `refit(forecaster.window(), forecaster.question, learner)` elsewhere when `is_refit_due` and hands the result to
`adopt`; the last models answer together (blend.py). Only the past is looked at: an answer for a minute rests on the minutes
before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.forecast.answers import Answers, LastMinute
from autoscaler.forecast.blend import Blend, joined
from autoscaler.forecast.features import DAY, Levels, levels_of
from autoscaler.forecast.holding import KEEP, START_ONE, Held, Worth, hold
from autoscaler.forecast.question import Forecast, Question
from autoscaler.forecast.series import Series, Window
from autoscaler.forecast.training import LEAST_DAYS, Fitted, slack_min
from autoscaler.forecast.windows import Floats

REFIT_MIN = DAY
_RARE = 0.001
_REACTIVE_USE = 0.7
_REACTIVE_MIN = 30


@dataclass(frozen=True, slots=True)
class Memory:
    """What a forecaster knows. `tried_minute`: when it was last refitted, with or without success."""

    window: Window | None = None
    blend: Blend | None = None
    tried_minute: int | None = None
    held: Held = Held()


class Forecaster:
    """Not for two threads at once; `window` is a copy, made to be carried away. `question` may be replaced at any time."""

    def __init__(self, question: Question, memory: Memory | None = None, answers: Answers | None = None) -> None:
        """`answers`: for who asks about minutes that are long over; by default each minute is answered by itself."""
        memory = memory or Memory()
        self.question = question
        self._series = Series.of(memory.window) if memory.window else Series()
        self._blend = memory.blend
        self._tried_minute = memory.tried_minute
        self._held = memory.held
        self._answers = answers or LastMinute()

    def memory(self) -> Memory:
        """All that a successor needs to go on as if nothing had happened; it shares nothing with this one."""
        return Memory(self._series.copy() if len(self._series) else None, self._blend, self._tried_minute, self._held)

    def observe(self, minute: int, count: float | None) -> None:
        """Requests of a minute that is over; None: not known. Minutes count from a midnight, in UTC or any one time zone.

        Raises: ValueError: a negative or infinite count.
        """
        self._series.observe(minute, count)

    def window(self) -> Window:
        return self._series.copy()

    def is_refit_due(self, now: int) -> bool:
        """Daily, from the second day on; after a refit that found too little, in a day again."""
        if self._tried_minute is None:
            return len(self._series) >= LEAST_DAYS * DAY
        return now - self._tried_minute >= REFIT_MIN

    def adopt(self, fitted: Fitted | None) -> None:
        """Takes the outcome of a refit. None leaves the models there are: old ones are better than none."""
        self._tried_minute = fitted.until_minute if fitted else self._series.next_minute
        self._blend = joined(self._blend, fitted) if fitted else self._blend

    def desired(self, now: int) -> Forecast:
        """Replicas to ask for in minute `now`, which is not observed yet. May be asked often: holding counts minutes, not calls."""
        self._series.skip_to(now)
        if not len(self._series):
            return Forecast(self.question.clip(0), 0, 0, 0, "no demand was seen yet: the least")
        return self._reactive() if self._blend is None else self._forecast(self._blend, now)

    def _reactive(self) -> Forecast:
        load = self._series.view().counts[-_REACTIVE_MIN:] / self.question.capacity
        wanted = self.question.clip(math.ceil(load.max() / _REACTIVE_USE - 1e-9))
        days = len(self._series) / DAY
        why = f"{days:.1f} of {LEAST_DAYS} days of history" if days < LEAST_DAYS else "no model was fitted"
        reason = f"{why}: {_REACTIVE_USE:.0%} use at the largest of {_REACTIVE_MIN} min, {load.max():.1f} replicas"
        return Forecast(wanted, math.ceil(load.min()), wanted, self._series.age_min(), reason)

    def _forecast(self, blend: Blend, now: int) -> Forecast:
        view, price = self._series.view(), self.question.price
        levels, need = levels_of(self.question.most), self._answers.at(blend, view, self.question)
        wanted, one_more, kept = (_up_to(levels, need, price * times) for times in (1, START_ONE, 1 / KEEP))
        self._held = hold(self._held, now, Worth(wanted, one_more, kept), blend.lead_min)
        desired = self.question.clip(self._held.replicas)
        load = view.counts[-1] / self.question.capacity
        ahead_min = blend.lead_min + slack_min(self.question.hold_s)
        reason = f"load {load:.1f} replicas, {wanted} worth {price:g} within {ahead_min} min, held {desired}"
        return Forecast(desired, _up_to(levels, need, 0.5), max(wanted, _up_to(levels, need, _RARE)), self._series.age_min(), reason)


def _up_to(levels: Levels, need: Floats, price: float) -> int:
    """Replicas up to the highest level whose need is above the price."""
    worth = levels[need > price]
    return int(worth[-1]) + 1 if len(worth) else 0
