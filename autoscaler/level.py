"""The load level of a model: low, medium, high or failure, as routers and people read it.

    level     entered when                                  left for the one below at      strategy (new sessions, fleet)
    failure   replicas are desired and none is ready        the first ready one            a smaller model, or an alternative
    high      demand above the target of the ready ones     90 % of it                     all there is, scale out
    medium    demand above half of it                       40 % of it                     more replicas are warmed
    low       -                                             -                              few replicas

Hysteresis: between the two bounds of a level the last one stays. With several target policies the busiest counts; without any,
concurrency at the default target. Where no demand is known the last level stays. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoscaler.signals import Signal, Unknown
from fleet.model import Model
from fleet.policy import Policy
from fleet.state import Level

_ENTERED: tuple[tuple[Level, float], ...] = (("high", 1.0), ("medium", 0.5))
_LEFT: Mapping[Level, float] = {"high": 0.9, "medium": 0.4}
_RANK: Mapping[Level, int] = {"low": 0, "medium": 1, "high": 2, "failure": 0}


def level(model: Model, one: Mapping[str, float], desired: int, ready: int, signals: Mapping[str, Signal], *, last: Level) -> Level:
    """`one`: what a replica carries, by demand."""
    if desired > 0 and ready == 0:
        return "failure"
    shares = list(_shares_of_target(model, one, ready, signals))
    if not shares:
        return "low" if last == "failure" else last
    return next((name for name, bound in _ENTERED if max(shares) > (_LEFT[name] if _RANK[last] >= _RANK[name] else bound)), "low")


def _shares_of_target(model: Model, one: Mapping[str, float], ready: int, signals: Mapping[str, Signal]) -> Iterator[float]:
    for policy in [policy for policy in model.policy if policy.kind == "target"] or [Policy()]:
        signal = signals.get(policy.signal, Unknown("not read"))
        if not isinstance(signal, Unknown):
            carried = ready * one[policy.signal] * policy.target
            yield signal.value / carried if carried else 2.0 * (signal.value > 0)
