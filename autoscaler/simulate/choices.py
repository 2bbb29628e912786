"""Policies by the names that the command line knows them by.

static, nomad, reactive     baselines, none of which looks ahead (policies.py)
fleet                       the rules of a model of fleet.toml, all together, through decide()
forecast, target, spare     one rule with its defaults, through decide(); several together as forecast+target
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from autoscaler.forecast.forecaster import Forecaster
from autoscaler.forecast.learner import Learner
from autoscaler.forecast.question import Question
from autoscaler.simulate.ahead import DayAhead
from autoscaler.simulate.forecasting import Forecasting
from autoscaler.simulate.policies import Policy, Reactive, Static, Target, needed
from autoscaler.simulate.production import Production
from autoscaler.simulate.task import Task
from fleet.model import Model
from fleet.policy import Policy as Rule

FLEET = "fleet"
_HELD_MIN = 30

BASELINES: Mapping[str, Callable[[Task], Policy]] = {
    "static": lambda task: Static(task.bounds.clip(_peak(task))),
    "nomad": lambda task: Target(task.rules.capacity, task.bounds),
    "reactive": lambda task: Reactive(task.rules.capacity, task.bounds, held_min=_HELD_MIN),
}
RULES: Mapping[str, Callable[[Task], Rule]] = {
    "forecast": lambda task: Rule(kind="forecast", price=task.price, hold_s=task.rules.hold_s),
    "target": lambda _: Rule(kind="target", signal="requests_per_min"),
    "spare": lambda _: Rule(kind="spare", signal="requests_per_min", replicas=1),
}


def is_choice(name: str) -> bool:
    return name in BASELINES or name == FLEET or all(part in RULES for part in name.split("+"))


def forecasts(name: str, task: Task) -> bool:
    """Whether a learner is of use."""
    return name not in BASELINES and any(rule.kind == "forecast" for rule in _model(name, task).policy)


def build(name: str, task: Task, learner: Learner | None) -> Policy:
    """A fresh policy; `is_choice(name)`. Without a learner a forecast stays reactive."""
    if name in BASELINES:
        return BASELINES[name](task)
    model = _model(name, task)
    return Production(model, task.autoscaler, task.rules.lead_min, _forecasting(model, task, learner), task.gpus_elsewhere)


def _model(name: str, task: Task) -> Model:
    return task.model if name == FLEET else replace(task.model, policy=tuple(RULES[part](task) for part in name.split("+")))


def _forecasting(model: Model, task: Task, learner: Learner | None) -> Forecasting | None:
    for rule in model.policy:
        if rule.kind == "forecast":
            bounds = task.bounds
            question = Question(task.rules.capacity, task.rules.lead_min, rule.hold_s, bounds.low, bounds.high, rule.price)
            forecaster = Forecaster(question, answers=DayAhead(task.trace))
            return Forecasting(forecaster, learner, task.trace.first_minute + task.first)
    return None


def _peak(task: Task) -> int:
    return needed(float(task.trace.requests[task.first :].max()), task.rules.capacity)
