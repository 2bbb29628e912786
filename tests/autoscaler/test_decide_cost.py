"""What a decision costs, in calls of functions, which no other load on the machine changes. Times are measured in bench/forecast."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import numpy as np

from autoscaler.decide import Case, Memory, Snapshot, decide_all
from autoscaler.forecast.question import Forecast
from autoscaler.signals import Known
from autoscaler.simulate.choices import build
from autoscaler.simulate.replay import replay
from autoscaler.simulate.task import Numbers, task_of
from autoscaler.simulate.trace import Trace
from fleet.model import Autoscaler, Policy
from tests.autoscaler.build import NOW, fleet, settings

ONE_DECISION_CALLS = 300
ONE_MINUTE_CALLS = 160


def calls(work: Callable[[], object]) -> int:
    """How many functions were called, Python's own and built-in ones."""
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return counted


def cases(number: int) -> list[Case]:
    rules = (Policy(kind="forecast"), Policy(), Policy(kind="spare", replicas=1))
    model = settings(most=60, policy=rules).model
    load = Known(14.0, 1.0)
    seen = Snapshot(NOW, fleet(12), {"concurrency": load, "requests_per_min": load}, forecast=Forecast(11, 3, 14, 0, "made up"))
    return [Case(replace(model, name=f"model-{at}"), seen, Memory()) for at in range(number)]


def test_a_hundred_models_cost_a_hundred_times_one_and_one_costs_little() -> None:
    ten, hundred = (calls(lambda number=number: decide_all(cases(number), Autoscaler())) for number in (10, 100))
    assert hundred <= 10.5 * ten
    assert hundred / 100 <= ONE_DECISION_CALLS


def test_a_minute_of_a_replay_costs_the_same_on_the_last_day_as_on_the_first() -> None:
    def days(number: int) -> int:
        load = 400 + 300 * np.sin(np.arange(1440 * number) / 1440 * 2 * np.pi)
        task = task_of(Trace("t", 0, np.round(load), np.zeros(len(load), dtype=bool)), Numbers(capacity=50, history_days=0))
        return calls(lambda: replay(task.trace, task.first, build("target", task, None)))

    one, two, three = map(days, (1, 2, 3))
    assert three - two <= 1.1 * (two - one)
    assert three / (3 * 1440) <= ONE_MINUTE_CALLS
