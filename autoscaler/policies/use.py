"""A count from a demand and what one replica carries of it.

    needed = demand / (one x target),  wanted = ceil(needed)

The answer rests on demand and on the capacity of one replica, never on how many happen to run: a factor on the running count
(nomad-autoscaler's target-value) orders fewer replicas while the ordered ones still load. Hysteresis: where `needed` lies
within `tolerance` of the current count, the count stays. So a count n is left upwards above n x (1 + tolerance) and downwards
at n - 1 or less.
"""

from __future__ import annotations

import math

from autoscaler.policies.vote import View, Vote, hold, unless_partial
from autoscaler.signals import Unknown

_ROUNDING = 1e-9  # 4.2 / (2 * 0.7) is a hair over 3 in floating point


def by_use(view: View, name: str, one: float, target: float, tolerance: float) -> Vote:
    """`name` is the demand's signal, `one` what a replica carries of it."""
    signal = view.signal(name)
    if isinstance(signal, Unknown):
        return hold(view, name, signal)
    needed = signal.value / (one * target)
    why = f"{told(view, name, signal.value, one)} at target {target:.0%}"
    return unless_partial(Vote(within(needed, view.current, tolerance), may_go_down=True, why=why), signal, view.current)


def within(needed: float, current: int, tolerance: float) -> int:
    if current and abs(needed / current - 1) <= tolerance:
        return current
    return whole(needed)


def whole(needed: float) -> int:
    return math.ceil(needed - _ROUNDING)


def told(view: View, name: str, demand: float, one: float) -> str:
    said = f"{name} {demand:.3g} over {view.window_s:g} s"
    if not view.current:
        return f"{said} with no replica,"
    whose = "one replica's" if view.current == 1 else f"{view.current} replicas'"
    return f"{said} is {demand / (one * view.current):.0%} of {whose} {one * view.current:g}"
