"""Made-up traffic, each with a shape of its own and a fixed seed: for looking at a policy that was chosen elsewhere.

    office      five working days and a quiet weekend, mornings that begin within minutes, a lunch break
    growth      a service that doubles in a week, day and night
    launches    on some days, at an hour nobody could know, three times the traffic for an afternoon
    batches     callers that send whole batches: plateaus of an hour on a small base, most of them at full hours
    broken      a plain day curve whose telemetry is lost for minutes to hours, more often when it is busy

Two weeks each, noise as of many independent callers and some that are not. Nothing of it was used to choose anything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace

_DAYS = 14
_MINUTES = _DAYS * MINUTES_PER_DAY

Floats = npt.NDArray[np.float64]


def office() -> Trace:
    minute, day = _clock()
    works = np.where(day % 7 < 5, 1.0, 0.12)
    morning, evening = _edge(minute, 8.5 * 60, 12), _edge(minute, 18 * 60, 45)
    lunch = 1 - 0.35 * (_edge(minute, 12 * 60, 8) - _edge(minute, 13 * 60, 12))
    return _trace("office", 40 + 900 * works * (morning - evening) * lunch, seed=11)


def growth() -> Trace:
    minute, day = _clock()
    daily = 1 + 0.5 * np.sin(2 * np.pi * (minute - 540) / MINUTES_PER_DAY)
    return _trace("growth", 150 * 2 ** ((day + minute / MINUTES_PER_DAY) / 7) * daily, seed=12)


def launches() -> Trace:
    minute, day = _clock()
    chance = np.random.default_rng(13)
    load = 300 * (1 + 0.6 * np.sin(2 * np.pi * (minute - 600) / MINUTES_PER_DAY))
    for launched in (2, 5, 8, 9, 12):
        start, ramp_min = chance.uniform(7, 20) * 60, chance.uniform(4, 90)
        there = np.where(day == launched, _edge(minute, start, ramp_min) * np.exp(-np.maximum(0, minute - start - 120) / 180), 0)
        load = load * (1 + chance.uniform(1.2, 2.6) * there)
    return _trace("launches", load, seed=14)


def batches() -> Trace:
    minute, _ = _clock()
    chance = np.random.default_rng(15)
    load = 120 * (1 + 0.4 * np.sin(2 * np.pi * (minute - 700) / MINUTES_PER_DAY))
    for _ in range(9 * _DAYS):
        start = chance.integers(_MINUTES)
        start -= start % 60 if chance.random() < 0.7 else 0
        load[start : start + int(chance.uniform(20, 90))] += chance.uniform(60, 420)
    return _trace("batches", load, seed=16)


def broken() -> Trace:
    minute, _ = _clock()
    chance = np.random.default_rng(17)
    load = 500 * (1.1 + np.sin(2 * np.pi * (minute - 560) / MINUTES_PER_DAY))
    gap = np.zeros(_MINUTES, dtype=bool)
    for start in np.flatnonzero(chance.random(_MINUTES) < 0.004 * load / load.max()):
        gap[start : start + int(chance.pareto(1.2) * 4) + 1] = True
    return _trace("broken telemetry", load, seed=18, gap=gap)


def _clock() -> tuple[Floats, Floats]:
    """Minute of the day, and day, of each minute."""
    at = np.arange(_MINUTES, dtype=np.float64)
    return at % MINUTES_PER_DAY, at // MINUTES_PER_DAY


def _edge(minute: Floats, middle: float, width_min: float) -> Floats:
    """From 0 to 1 around `middle`."""
    out: Floats = 0.5 + 0.5 * np.tanh((minute - middle) / width_min * 2)
    return out


def _trace(name: str, load: Floats, seed: int, gap: npt.NDArray[np.bool_] | None = None) -> Trace:
    """Counts of a load per minute: independent callers, a common wander of some percent, and a few who call in bursts."""
    chance = np.random.default_rng(seed)
    wander = np.convolve(chance.normal(0, 1, len(load) + 60), np.full(61, 1 / np.sqrt(61)), mode="valid") * 0.06
    bursts = np.where(chance.random(len(load)) < 0.01, chance.exponential(0.25, len(load)), 0)
    counts = chance.poisson(np.maximum(load, 0) * np.exp(wander) * (1 + bursts)).astype(np.float64)
    lost = np.zeros(len(load), dtype=bool) if gap is None else gap
    return Trace(name, 0, np.where(lost, 0.0, counts), lost)
