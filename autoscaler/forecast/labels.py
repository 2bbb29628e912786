"""What would have been right: how much of replica j + 1 was needed in the minutes after a decision.

Two fixed fleets, of j and of j + 1 warm replicas, meet the same load, and what does not get its turn within the hold time is late.
The need is the part of one replica-minute by which the larger fleet is late less: a burst that the hold queue carries is no need.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.intp] | npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def needs(load: Floats, levels: Levels, hold_s: float) -> Floats:
    """Need of replica j + 1 in each minute for each level j, 0 to 1, shape (minutes, levels). `load` in replicas per minute."""
    capacity = np.union1d(levels, levels + 1).astype(np.float64)
    longest = capacity * hold_s / 60
    over = load[:, None] - capacity
    backlogs = np.empty_like(over)
    backlog = np.zeros(len(capacity))
    for rest, left in zip(over, backlogs, strict=True):
        np.maximum(np.add(rest, backlog, out=rest), 0.0, out=rest)
        backlog = np.minimum(rest, longest, out=left)
    late = over - backlogs
    fewer, more = np.searchsorted(capacity, levels), np.searchsorted(capacity, levels + 1)
    out: Floats = np.clip(late[:, fewer] - late[:, more], 0.0, 1.0)
    return out


def ahead(need: Floats, span: int) -> Floats:
    """Mean need over the `span` minutes from each index on, shape (minutes - span + 1, levels)."""
    total = np.concatenate([np.zeros((1, need.shape[1])), need.cumsum(axis=0)])
    out: Floats = (total[span:] - total[:-span]) / span
    return out


def whole(gap: Mask, span: int) -> Mask:
    """Whether the `span` minutes from each index on have no gap; as long as `ahead`."""
    return np.logical_not(sliding_window_view(gap, span).any(axis=1))
