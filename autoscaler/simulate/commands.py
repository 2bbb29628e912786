"""The command: a trace, policies, a table, and the decisions of the first policy as a file.

    warmfleet simulate --trace FILE.csv --peak-replicas 20 --history-days 7 --out decisions.csv
    warmfleet simulate --from-datadog 30d --model large-model --compare forecast

Exit codes: 0 done; 1 the trace, the description or Datadog cannot be used, or a file not be written; 2 the options are wrong.
Progress goes to standard error. The composition of the simulator: options in, pure parts wired, files out.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from autoscaler.forecast.learner import Learner, lightgbm_learner
from autoscaler.simulate.choices import BASELINES, FLEET, RULES, build, forecasts, is_choice
from autoscaler.simulate.fleet import Replicas
from autoscaler.simulate.from_datadog import read_history
from autoscaler.simulate.replay import replay
from autoscaler.simulate.report import check_picture, legend, table, write_decisions, write_picture
from autoscaler.simulate.task import Numbers, Task, task_for, task_of
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace, read_trace, write_trace
from fleet.commands import Source, described
from fleet.errors import WarmfleetError
from fleet.model import Spec
from fleet.policy import PRICE
from fleet.units import parse_duration

_FILE = click.Path(dir_okay=False, path_type=Path)
_READ = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHORTEST_S = 3600.0
_POSITIVE = click.FloatRange(0, min_open=True)


def _seconds(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    try:
        seconds = None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error
    if seconds is not None and seconds < _SHORTEST_S:
        raise click.BadParameter(f"{value!r} is less than an hour")
    return seconds


def _names(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Of policies; an option may be repeated, and have several with commas between them."""
    names = tuple(name for value in values for name in value.split(","))
    for name in names:
        if not is_choice(name):
            own = ", ".join((FLEET, *RULES))
            raise click.BadParameter(f"{name!r} is no policy: there are {own}, sums such as forecast+target, {', '.join(BASELINES)}")
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, as click has checked it, but for the numbers."""

    trace: Path | None
    from_datadog_s: float | None
    model: str | None
    policies: tuple[str, ...]
    compare: tuple[str, ...]
    baselines: bool
    hour_cost: float
    out: Path | None
    plot: Path | None
    save_trace: Path | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all policies, each once; the first one's decisions are written."""
        first = self.policies or (FLEET if self.model else "forecast",)
        return tuple(dict.fromkeys((*first, *self.compare, *(BASELINES if self.baselines else ()))))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--trace", type=_READ, help="CSV: minute,requests[,gap]")
@click.option("--from-datadog", "from_datadog_s", callback=_seconds, metavar="30d", help="the last days of --model in Datadog, instead")
@click.option("--model", help="rules, bounds, capacity and cold start of this model of the description")
@described
@click.option("--lead-min", type=click.IntRange(1, 240), help="minutes from a start to a warm replica  [default: the model's, or 15]")
@click.option("--peak-replicas", type=_POSITIVE, help="replicas that the largest scored minute fills")
@click.option("--capacity", type=_POSITIVE, help="requests per minute of one replica, instead  [default: the model's]")
@click.option("--history-days", type=click.IntRange(0), help="shown first, not scored  [default: 7, or half of a shorter trace]")
@click.option("--days", type=click.IntRange(1), help="scored days  [default: to the end of the trace]")
@click.option("--hold-s", default=30.0, type=click.FloatRange(0), help="how long a request may wait for its turn")
@click.option("--min", "least", type=click.IntRange(0), help="never fewer replicas  [default: the model's, or 1]")
@click.option("--max", "most", type=click.IntRange(1), help="never more replicas  [default: the model's, or 60]")
@click.option("--price", default=PRICE, type=click.FloatRange(0, 1, min_open=True), help="forecast: least need worth a replica")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[,NAME]",
    callback=_names,
    help="what decides; the first one's decisions go to --out  [default: fleet with --model, else forecast]",
)
@click.option("--compare", multiple=True, metavar="NAME[,NAME]", callback=_names, help="further policies for the same table")
@click.option("--baselines/--no-baselines", default=True, help="show static peak, nomad-autoscaler and reactive beside them")
@click.option("--hour-cost", default=1.0, type=click.FloatRange(0), help="what a replica-hour costs")
@click.option("--out", type=_FILE, help="decisions of the first policy: minute,desired")
@click.option("--plot", type=_FILE, help="the same as a picture: .svg or .png")
@click.option("--save-trace", type=_FILE, help="the trace as CSV, to replay it without Datadog")
def main(source: Source, **given: Any) -> None:
    """Replay recorded traffic, and score what scaling would have done."""
    numbers = Numbers(**{field.name: given.pop(field.name) for field in fields(Numbers)})
    options = Options(**given)
    try:
        _check(options, numbers)
        _run(options, _task(options, numbers, source))
    except (WarmfleetError, OSError) as error:
        click.echo(f"warmfleet: {error}", err=True)
        sys.exit(1)


