"""Policy `target`: as many replicas as keep each at `target` of its capacity (the law stands in use.py)."""

from __future__ import annotations

from autoscaler.policies.use import by_use
from autoscaler.policies.vote import View, Vote
from fleet.policy import Policy


def vote(policy: Policy, view: View) -> Vote:
    return by_use(view, policy.signal, view.one[policy.signal], policy.target, policy.tolerance)
