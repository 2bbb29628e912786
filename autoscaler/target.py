"""Policy `target`: as many replicas as keep each at `target` of its capacity.

    needed = demand / (capacity of a replica x target),  wanted = ceil(needed)

The answer rests on demand and on the capacity of one replica, never on how many happen to run: a factor on the running count
(nomad-autoscaler's target-value) orders fewer replicas while the ordered ones still load. Hysteresis: where `needed` lies
within `tolerance` of the current count, the count stays. So a count n is left upwards above n x (1 + tolerance) and downwards
at n - 1 or less. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.demand import CONCURRENCY
from autoscaler.signals import Known, Signal, Unknown
from fleet.model import Capacity, Policy

_ROUNDING = 1e-9  # 4.2 / (2 * 0.7) is a hair over 3 in floating point


@dataclass(frozen=True, slots=True)
class Vote:
    """What one policy wants. `may_go_down` is False where the demand is not fully known. `why` is a clause of the sentence."""

    wanted: int
    may_go_down: bool
    why: str


def vote(policy: Policy, per_replica: Capacity, signal: Signal, *, current: int, window_s: float) -> Vote:
    """`signal` is the demand in the policy's unit; `current` the count that the job asks for now, loading ones included."""
    if isinstance(signal, Unknown):
        return Vote(current, may_go_down=False, why=f"{policy.signal} is unknown ({signal.why})")
    one = capacity_of_one(policy, per_replica)
    needed = signal.value / (one * policy.target)
    why = _why(policy, signal.value, one, current, window_s)
    if isinstance(signal, Known):
        return Vote(_within(needed, current, policy.tolerance), may_go_down=True, why=why)
    why = f"{why}, known in part ({signal.why})"
    return Vote(max(current, _within(needed, current, policy.tolerance)), may_go_down=False, why=why)


def capacity_of_one(policy: Policy, per_replica: Capacity) -> float:
    return per_replica.concurrency if policy.signal == CONCURRENCY else per_replica.requests_per_min


def _within(needed: float, current: int, tolerance: float) -> int:
    if current and abs(needed / current - 1) <= tolerance:
        return current
    return math.ceil(needed - _ROUNDING)


def _why(policy: Policy, demand: float, one: float, current: int, window_s: float) -> str:
    told = f"{policy.signal} {demand:.3g} over {window_s:g} s"
    target = f"at target {policy.target:.0%}"
    if not current:
        return f"{told} with no replica, {target}"
    whose = "one replica's" if current == 1 else f"{current} replicas'"
    return f"{told} is {demand / (one * current):.0%} of {whose} {one * current:g} {target}"
