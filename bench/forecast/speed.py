"""How long deciding takes: for 100 models in one pass, and for a month of one model, with and without a learner.

    OMP_NUM_THREADS=1 python -m bench.forecast.speed [--save]

Bars: 100 models in 100 ms; a month of minutes with daily refits in 60 s, without a learner in 5 s; a refit beside the loop lets it
turn. Times are CPU seconds of this process, since the machine is shared; the exit code is 1 where a bar is missed. `--save` keeps
the table in results/<date>.md. The traffic is made up (synthetic.py): what is measured does not depend on its shape. CPU time grows too
where others fill the caches, so the head of the table says how many programs ran.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import numpy as np

from autoscaler.capacity import Capacity, Replica
from autoscaler.decide import Case, Memory, Snapshot, decide_all
from autoscaler.forecast.forecaster import Forecaster
from autoscaler.forecast.learner import Learner, lightgbm_learner
from autoscaler.forecast.question import Forecast, Question
from autoscaler.forecast.training import refit
from autoscaler.signals import CONCURRENCY, REQUESTS_PER_MIN, Known
from autoscaler.simulate.choices import build
from autoscaler.simulate.replay import replay
from autoscaler.simulate.task import Numbers, Task, task_of
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace
from bench.forecast import synthetic
from fleet.model import Autoscaler, Model, Replicas
from fleet.model import Capacity as PerReplica
from fleet.policy import Policy

RESULTS = Path(__file__).parent / "results"
_HISTORY_DAYS, _DAYS = 7, 30
_MODELS, _REPLICAS = 100, 12
_NOW = 1_800_000_000.0
_TURN_S = 0.01


@dataclass(frozen=True, slots=True)
class Measure:
    """`bar` and `got` in `unit`; less is better."""

    what: str
    got: float
    bar: float
    unit: str

    @property
    def line(self) -> str:
        return f"| {self.what} | {self.got:.3g} {self.unit} | {self.bar:g} {self.unit} | {'kept' if self.got <= self.bar else 'MISSED'} |"


def month() -> Task:
    """Two weeks of made-up traffic again and again: 7 days of history and 30 scored ones."""
    made = synthetic.growth()
    minutes = (_HISTORY_DAYS + _DAYS) * MINUTES_PER_DAY
    trace = Trace("month", 0, np.resize(made.requests, minutes), np.resize(made.gap, minutes))
    return task_of(trace, Numbers(peak_replicas=20, history_days=_HISTORY_DAYS))


def cases() -> list[Case]:
    """Models with all kinds of rules that are cheap to describe, each with replicas, and signals that are known."""
    rules = (Policy(kind="forecast"), Policy(), Policy(kind="schedule", cron="0 8 * * 1-5", duration_s=3600, replicas=3))
    model = Model(
        name="model",
        engine="llamacpp",
        weights="w",
        replicas=Replicas(min=1, max=60),
        cold_start_s=900,
        capacity=PerReplica(concurrency=16, requests_per_min=60),
        policy=rules,
    )
    return [Case(replace(model, name=f"model-{at}"), _snapshot(at), Memory()) for at in range(_MODELS)]


def _snapshot(at: int) -> Snapshot:
    idle = Known(0.0, 1.0)
    replicas = tuple(Replica(f"alloc-{at}-{index}", index, "ready", True, _NOW - 3600, requests=idle) for index in range(_REPLICAS))
    load = _REPLICAS * (0.2 + at / _MODELS)
    return Snapshot(
        at=_NOW,
        capacity=Capacity(_REPLICAS, replicas),
        signals={CONCURRENCY: Known(16 * load, 1.0), REQUESTS_PER_MIN: Known(60 * load, 1.0)},
        scaled_at=(_NOW - 2000, _NOW - 700),
        lead_s=900,
        forecast=Forecast(_REPLICAS + at % 3 - 1, 3, 14, 0, "made up"),
    )


def deciding() -> Measure:
    asked, autoscaler = cases(), Autoscaler()
    spent = min(_cpu_s(lambda: decide_all(asked, autoscaler)) for _ in range(20))
    return Measure(f"decide for {_MODELS} models", 1000 * spent, 100, "ms")


def forecasting(learner: Learner | None) -> Measure:
    """The part of a pass that is heavier than deciding: one answer of each model's forecaster, once a minute."""
    forecaster = _taught(learner)
    minute = synthetic.growth().requests
    spent = []
    for at in range(60):
        now = len(minute) + at
        forecaster.observe(now - 1, float(minute[at]))
        spent.append(_cpu_s(partial(forecaster.desired, now)))
    return Measure(f"forecasts of {_MODELS} models, once a minute", 1000 * _MODELS * float(np.median(spent)), 1000, "ms")


def replaying(policy: str, learner: Learner | None, bar_s: float) -> Measure:
    task = month()
    days = _DAYS
    with click.progressbar(length=days, label=policy, file=sys.stderr) as bar:
        spent = _cpu_s(lambda: replay(task.trace, task.first, build(policy, task, learner), lambda _minutes: bar.update(1)))
    return Measure(f"{_DAYS} days of minutes, {policy}", spent, bar_s, "s")


def refitting(learner: Learner | None) -> Iterator[Measure]:
    forecaster = _taught(learner)
    if learner is None:
        return
    longest_s, took_s = asyncio.run(_longest_pause(lambda: refit(forecaster.window(), forecaster.question, learner)))
    yield Measure("longest pause of the loop while a refit runs beside it, of the refit's time", longest_s / took_s, 0.25, "parts")


async def _longest_pause(work: Callable[[], object]) -> tuple[float, float]:
    """While `work` runs in a thread, the longest time between two turns of an event loop that wants one every 10 ms."""
    task = asyncio.create_task(asyncio.to_thread(work))
    started = last = time.perf_counter()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(_TURN_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest, time.perf_counter() - started


def _taught(learner: Learner | None) -> Forecaster:
    made = synthetic.growth()
    forecaster = Forecaster(Question(float(made.requests.max()) / 20, 15, 30, 1, 60))
    for minute, count in enumerate(made.requests.tolist()):
        forecaster.observe(minute, count)
    if learner is not None:
        forecaster.adopt(refit(forecaster.window(), forecaster.question, learner))
    return forecaster


def _cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measures(learner: Learner | None) -> Iterator[Measure]:
    yield deciding()
    yield forecasting(learner)
    for policy in ("target", "target+spare", "reactive", "nomad"):
        yield replaying(policy, None, 5)
    yield replaying("forecast", learner, 60)
    yield from refitting(learner)


@click.command()
@click.option("--save", is_flag=True, help="keep the table in results/")
def main(save: bool) -> None:
    """Print the table in Markdown, and end with 1 where a bar is missed."""
    found = []
    for measure in measures(lightgbm_learner()):
        found.append(measure)
        click.echo(measure.line)
    when = datetime.now(UTC).date().isoformat()
    busy = f"{os.getloadavg()[1]:.0f} programs wanted its {os.cpu_count()} cores"
    head = f"{when}, Python {platform.python_version()}, {platform.machine()}, CPU time on a machine where {busy}."
    text = "\n".join([head, "", "| what | took | bar | |", "|---|---|---|---|", *(measure.line for measure in found)])
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{when}-speed.md").write_text(f"# How long deciding takes\n\n{text}\n")
    sys.exit(int(any(measure.got > measure.bar for measure in found)))


if __name__ == "__main__":
    main()
