"""What is known at a minute about whether the j-th replica will be needed: one row of numbers per minute and level asked about.

A level is a number of replicas that others already carry: level j asks about replica j + 1, and its threshold v is (j + .5)
replicas. Decisions are about whole levels; a learner may be shown those between them too. All loads are in replicas and in logs,
so nothing depends on the unit of the counts. Law: the row of index `end` is made from counts[:end] alone. Where history is too
short, a look at an earlier day is NaN and a window is shortened.

Monotone by construction: with all else equal, a higher level is never needed more. `MONOTONE` tells the learner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from autoscaler.forecast.windows import Ends, Floats, last, last_max, max_from

Rows = npt.NDArray[np.float32]
Levels = npt.NDArray[np.intp] | npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rises = tuple[Floats, ...]

DAY = 1440
SLACK_MIN = 6
"""Rises are looked for in the lead time and this much more, and so are needs where requests may wait (training.slack_min)."""
LEAST_REPLICAS = 0.05
"""Loads below this are one: the log of nothing must not outweigh everything else."""

_LEVEL_MIN = 3
_RECENT_MIN = 190
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
_FEW = 8
"""Ends up to which a loop over them costs less than one over the levels."""

MONOTONE = (
    *(-1 for _ in (*_MEANS, *_MAXIMA, *_SAME_TIME, *_SAME_RATIO, "since")),
    *(1 for _ in (*_SHARES, *_SURVIVALS)),
    *(0 for _ in (*_TRENDS, "deviation 30", "steps 30", "steps 180", "sine", "cosine", "time of day")),
)


def levels_of(most: int) -> npt.NDArray[np.intp]:
    """The levels asked about in a fleet of at most `most` replicas: each, and in large fleets about every fortieth part."""
    grown = np.geomspace(_EACH_UP_TO, most, 1 + int(40 * np.log(most / _EACH_UP_TO))) if most > _EACH_UP_TO else np.empty(0)
    return np.unique(np.concatenate([np.arange(min(most, _EACH_UP_TO)), np.ceil(grown - 1e-9).astype(np.intp) - 1]))


def log_thresholds(levels: Levels) -> Floats:
    out: Floats = np.log(levels + 0.5)
    return out


def rows(load: Floats, first_minute: int, ends: Ends, *, levels: Levels, asked: Mask, lead_min: int, rises: Mapping[int, Rises]) -> Rows:
    """Features of what is asked, end by end and level by level, shape (asked.sum(), len(MONOTONE)).

    Args:
        load: demand per minute in replicas, gaps filled. Index 0 is `first_minute` (minutes since a midnight).
        ends: growing indices, from 1 to len(load).
        asked: which levels at which end, shape (ends, levels).
        rises: `rises_at` of the same load and of all these ends.
    """
    at, which = np.nonzero(asked)
    log_v = log_thresholds(levels)[which]
    recent = last(load, ends, _RECENT_MIN)
    parts = [
        log_v[:, None] - _anchors(load, ends, recent, lead_min + SLACK_MIN)[at],
        _since_and_shares(load, ends, levels)[asked],
        _survival((first_minute + ends)[at], log_v - _log_means(recent, (_LEVEL_MIN,))[at, 0], rises),
        _level_free(first_minute + ends, recent)[at],
    ]
    return np.concatenate(parts, axis=1, dtype=np.float32)


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
    rises = _rise(load, ends, span)
    return {hour: _sorted(rises, hour - first_minute - span + 1 - oldest) for hour in wanted}


def _sorted(rises: Floats, known: int) -> Rises:
    return tuple(np.sort(rises[max(0, known - w) : max(0, known)]) for w in _SURVIVALS)


def level(load: Floats, ends: Ends) -> Floats:
    """Log of the mean load of the last three minutes: the present, to which a model's range is tied."""
    return _log(last(load, ends, _LEVEL_MIN).mean(axis=1))


def _anchors(load: Floats, ends: Ends, recent: Floats, span: int) -> Floats:
    """Log loads from which a threshold's distance is taken, shape (ends, anchors)."""
    means = _log_means(recent, _MEANS)
    maxima = _log(np.stack([last_max(load, ends, w) for w in _MAXIMA], axis=1))
    same_time = ends[:, None] - DAY * np.array(_SAME_TIME)
    around = _log(max_from(load, same_time - _AROUND_MIN, span + 2 * _AROUND_MIN))
    ratios = _log_means(recent, (_LEVEL_MIN,)) + np.stack([_rise(load, ends - DAY * days, span) for days in _SAME_RATIO], axis=1)
    return np.concatenate([means, maxima, around, ratios], axis=1)


