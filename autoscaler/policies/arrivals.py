"""Policy `arrivals`: replicas for the sessions that begin, `sessions_per_min` for each.

A session's first turn is its lightest; a rate that doubles shows here minutes before it shows in concurrency.
"""

from __future__ import annotations

from autoscaler.policies.use import by_use
from autoscaler.policies.vote import View, Vote
from autoscaler.signals import SESSION_STARTS_PER_MIN
from fleet.policy import Policy


def vote(policy: Policy, view: View) -> Vote:
    return by_use(view, SESSION_STARTS_PER_MIN, policy.sessions_per_min, policy.target, policy.tolerance)
