"""Means and maxima of stretches of a series, for one minute or for thousands at once.

A series is indexed from 0; `ends` are exclusive: the last two minutes before end 5 are 3 and 4. Before the beginning the first
value stands, so that a young series has all its windows. For one end only the window is touched, not the series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ends = npt.NDArray[np.intp]

_FEW = 64


def last(series: Floats, ends: Ends, width: int) -> Floats:
    """The last `width` values before each end, shape (ends, width)."""
    out: Floats = series[np.maximum(ends[:, None] + np.arange(-width, 0), 0)]
    return out


def last_max(series: Floats, ends: Ends, width: int) -> Floats:
    """Maximum of the last `width` values before each end, shape (ends,). Ends are 1 or more."""
    if len(ends) > _FEW:
        padded = np.concatenate([np.full(width - 1, -np.inf), series[: ends.max()]])
        every: Floats = _running_max(padded, width)[ends - 1]
        return every
    return np.array([series[max(0, end - width) : end].max() for end in ends.tolist()])


def max_from(series: Floats, starts: Ends, width: int) -> Floats:
    """Maximum of series[start : start + width] for each start; NaN where that begins before the series or ends after it."""
    inside = (starts >= 0) & (starts + width <= len(series))
    out = np.full(starts.shape, np.nan)
    wanted = starts[inside]
    if len(wanted) > _FEW:
        out[inside] = _running_max(series, width)[wanted]
    elif len(wanted):
        out[inside] = series[wanted[:, None] + np.arange(width)].max(axis=1)
    return out


def _running_max(series: Floats, width: int) -> Floats:
    """Maximum of every run of `width` values: one pass forward and one back over blocks of that width."""
    full = np.concatenate([series, np.full(-len(series) % width, -np.inf)]).reshape(-1, width)
    forward = np.maximum.accumulate(full, axis=1).ravel()
    back = np.maximum.accumulate(full[:, ::-1], axis=1)[:, ::-1].ravel()
    count = len(series) - width + 1
    out: Floats = np.maximum(back[:count], forward[width - 1 : width - 1 + count])
    return out
