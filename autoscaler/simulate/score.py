"""How good a series of decisions was.

    H            replica-hours / those of the offline optimum with the same lead time
    V            % of requests above the warm capacity of their minute
    V30, V60     the same when a request may wait 30 or 60 s for its turn: the backlog is at most capacity x hold / 60
    actions/day  changes of desired
Minutes without telemetry are billed but not scored: nobody knows what came, and the backlog starts again from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.fleet import Replicas, warm
from autoscaler.simulate.optimum import optimum_minutes
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a replay is scored by. `capacity`: requests per minute of one warm replica. `hold_s`: the wait that the fleet allows."""

    capacity: float
    lead_min: int
    hold_s: float

    @property
    def holds_s(self) -> tuple[float, ...]:
        """The waits that a score is given for, shortest first: none, half a minute, one, and the fleet's own."""
        return tuple(sorted({0.0, 30.0, 60.0, self.hold_s}))


@dataclass(frozen=True, slots=True)
class Score:
    """`late_percent`: of requests, by the wait that is allowed. `worst_day`: by the fleet's own wait; 1-based from the first scored one."""

    replica_hours: float
    optimum_hours: float
    late_percent: Mapping[float, float]
    hold_s: float
    actions_per_day: float
    worst_day: int
    worst_day_percent: float

    @property
    def hours_ratio(self) -> float:
        return self.replica_hours / self.optimum_hours

    @property
    def late_held_percent(self) -> float:
        """With the fleet's own wait."""
        return self.late_percent[self.hold_s]


def score(trace: Trace, first: int, desired: Replicas, rules: Rules) -> Score:
    """Scores the decisions for the minutes from index `first` of the trace on; one decision per minute to its end."""
    requests = np.where(trace.gap, 0.0, trace.requests)[first:]
    capacity = warm(desired, rules.lead_min).astype(np.float64) * rules.capacity
    by_hold = {hold_s: late(requests, capacity, hold_s) for hold_s in rules.holds_s}
    held = by_hold[rules.hold_s]
    by_day = [_percent(held[at : at + MINUTES_PER_DAY], requests[at : at + MINUTES_PER_DAY]) for at in _days(len(requests))]
    return Score(
        replica_hours=float(desired.sum()) / 60,
        optimum_hours=optimum_minutes(trace.bridged()[first:], rules.capacity, rules.lead_min) / 60,
        late_percent={hold_s: _percent(lost, requests) for hold_s, lost in by_hold.items()},
        hold_s=rules.hold_s,
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
