"""The command: one trace, one or several policies, a table, and the decisions of the first one as a file.

    python -m autoscaler.simulate --trace FILE.csv --peak-replicas 20 --history-days 7 --out decisions.csv

Exit codes: 0 done; 1 the trace cannot be used or a file not be written; 2 the options are wrong. Progress goes to standard error.
The composition of the simulator: options in, pure parts wired, files out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from autoscaler.forecast.forecaster import Forecaster
from autoscaler.forecast.learner import lightgbm_learner
from autoscaler.forecast.question import PRICE, Question
from autoscaler.simulate.errors import MalformedTrace
from autoscaler.simulate.fleet import Replicas
from autoscaler.simulate.forecasting import Forecasting
from autoscaler.simulate.policies import Bounds, Policy, Reactive, Static, Target, needed
from autoscaler.simulate.replay import replay
from autoscaler.simulate.report import table, write_decisions, write_picture
from autoscaler.simulate.score import Rules
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace, read_trace
from fleet.errors import WarmfleetError

_HELD_MIN = 30
_FILE = click.Path(dir_okay=False, path_type=Path)
_POSITIVE = click.FloatRange(0, min_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, as click has checked it."""

    trace: Path
    lead_min: int
    peak_replicas: float | None
    capacity: float | None
    history_days: int
    days: int | None
    hold_s: float
    least: int
    most: int
    price: float
    policies: tuple[str, ...]
    out: Path | None
    plot: Path | None


@dataclass(frozen=True, slots=True)
class Task:
    """A replay to do, but for the policy. `first`: index of the first scored minute."""

    trace: Trace
    first: int
    rules: Rules
    bounds: Bounds
    price: float


def _forecast(task: Task) -> Policy:
    rules, bounds = task.rules, task.bounds
    learner = lightgbm_learner()
    if learner is None:
        click.echo("LightGBM is not installed (extra `forecast`): the policy forecast stays reactive", err=True)
    return Forecasting(Forecaster(Question(rules.capacity, rules.lead_min, rules.hold_s, bounds.low, bounds.high, task.price)), learner)


def _static(task: Task) -> Policy:
    return Static(task.bounds.clip(needed(float(task.trace.requests[task.first :].max()), task.rules.capacity)))


POLICIES: Mapping[str, Callable[[Task], Policy]] = {
    "forecast": _forecast,
    "reactive": lambda task: Reactive(task.rules.capacity, task.bounds, held_min=_HELD_MIN),
    "target": lambda task: Target(task.rules.capacity, task.bounds),
    "static": _static,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--trace", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV: minute,requests[,gap]")
@click.option("--lead-min", default=15, type=click.IntRange(1, 240), help="minutes from a start to a warm replica")
@click.option("--peak-replicas", type=_POSITIVE, help="replicas that the largest scored minute fills")
@click.option("--capacity", type=_POSITIVE, help="requests per minute of one replica, instead")
@click.option("--history-days", default=7, type=click.IntRange(0), help="shown to the policy first, not scored")
@click.option("--days", type=click.IntRange(1), help="scored days; default: to the end of the trace")
@click.option("--hold-s", default=30.0, type=click.FloatRange(0), help="how long a request may wait for its turn")
@click.option("--min", "least", default=1, type=click.IntRange(0), help="never fewer replicas")
@click.option("--max", "most", default=60, type=click.IntRange(1), help="never more replicas")
@click.option("--price", default=PRICE, type=click.FloatRange(0, 1, min_open=True), help="forecast: least need worth a replica")
@click.option(
    "--policy", "policies", multiple=True, default=("forecast",), type=click.Choice(list(POLICIES)), help="may be given several times"
)
@click.option("--out", type=_FILE, help="decisions of the first policy: minute,desired")
@click.option("--plot", type=_FILE, help="the same as an SVG picture")
def main(**given: Any) -> None:
    """Replay recorded traffic through scaling policies and score what they would have cost and missed."""
    options = Options(**given)
    if (options.peak_replicas is None) == (options.capacity is None):
        raise click.UsageError("give either --peak-replicas or --capacity")
    if options.least > options.most:
        raise click.UsageError(f"--min {options.least} is above --max {options.most}")
    try:
        _run(options)
    except (WarmfleetError, OSError) as error:
        click.echo(f"warmfleet: {error}", err=True)
        sys.exit(1)


def _run(options: Options) -> None:
    task = task_of(options)
    decisions = {name: _decisions(name, task) for name in options.policies}
    main_one = decisions[options.policies[0]]
    if options.out is not None:
        write_decisions(options.out, task.trace.first_minute + task.first, main_one)
    if options.plot is not None:
        write_picture(options.plot, task.trace, task.first, task.rules, main_one)
    click.echo(table(task.trace, task.first, task.rules, decisions))


def task_of(options: Options) -> Task:
    """What the options ask for.

    Raises:
        MalformedTrace: the file is not a trace, or nothing of it would be scored.
    """
    trace, first = _cut(read_trace(options.trace), options.history_days, options.days)
    capacity = options.capacity or float(trace.requests[first:].max()) / (options.peak_replicas or 1.0)
    rules = Rules(capacity, options.lead_min, options.hold_s)
    return Task(trace, first, rules, Bounds(options.least, options.most), options.price)


def _cut(trace: Trace, history_days: int, days: int | None) -> tuple[Trace, int]:
    """The trace up to the last scored day, and the index of the first scored minute."""
    first = history_days * MINUTES_PER_DAY
    last = len(trace) if days is None else first + days * MINUTES_PER_DAY
    kept = Trace(trace.name, trace.first_minute, trace.requests[:last], trace.gap[:last])
    if not kept.requests[first:].any():
        raise MalformedTrace(f"{trace.name}: no requests after {history_days} days of history: give fewer --history-days")
    return kept, first


def _decisions(name: str, task: Task) -> Replicas:
    days = (len(task.trace) - task.first) // MINUTES_PER_DAY
    with click.progressbar(length=days, label=f"{name:9}", file=sys.stderr) as bar:
        return replay(task.trace, task.first, POLICIES[name](task), lambda _minutes: bar.update(1))
