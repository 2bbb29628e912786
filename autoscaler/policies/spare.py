"""Policy `spare`: the replicas that the demand fills, and idle ones beside them: `replicas` of them, and `share` of all.

full = demand / one,  wanted = the larger of ceil(full) + replicas and ceil(full / (1 - share))
"""

from __future__ import annotations

from autoscaler.policies.use import told, whole
from autoscaler.policies.vote import View, Vote, hold, unless_partial
from autoscaler.signals import Unknown
from fleet.policy import Policy


def vote(policy: Policy, view: View) -> Vote:
    signal = view.signal(policy.signal)
    if isinstance(signal, Unknown):
        return hold(view, policy.signal, signal)
    one = view.one[policy.signal]
    full = signal.value / one
    wanted = max(whole(full) + policy.replicas, whole(full / (1 - policy.share)))
    why = f"{told(view, policy.signal, signal.value, one)} and {_spare(policy)} idle"
    return unless_partial(Vote(wanted, may_go_down=True, why=why), signal, view.current)


def _spare(policy: Policy) -> str:
    parts = [f"{policy.replicas}"] if policy.replicas else []
    return " and ".join([*parts, f"{policy.share:.0%}"] if policy.share else parts)
