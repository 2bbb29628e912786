"""The least replica-minutes that serve a demand in full, for one who knows all of it: the yardstick of every policy.

Exact: replicas are interchangeable, so each level (the k-th replica) is a problem of its own. It must be warm in its busy
minutes; between two of them it is either kept (the length of the gap) or stopped and started again `lead_min` minutes ahead
(`lead_min`, if the gap is that long). The first replica always runs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]


def optimum_minutes(requests: Counts, capacity: float, lead_min: int) -> int:
    """Replica-minutes of the optimum. `capacity`: requests per minute of one replica, as in the scores."""
    wanted = np.maximum(1, np.ceil(requests / capacity - _TOLERANCE))
    steps = np.unique(wanted)  # between two of them all levels have the same busy minutes, however far apart they are
    each = [_level_minutes(np.flatnonzero(wanted > step), lead_min) for step in steps[:-1].tolist()]
    return len(requests) + int(np.dot(np.concatenate([[steps[0] - 1], np.diff(steps)]), [len(requests), *each]))


_TOLERANCE = 1e-9
"""In replicas: a peak of exactly k replicas must not need k + 1 for a rounding error."""


def _level_minutes(busy: npt.NDArray[np.intp], lead_min: int) -> int:
    """`busy`: the minutes in which the level is needed. It may be warm at the start, which then costs like any gap."""
    idle = np.concatenate([busy[:1], np.diff(busy) - 1])
    return int(len(busy) + np.minimum(idle, lead_min).sum())
