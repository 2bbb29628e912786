"""Policy `threshold`: any signal; `step` replicas more above `upper`, fewer below `lower`, and no change between them.

The step up is taken from the replicas that serve, not from those that are ordered: a signal stays above its bound until the new
replica is warm, and a step per pass would order one more each time. For the same reason nothing goes down while one loads. One that
drains, has no node or never became warm does not load: the step down would wait for itself, or for a replica that never comes.
"""

from __future__ import annotations

from autoscaler.policies.vote import View, Vote, hold, unless_partial
from autoscaler.signals import Known, Partial, Unknown
from fleet.policy import Policy


def vote(policy: Policy, view: View) -> Vote:
    signal = view.signal(policy.signal)
    if isinstance(signal, Unknown):
        return hold(view, policy.signal, signal)
    return unless_partial(_vote(policy, view, signal), signal, view.current)


def _vote(policy: Policy, view: View, signal: Known | Partial) -> Vote:
    said = f"{policy.signal} {signal.value:.3g}"
    if signal.value > policy.upper:
        wanted = max(view.current, view.ready + policy.step)
        return Vote(wanted, may_go_down=True, why=f"{said} is above {policy.upper:g}")
    if signal.value < policy.lower:
        wanted = view.current if view.loading else max(0, view.current - policy.step)
        return Vote(
            wanted, may_go_down=True, why=f"{said} is below {policy.lower:g}" + (", but replicas still load" if view.loading else "")
        )
    return Vote(view.current, may_go_down=True, why=f"{said} is between {policy.lower:g} and {policy.upper:g}")
