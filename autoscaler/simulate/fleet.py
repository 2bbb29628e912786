"""What a series of decisions costs and carries: billed and warm replicas, minute by minute, on a virtual clock.

Law: a decision takes effect in its own minute. What is started is billed at once and warm `lead_min` minutes later; what is
scaled in is gone at once, the youngest first, so cold replicas go before warm ones. The replicas of the first minute are warm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Replicas = npt.NDArray[np.int64]


def warm(desired: Replicas, lead_min: int) -> Replicas:
    """Warm replicas of each minute; as long as `desired`, which is also what is billed.

    With the youngest leaving first, the k-th replica is warm exactly if k were wanted in each of the last `lead_min` minutes too.
    """
    before = np.full(lead_min, desired[0])
    out: Replicas = sliding_window_view(np.concatenate([before, desired]), lead_min + 1).min(axis=1)
    return out
