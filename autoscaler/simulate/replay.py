"""One policy through one trace, one decision a minute.

The law that makes a replay honest stands here once: a policy decides for minute t before it is told of minute t.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autoscaler.simulate.fleet import Replicas
from autoscaler.simulate.policies import Policy
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace


def replay(trace: Trace, first: int, policy: Policy, progress: Callable[[int], None] = lambda _minutes: None) -> Replicas:
    """Decisions for the minutes from index `first` to the end; the minutes before are shown to the policy as history.

    `progress` is told the decisions made, after each day.
    """
    seen = [None if gap else count for count, gap in zip(trace.requests.tolist(), trace.gap.tolist(), strict=True)]
    for at in range(first):
        policy.observe(trace.first_minute + at, seen[at])
    desired = np.empty(len(trace) - first, dtype=np.int64)
    for done, at in enumerate(range(first, len(trace))):
        desired[done] = policy.desired(trace.first_minute + at)
        policy.observe(trace.first_minute + at, seen[at])
        if (done + 1) % MINUTES_PER_DAY == 0:
            progress(done + 1)
    return desired