def _rise(load: Floats, ends: Ends, span: int) -> Floats:
    """How far the `span` minutes after each end rose above the level at it, in logs; NaN before the beginning."""
    rises = _log(max_from(load, ends, span)) - level(load, np.maximum(ends, 1))
    out: Floats = np.where(ends > 0, rises, np.nan)
    return out


def _level_free(minutes: Ends, recent: Floats) -> Floats:
    """What is the same for all levels of a minute: trends, deviations, time of day; shape (ends, columns)."""
    log30 = _log(recent[:, -31:])
    tens = _log(recent.reshape(len(recent), -1, 10).mean(axis=2))
    deviations = [log30[:, 1:].std(axis=1), np.diff(log30, axis=1).std(axis=1), np.diff(tens, axis=1).std(axis=1)]
    trends = _log_means(recent, (_LEVEL_MIN,)) - _log_means(recent, _TRENDS)
    day = minutes % DAY / DAY
    return np.column_stack([trends, *deviations, np.sin(2 * np.pi * day), np.cos(2 * np.pi * day), day])


def _log_means(recent: Floats, widths: tuple[int, ...]) -> Floats:
    return _log(np.stack([recent[:, -w:].mean(axis=1) for w in widths], axis=1))


def _since_and_shares(load: Floats, ends: Ends, levels: Levels) -> Floats:
    """Log minutes since each threshold was reached, and the shares of the last windows in which it was: (ends, levels, 5)."""
    oldest = max(0, int(ends[0]) - _SHARES[-1])
    reached = _reached(load[oldest : ends[-1]], levels)
    out = np.empty((len(ends), len(levels), 1 + len(_SHARES)))
    if len(ends) > _FEW:
        for at in range(len(levels)):
            _of_a_level(reached > at, ends - oldest, out[:, at])
    else:
        for row, end in enumerate(ends - oldest):
            _of_an_end(reached[max(0, end - _SHARES[-1]) : end], out[row])
    np.log(out[:, :, 0], out=out[:, :, 0])
    return out


def _of_a_level(is_above: Mask, ends: Ends, out: Floats) -> None:
    """Minutes since a level was reached, and shares, at each end: into `out`, shape (ends, 5)."""
    total = np.concatenate([[0], is_above.cumsum()])
    last = np.maximum.accumulate(np.where(is_above, np.arange(len(is_above)), -1))[ends - 1]
    out[:, 0] = np.minimum(ends - last, np.minimum(ends, _SHARES[-1]) + 1)
    for column, w in enumerate(_SHARES, start=1):
        out[:, column] = (total[ends] - total[np.maximum(ends - w, 0)]) / np.minimum(ends, w)


def _of_an_end(reached: Ends, out: Floats) -> None:
    """The same of all levels at one end, from the thresholds that each minute before it reached: into `out`, shape (levels, 5)."""
    out[:, 0] = _since(reached, len(out))
    for column, w in enumerate(_SHARES, start=1):
        counts = np.bincount(reached[-w:], minlength=len(out) + 1)
        out[:, column] = counts[:0:-1].cumsum()[::-1] / min(w, len(reached))


def _reached(load: Floats, levels: Levels) -> Ends:
    """How many thresholds each load reaches. Whole levels by table: a search per minute would be most of the cost of a decision."""
    if levels.dtype.kind == "f":
        return np.searchsorted(levels + 0.5, load, side="right")
    most = int(levels[-1]) + 1
    table = np.searchsorted(levels + 1, np.arange(most + 1), side="right")
    out: Ends = table[np.minimum(load + 0.5, most).astype(np.intp)]
    return out


def _since(reached: Ends, levels: int) -> Ends:
    last = np.full(levels + 1, -1, dtype=np.intp)
    last[reached] = np.arange(len(reached))  # of equal indices the last assignment stays
    out: Ends = len(reached) - np.maximum.accumulate(last[::-1])[::-1][1:]
    return out


def _survival(minutes: Ends, distance: Floats, rises: Mapping[int, Rises]) -> Floats:
    """Log share of the past minutes after which the load rose by more than `distance`: (rows, windows). `minutes` grow."""
    out = np.full((len(minutes), len(_SURVIVALS)), np.nan)
    starts, first = np.unique(minutes - minutes % _HOUR, return_index=True)
    for start, begin, end in zip(starts.tolist(), first, [*first[1:], len(minutes)], strict=True):
        for column, known in enumerate(rises[start]):
            if len(known):
                above = len(known) - np.searchsorted(known, distance[begin:end], side="right")
                out[begin:end, column] = np.log(1e-3 + above / len(known))
    return out


def _log(load: Floats) -> Floats:
    out: Floats = np.log(np.maximum(load, LEAST_REPLICAS))
    return out
