"""What a replay leaves behind: a table for people, the decisions as CSV, a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoscaler.simulate.fleet import Replicas, warm
from autoscaler.simulate.picture import svg
from autoscaler.simulate.score import Rules, Score, score
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace


def table(trace: Trace, first: int, rules: Rules, decisions: Mapping[str, Replicas]) -> str:
    """The scores as text, one line per policy."""
    days = (len(trace) - first) / MINUTES_PER_DAY
    head = f"{trace.name}: {days:.1f} days scored, one replica = {rules.capacity:g} requests/min, lead {rules.lead_min} min"
    titles = ("policy", "H", "V %", f"V{rules.hold_s:g} %", "actions/day", "replica-h", "optimum-h", "worst day")
    return "\n".join([head, _columns(titles), *(_columns(_cells(n, score(trace, first, d, rules))) for n, d in decisions.items())])


def write_decisions(path: Path, first_minute: int, desired: Replicas) -> None:
    """CSV: minute,desired. Raises: OSError."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("minute", "desired"), *enumerate(desired.tolist(), first_minute)])


def write_picture(path: Path, trace: Trace, first: int, rules: Rules, desired: Replicas) -> None:
    """SVG. Raises: OSError."""
    demand = trace.requests[first:] / rules.capacity
    path.write_text(svg(demand, warm(desired, rules.lead_min).astype(np.float64), desired.astype(np.float64)), encoding="utf-8")


def _cells(name: str, result: Score) -> tuple[str, ...]:
    return (
        name,
        f"{result.hours_ratio:.3f}",
        f"{result.late_percent:.3f}",
        f"{result.late_held_percent:.3f}",
        f"{result.actions_per_day:.0f}",
        f"{result.replica_hours:.0f}",
        f"{result.optimum_hours:.0f}",
        f"{result.worst_day} ({result.worst_day_percent:.3f} %)",
    )


def _columns(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:10}" + "".join(f"{cell:>13}" for cell in cells[1:])
