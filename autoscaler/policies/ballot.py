"""All rules of a model, asked: the votes of its rows, and that of replicas.min = 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from autoscaler.policies import arrivals, forecast, idle, schedule, spare, target, threshold
from autoscaler.policies.vote import View, Vote
from fleet.model import Model
from fleet.policy import Policy

_KINDS: Mapping[str, Callable[[Policy, View], Vote]] = {
    "target": target.vote,
    "threshold": threshold.vote,
    "schedule": schedule.vote,
    "spare": spare.vote,
    "arrivals": arrivals.vote,
    "forecast": lambda _, view: forecast.vote(view),
}


def votes(model: Model, view: View, busy_at: float) -> list[Vote]:
    """In the order of the file. `busy_at`: of `idle`, seconds since the epoch."""
    asked = [replace(_KINDS[policy.kind](policy, view), rule=policy.kind) for policy in model.policy]
    return [*asked, replace(idle.vote(model.replicas.idle_s, view, busy_at), rule="idle")] if model.replicas.min == 0 else asked
