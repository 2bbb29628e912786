"""What a replay leaves behind: a table for people, the decisions as CSV, a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoscaler.simulate.errors import NoPicture
from autoscaler.simulate.fleet import Replicas, warm
from autoscaler.simulate.picture import Series, png, svg
from autoscaler.simulate.score import Rules, Score, late, score
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace

_WIDE = 10
_FORMATS = {".svg": svg, ".png": png}


def table(trace: Trace, first: int, rules: Rules, decisions: Mapping[str, Replicas], hour_cost: float) -> str:
    """The scores as text, one line per policy. `hour_cost`: of one replica, in any currency."""
    days = (len(trace) - first) / MINUTES_PER_DAY
    found = {name: score(trace, first, desired, rules) for name, desired in decisions.items()}
    optimum = next(iter(found.values())).optimum_hours
    head = (
        f"{trace.name}: {days:.1f} days scored, one replica = {rules.capacity:g} requests/min, lead {rules.lead_min} min, "
        f"hold {rules.hold_s:g} s, optimum {optimum:.0f} replica-hours"
    )
    titles = ("policy", "H", *_late_titles(rules), "actions/day", "replica-h", "cost", "worst day")
    width = max(_WIDE, *map(len, found))
    lines = [_columns(titles, width), *(_columns(_cells(name, each, hour_cost), width) for name, each in found.items())]
    return "\n".join([head, *lines])


def legend(hour_cost: float) -> str:
    return (
        "H: replica-hours / optimum. V, V30, V60: % of requests above warm capacity, when each may wait 0, 30, 60 s. "
        f"cost: {hour_cost:g} per replica-hour. worst day: by the hold."
    )


def write_decisions(path: Path, first_minute: int, desired: Replicas) -> None:
    """CSV: minute,desired. Raises: OSError."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("minute", "desired"), *enumerate(desired.tolist(), first_minute)])


def check_picture(path: Path) -> None:
    """Raises: NoPicture: the name ends with no format that can be written."""
    if path.suffix.lower() not in _FORMATS:
        raise NoPicture(f"{path}: the picture's name must end with {' or '.join(_FORMATS)}")


def write_picture(path: Path, trace: Trace, first: int, rules: Rules, desired: Replicas) -> None:
    """SVG or PNG, by the name. Raises: NoPicture, OSError."""
    check_picture(path)
    ready = warm(desired, rules.lead_min).astype(np.float64)
    requests = np.where(trace.gap, 0.0, trace.requests)[first:]
    lost = late(requests, ready * rules.capacity, rules.hold_s) / rules.capacity
    series = Series(requests / rules.capacity, ready, desired.astype(np.float64), lost)
    path.write_bytes(_FORMATS[path.suffix.lower()](series))


def _late_titles(rules: Rules) -> tuple[str, ...]:
    return tuple(f"V{hold_s:g} %" if hold_s else "V %" for hold_s in rules.holds_s)


def _cells(name: str, result: Score, hour_cost: float) -> tuple[str, ...]:
    return (
        name,
        f"{result.hours_ratio:.3f}",
        *(f"{percent:.3f}" for percent in result.late_percent.values()),
        f"{result.actions_per_day:.0f}",
        f"{result.replica_hours:.0f}",
        f"{result.replica_hours * hour_cost:.0f}",
        f"{result.worst_day} ({result.worst_day_percent:.3f} %)",
    )


def _columns(cells: tuple[str, ...], width: int) -> str:
    return f"{cells[0]:{width}}" + "".join(f"{cell:>12}" for cell in cells[1:-1]) + f"{cells[-1]:>15}"