def _run(options: Options, task: Task) -> None:
    decisions = _replayed(options.names, task)
    main_one = decisions[options.names[0]]
    if options.out is not None:
        write_decisions(options.out, task.trace.first_minute + task.first, main_one)
    if options.plot is not None:
        write_picture(options.plot, task.trace, task.first, task.rules, main_one)
    click.echo(table(task.trace, task.first, task.rules, decisions, options.hour_cost))
    click.echo(legend(options.hour_cost))


def _check(options: Options, numbers: Numbers) -> None:
    if (options.trace is None) == (options.from_datadog_s is None):
        raise click.UsageError("give either --trace or --from-datadog")
    if options.from_datadog_s is not None and options.model is None:
        raise click.UsageError("--from-datadog needs --model: whose history?")
    if FLEET in options.names and options.model is None:
        raise click.UsageError("the policy fleet needs --model: whose rules?")
    given = sum(number is not None for number in (numbers.peak_replicas, numbers.capacity))
    if given > 1 or not (given or options.model):
        raise click.UsageError("give either --peak-replicas or --capacity (or --model, whose capacity is described)")
    if numbers.least is not None and numbers.most is not None and numbers.least > numbers.most:
        raise click.UsageError(f"--min {numbers.least} is above --max {numbers.most}")
    if options.plot is not None:
        check_picture(options.plot)


def _task(options: Options, numbers: Numbers, source: Source) -> Task:
    """Raises: WarmfleetError."""
    spec = source.load().spec if options.model else None
    if spec is not None and options.model not in [model.name for model in spec.models]:
        raise click.UsageError(f"{source.path} has no model {options.model!r}; it has {', '.join(model.name for model in spec.models)}")
    trace = _trace(options, spec)
    if options.save_trace is not None:
        write_trace(options.save_trace, trace)
    if spec is None or options.model is None:
        return task_of(trace, numbers)
    task, said = task_for(trace, numbers, spec, options.model)
    for sentence in said:
        click.echo(sentence, err=True)
    return task


def _trace(options: Options, spec: Spec | None) -> Trace:
    if options.trace is not None:
        return read_trace(options.trace)
    if spec is None or options.model is None or options.from_datadog_s is None:
        raise click.UsageError("give either --trace or --from-datadog")
    with click.progressbar(length=100, label="Datadog", file=sys.stderr) as bar:

        def told(part: float) -> None:
            bar.update(round(100 * part) - bar.pos)

        return asyncio.run(read_history(spec, options.model, os.environ, until=time.time(), length_s=options.from_datadog_s, told=told))


def _replayed(names: tuple[str, ...], task: Task) -> dict[str, Replicas]:
    learner = lightgbm_learner() if any(forecasts(name, task) for name in names) else None
    if learner is None and any(forecasts(name, task) for name in names):
        click.echo("LightGBM is not installed (extra `forecast`): forecasts stay reactive", err=True)
    return {name: decisions_of(name, task, learner) for name in names}


def decisions_of(name: str, task: Task, learner: Learner | None) -> Replicas:
    """Of a policy, for each scored minute; with progress on standard error."""
    days = -(-(len(task.trace) - task.first) // MINUTES_PER_DAY)
    with click.progressbar(length=days, label=f"{name:9}", file=sys.stderr) as bar:
        return replay(task.trace, task.first, build(name, task, learner), lambda _minutes: bar.update(1))
