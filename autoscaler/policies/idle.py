"""replicas.min = 0: the last replica goes after `idle` without a request, and any request wakes it at once.

    requests come       at least one, without a cooldown when there is none: somebody waits in a router
    silence             what there is, up to one, until the silence is long enough; then none
    not fully known     what there is; silence is counted from the last moment in which it was not sure

What routers hold is part of `concurrency`, and arrivals are counted before admission, so a fleet of no replicas still has a demand.
"""

from __future__ import annotations

import math

from autoscaler.policies.vote import View, Vote, unless_partial
from autoscaler.signals import Known, Signal, Unknown
from fleet.policy import DEMANDS

NEVER = -math.inf


def busy_at(last: float, view: View) -> float:
    """When there was, or may have been, a request last; the first look counts as one."""
    quiet = all(isinstance(signal, Known) and not signal.value for signal in _demands(view))
    return min(last, view.at) if quiet and last != NEVER else view.at


def vote(idle_s: float, view: View, last: float) -> Vote:
    """`last` is `busy_at` of this view."""
    demands = _demands(view)
    for signal in demands:
        if not isinstance(signal, Unknown) and signal.value:
            wakes = Vote(1, may_go_down=True, why="requests come", at_once=view.current == 0)
            return unless_partial(wakes, signal, view.current)
    for signal in demands:
        if not isinstance(signal, Known):
            return Vote(view.current, may_go_down=False, why=f"whether it is idle is not known ({signal.why})")
    silent_s = view.at - last
    if silent_s >= idle_s:
        return Vote(0, may_go_down=True, why=f"no request for {silent_s:.0f} s")
    return Vote(min(view.current, 1), may_go_down=True, why=f"no request for {silent_s:.0f} s, one is kept for {idle_s:g} s")


def _demands(view: View) -> list[Signal]:
    return [view.signal(name) for name in DEMANDS]
