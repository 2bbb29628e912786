"""What is known at a minute about whether the j-th replica will be needed: one row of numbers per (minute, level).

A level is a number of replicas that others already carry: level j asks about replica j + 1, and its threshold v is (j + .5)
replicas. All loads are in replicas and in logs, so nothing depends on the unit of the counts. Law: the row of index `end` is made
from counts[:end] alone. Where history is too short, a look at an earlier day is NaN and a window is shortened.

Monotone by construction: with all else equal, a higher level is never needed more. `MONOTONE` tells the learner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Ends = npt.NDArray[np.intp]
Levels = npt.NDArray[np.intp]
Rises = tuple[Floats, ...]

DAY = 1440
SLACK_MIN = 6
"""A need is looked for in the lead time and this much more: what starts now is ready at the end of it."""
LEAST_REPLICAS = 0.05
"""Loads below this are one: the log of nothing must not outweigh everything else."""

_MEANS = (1, 3, 10, 30)
_MAXIMA = (15, 60, 180, 360, 1440, 10080)
_TRENDS = (10, 30, 120)
_SHARES = (60, 360, 1440, 10080)
_SURVIVALS = (1440, 10080)
_SAME_TIME = (1, 2, 7)
_SAME_RATIO = (1, 7)
_AROUND_MIN = 15
_HOUR = 60
_EACH_UP_TO = 64

MONOTONE = (
    *(-1 for _ in (*_MEANS, *_MAXIMA, *_SAME_TIME, *_SAME_RATIO, "since")),
    *(1 for _ in (*_SHARES, *_SURVIVALS)),
    *(0 for _ in (*_TRENDS, "deviation 30", "steps 30", "steps 180", "sine", "cosine", "time of day")),
)


def levels_of(most: int) -> Levels:
    """The levels asked about in a fleet of at most `most` replicas: each, and in large fleets about every fortieth part."""
    grown = np.geomspace(_EACH_UP_TO, most, 1 + int(40 * np.log(most / _EACH_UP_TO))) if most > _EACH_UP_TO else np.empty(0)
    return np.unique(np.concatenate([np.arange(min(most, _EACH_UP_TO)), np.ceil(grown - 1e-9).astype(np.intp) - 1]))


def log_thresholds(levels: Levels) -> Floats:
    out: Floats = np.log(levels + 0.5)
    return out


def rows(load: Floats, first_minute: int, ends: Ends, *, levels: Levels, lead_min: int, rises: Mapping[int, Rises]) -> Rows:
    """Features, shape (ends, levels, len(MONOTONE)).

    Args:
        load: demand per minute in replicas, gaps held at the last value. Index 0 is `first_minute` (minutes since a midnight).
        ends: growing indices, from 1 to len(load).
        rises: `rises_at` of the same load and of all these ends.
    """
    span = lead_min + SLACK_MIN
    log_v = log_thresholds(levels)
    level3 = level(load, ends)
    parts = [
        log_v[None, :, None] - _anchors(load, ends, span, level3)[:, None, :],
        _since_and_shares(load, ends, levels),
        _survival(first_minute + ends, log_v[None, :] - level3[:, None], rises),
        np.broadcast_to(_level_free(load, first_minute, ends, level3)[:, None, :], (len(ends), len(levels), 9)),
    ]
    return np.concatenate(parts, axis=2, dtype=np.float32)


def hours(first_minute: int, ends: Ends) -> list[int]:
    """The full hours, in minutes, whose rises the rows of these ends need."""
    minutes = first_minute + ends
    return [int(hour) for hour in np.unique(minutes - minutes % _HOUR)]


def rises_at(load: Floats, first_minute: int, at_hours: Iterable[int], lead_min: int) -> dict[int, Rises]:
    """By hour: how far the load rose above its level within the lead time after each minute of the last day, and week; sorted.

    A rise is complete, and so known, when its window is over.
    """
    wanted = list(at_hours)
    span = lead_min + SLACK_MIN
    oldest = max(1, min(wanted) - first_minute - span + 1 - _SURVIVALS[-1])
    ends = np.arange(oldest, max(oldest, max(wanted) - first_minute - span + 1))
    rises = _ratio(load, ends, span)
    return {hour: _sorted(rises, hour - first_minute - span + 1 - oldest) for hour in wanted}


def _sorted(rises: Floats, known: int) -> Rises:
    return tuple(np.sort(rises[max(0, known - w) : max(0, known)]) for w in _SURVIVALS)


def level(load: Floats, ends: Ends) -> Floats:
    """Log of the mean load of the last three minutes: the present, to which a model's range is tied."""
    return _log(_mean(load, ends, 3))


def _anchors(load: Floats, ends: Ends, span: int, level3: Floats) -> Floats:
    """Log loads from which a threshold's distance is taken, shape (ends, anchors)."""
    columns = [_log(_mean(load, ends, w)) for w in _MEANS]
    columns += [_log(_max(load, ends, w)) for w in _MAXIMA]
    columns += [_log(_max_between(load, ends - d * DAY - _AROUND_MIN, span + 2 * _AROUND_MIN)) for d in _SAME_TIME]
    columns += [level3 + _ratio(load, ends - d * DAY, span) for d in _SAME_RATIO]
    return np.stack(columns, axis=1)


