"""What the models answer: the need of every level at the end of a window, or at many ends at once.

Levels below those that the models are asked about are needed wholly, those above not at all (training.near). Law: the answer for
an end rests on what is before it, so many asked together get what each gets alone; a replay asks for a day at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from autoscaler.forecast.blend import Blend
from autoscaler.forecast.features import DAY, Levels, Rises, hours, level, levels_of, rises_at, rows
from autoscaler.forecast.question import Question
from autoscaler.forecast.series import Window
from autoscaler.forecast.training import near
from autoscaler.forecast.windows import Ends, Floats

_LOOK_BACK_MIN = 8 * DAY


class Answers(Protocol):
    def at(self, blend: Blend, window: Window, question: Question) -> Floats:
        """The need of each of `levels_of(question.most)` at the end of the window, 0 to 1."""


class LastMinute:
    """One end by itself. The rises of the running hour are sorted once an hour, not once a minute."""

    __slots__ = ("_key", "_rises")

    def __init__(self) -> None:
        self._key: tuple[int, float, int] | None = None
        self._rises: dict[int, Rises] = {}

    def at(self, blend: Blend, window: Window, question: Question) -> Floats:
        load, first_minute = recent(window, question, ends=1)
        end = np.array([len(load)])
        (hour,) = hours(first_minute, end)
        if self._key != (hour, question.capacity, blend.lead_min):
            self._key = (hour, question.capacity, blend.lead_min)
            self._rises = rises_at(load, first_minute, [hour], blend.lead_min)
        answer: Floats = answered(blend, load, first_minute, end, levels=levels_of(question.most), rises=self._rises)[0]
        return answer


def recent(window: Window, question: Question, ends: int) -> tuple[Floats, int]:
    """The load, in replicas, that answers for the last `ends` ends of a window rest on, and its first minute."""
    kept = max(0, len(window) - _LOOK_BACK_MIN - ends)
    return window.counts[kept:] / question.capacity, window.first_minute + kept


def answered(blend: Blend, load: Floats, first_minute: int, ends: Ends, *, levels: Levels, rises: Mapping[int, Rises]) -> Floats:
    """Needs, shape (ends, levels); the arguments are those of `features.rows`."""
    asked = near(load, ends, levels)
    found = np.where(levels + 0.5 < np.exp(level(load, ends))[:, None], 1.0, 0.0)
    if asked.any():
        found[asked] = blend.predict(rows(load, first_minute, ends, levels=levels, asked=asked, lead_min=blend.lead_min, rises=rises))
    return found
