"""The load level of a model: low, medium, high or failure, as routers and people read it.

    failure   replicas are desired and none is ready
    high      demand is above the target of the ready replicas
    medium    demand is above half of it
    low       the rest

With several policies the busiest counts. Where no demand is known the last level stays. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoscaler.signals import Signal, Unknown
from autoscaler.target import capacity_of_one
from fleet.model import Model
from fleet.state import Level


def level(model: Model, desired: int, ready: int, signals: Mapping[str, Signal], last: Level) -> Level:
    if desired > 0 and ready == 0:
        return "failure"
    shares = list(_shares_of_target(model, ready, signals))
    if not shares:
        return "low" if last == "failure" else last
    return "high" if max(shares) > 1 else "medium" if max(shares) > 0.5 else "low"


def _shares_of_target(model: Model, ready: int, signals: Mapping[str, Signal]) -> Iterator[float]:
    for policy in model.policy:
        signal = signals.get(policy.signal, Unknown("not read"))
        if not isinstance(signal, Unknown):
            carried = ready * capacity_of_one(policy, model.capacity) * policy.target
            yield signal.value / carried if carried else 2.0 * (signal.value > 0)