def _ratio(load: Floats, ends: Ends, span: int) -> Floats:
    """How far the `span` minutes after each end rose above the level at it, in logs; NaN before the beginning."""
    known = ends > 0
    return np.where(known, _log(_max_between(load, ends, span)) - _log(_mean(load, np.maximum(ends, 1), 3)), np.nan)


def _level_free(load: Floats, first_minute: int, ends: Ends, level3: Floats) -> Floats:
    day = (first_minute + ends) % DAY / DAY
    steps30 = np.diff(_log(_window(load, ends, 31)), axis=1)
    tens = _log(_window(load, ends, 190)[:, -190:].reshape(len(ends), 19, 10).mean(axis=2))
    columns = [level3 - _log(_mean(load, ends, w)) for w in _TRENDS]
    columns += [_log(_window(load, ends, 30)).std(axis=1), steps30.std(axis=1), np.diff(tens, axis=1).std(axis=1)]
    columns += [np.sin(2 * np.pi * day), np.cos(2 * np.pi * day), day]
    return np.stack(columns, axis=1)


def _since_and_shares(load: Floats, ends: Ends, levels: Levels) -> Floats:
    """Log minutes since each threshold was reached, and the shares of the last windows in which it was: (ends, levels, 5)."""
    oldest = max(0, int(ends[0]) - _SHARES[-1])
    reached = np.searchsorted(levels + 0.5, load[oldest : ends[-1]], side="right")  # how many thresholds, in each minute
    out = np.empty((len(ends), len(levels), 1 + len(_SHARES)))
    for row, end in enumerate(ends - oldest):
        recent = reached[max(0, end - _SHARES[-1]) : end]
        out[row, :, 0] = np.log(_since(recent, len(levels)))
        for column, w in enumerate(_SHARES, start=1):
            counts = np.bincount(recent[-w:], minlength=len(levels) + 1)
            out[row, :, column] = counts[:0:-1].cumsum()[::-1] / min(w, len(recent))
    return out


def _since(reached: Ends, levels: int) -> Ends:
    last = np.full(levels + 1, -1, dtype=np.intp)
    last[reached] = np.arange(len(reached))  # of equal indices the last assignment stays
    out: Ends = len(reached) - np.maximum.accumulate(last[::-1])[::-1][1:]
    return out


def _survival(minutes: Ends, distance: Floats, rises: Mapping[int, Rises]) -> Floats:
    """Log share of the past minutes after which the load rose by more than `distance`: (ends, levels, windows)."""
    out = np.full((*distance.shape, len(_SURVIVALS)), np.nan)
    hour = minutes - minutes % _HOUR
    for start in np.unique(hour):
        at = hour == start
        for column, known in enumerate(rises[int(start)]):
            if len(known):
                above = len(known) - np.searchsorted(known, distance[at], side="right")
                out[at, :, column] = np.log(1e-3 + above / len(known))
    return out


def _log(load: Floats) -> Floats:
    out: Floats = np.log(np.maximum(load, LEAST_REPLICAS))
    return out


def _mean(load: Floats, ends: Ends, width: int) -> Floats:
    out: Floats = _window(load, ends, width).mean(axis=1)
    return out


def _window(load: Floats, ends: Ends, width: int) -> Floats:
    """The last `width` values before each end, shape (ends, width); before the beginning the first value stands."""
    out: Floats = load[np.maximum(ends[:, None] + np.arange(-width, 0), 0)]
    return out


def _max(load: Floats, ends: Ends, width: int) -> Floats:
    """Of the last `width` values before each end, or of as many as there are."""
    starts = np.maximum(ends - width, 0)
    if len(ends) == 1:
        only: Floats = load[starts[0] : ends[0]].max(keepdims=True)
        return only
    every: Floats = _running_max(load, width)[ends - 1]
    return every


def _running_max(load: Floats, width: int) -> Floats:
    padded = np.concatenate([np.full(width - 1, -np.inf), load])
    return _block_max(padded, width)


def _block_max(values: Floats, width: int) -> Floats:
    """Maximum of every run of `width` values, in one pass forward and one back over blocks of that width."""
    full = np.concatenate([values, np.full(-len(values) % width, -np.inf)]).reshape(-1, width)
    forward = np.maximum.accumulate(full, axis=1).ravel()
    back = np.maximum.accumulate(full[:, ::-1], axis=1)[:, ::-1].ravel()
    count = len(values) - width + 1
    out: Floats = np.maximum(back[:count], forward[width - 1 : width - 1 + count])
    return out


def _max_between(load: Floats, starts: Ends, width: int) -> Floats:
    """Maximum of load[start : start + width] for each start; NaN where that begins before the beginning or ends after the end."""
    inside = (starts >= 0) & (starts + width <= len(load))
    out = np.full(len(starts), np.nan)
    if inside.any():
        out[inside] = _runs(load, starts[inside], width)
    return out


def _runs(load: Floats, starts: Ends, width: int) -> Floats:
    few = len(starts) * 4 < len(load)
    out: Floats = sliding_window_view(load, width)[starts].max(axis=1) if few else _block_max(load, width)[starts]
    return out
