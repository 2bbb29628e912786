"""How good a series of decisions was.

    H            replica-hours / those of the offline optimum with the same lead time
    V            % of requests above the warm capacity of their minute
    V(hold)      the same when a request may wait `hold_s` for its turn: the backlog is at most capacity x hold_s / 60
    actions/day  changes of desired
Minutes without telemetry are billed but not scored: nobody knows what came, and the backlog starts again from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.fleet import Replicas, warm
from autoscaler.simulate.optimum import optimum_minutes
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a replay is scored by. `capacity`: requests per minute of one warm replica."""

    capacity: float
    lead_min: int
    hold_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """`worst_day` counts from the first scored day, 1-based; percentages are of requests."""

    replica_hours: float
    optimum_hours: float
    late_percent: float
    late_held_percent: float
    actions_per_day: float
    worst_day: int
    worst_day_percent: float

    @property
    def hours_ratio(self) -> float:
        return self.replica_hours / self.optimum_hours


def score(trace: Trace, first: int, desired: Replicas, rules: Rules) -> Score:
    """Scores the decisions for the minutes from index `first` of the trace on; one decision per minute to its end."""
    requests = np.where(trace.gap, 0.0, trace.requests)[first:]
    capacity = warm(desired, rules.lead_min).astype(np.float64) * rules.capacity
    held = late(requests, capacity, rules.hold_s)
    by_day = [_percent(held[at : at + MINUTES_PER_DAY], requests[at : at + MINUTES_PER_DAY]) for at in _days(len(requests))]
    return Score(
        replica_hours=float(desired.sum()) / 60,
        optimum_hours=optimum_minutes(trace.bridged()[first:], rules.capacity, rules.lead_min) / 60,
        late_percent=_percent(np.maximum(requests - capacity, 0), requests),
        late_held_percent=_percent(held, requests),
        actions_per_day=float(np.count_nonzero(np.diff(desired))) * MINUTES_PER_DAY / len(desired),
        worst_day=int(np.argmax(by_day)) + 1,
        worst_day_percent=max(by_day),
    )


def late(requests: Counts, capacity: Counts, hold_s: float) -> Counts:
    """Requests of each minute that are neither served nor held. Both series are per minute."""
    out = np.zeros(len(requests))
    backlog = 0.0
    for minute, (arriving, served) in enumerate(zip(requests.tolist(), capacity.tolist(), strict=True)):
        over = max(0.0, backlog + arriving - served)
        backlog = min(over, served * hold_s / 60)
        out[minute] = over - backlog
    return out


def _days(minutes: int) -> range:
    return range(0, minutes, MINUTES_PER_DAY)


def _percent(part: Counts, whole: Counts) -> float:
    return 100 * float(part.sum()) / max(1.0, float(whole.sum()))
