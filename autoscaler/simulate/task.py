"""What is replayed: a trace cut to its days, the model with its rules, and what the result is scored by.

The numbers come from the options; where a model of fleet.toml is named, what they leave open comes from its description, and where
none is, from the defaults of this module. The virtual world is told the model's capacity, bounds and lead time only as they end up here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoscaler.simulate.errors import MalformedTrace
from autoscaler.simulate.policies import Bounds
from autoscaler.simulate.production import REPLAYED
from autoscaler.simulate.score import Rules
from autoscaler.simulate.trace import MINUTES_PER_DAY, Trace
from fleet.model import Autoscaler, Capacity, Model, Replicas, Spec
from fleet.policy import PRICE, Policy

_BOUNDS = (1, 60)
_LEAD_MIN = 15
_HISTORY_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """As the caller gave them; None: not given. Exactly one of `peak_replicas` and `capacity` may be given, or a model is named."""

    lead_min: int | None = None
    peak_replicas: float | None = None
    capacity: float | None = None
    history_days: int | None = None
    days: int | None = None
    hold_s: float = 30.0
    least: int | None = None
    most: int | None = None
    price: float = PRICE


@dataclass(frozen=True, slots=True)
class Task:
    """`first`: index of the first scored minute. `model`: with its rules, none where no description is used."""

    trace: Trace
    first: int
    rules: Rules
    model: Model
    price: float
    autoscaler: Autoscaler = field(default_factory=Autoscaler)
    gpus_elsewhere: int = 0

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.model.replicas.min, self.model.replicas.max)


def task_of(trace: Trace, numbers: Numbers) -> Task:
    """A trace and numbers alone; no rules.

    Raises:
        MalformedTrace: nothing of the trace would be scored.
    """
    kept, first = _cut(trace, numbers)
    capacity = _capacity(kept, first, numbers, 0.0)
    least, most = _BOUNDS
    nobody = Model(
        name="trace",
        engine="llamacpp",
        weights="none",
        cold_start_s=60.0 * (numbers.lead_min or _LEAD_MIN),
        capacity=Capacity(concurrency=1, requests_per_min=capacity),
        replicas=Replicas(min=least, max=most),
    )
    return _task(kept, first, nobody, numbers)


def task_for(trace: Trace, numbers: Numbers, spec: Spec, name: str) -> tuple[Task, Sequence[str]]:
    """With the rules of a model; and sentences about what of them a trace cannot show.

    Raises:
        MalformedTrace: nothing of the trace would be scored.
        KeyError: no such model.
    """
    kept, first = _cut(trace, numbers)
    model = spec.model(name)
    capacity = replace(model.capacity, requests_per_min=_capacity(kept, first, numbers, model.capacity.requests_per_min))
    shown = [policy for policy in model.policy if _is_replayed(policy)]
    task = _task(kept, first, replace(model, capacity=capacity, policy=tuple(shown)), numbers)
    elsewhere = sum(other.replicas.min * other.gpus for other in spec.models if other.name != name)
    said = [f"{name}: the rule `{p.kind}` is left out: a trace has no {_seen_by(p)}" for p in model.policy if p not in shown]
    if any(name in (rule.large, rule.small) for rule in spec.autoscaler.log_volume):
        said.append(f"{name}: the rule log_volume is left out: a trace has no log volume")
    return replace(task, autoscaler=spec.autoscaler, gpus_elsewhere=elsewhere), said


def _task(trace: Trace, first: int, model: Model, numbers: Numbers) -> Task:
    least, most = numbers.least, numbers.most
    replicas = model.replicas
    bounds = replace(replicas, min=replicas.min if least is None else least, max=replicas.max if most is None else most)
    lead_min = numbers.lead_min or math.ceil(model.cold_start_s / 60)
    rules = Rules(model.capacity.requests_per_min, lead_min, numbers.hold_s)
    return Task(trace, first, rules, replace(model, replicas=bounds, cold_start_s=60.0 * lead_min), numbers.price)


def _capacity(trace: Trace, first: int, numbers: Numbers, described: float) -> float:
    """Requests per minute of one replica. The peak is hindsight, as is any number that an owner knows of the own service."""
    if numbers.capacity is not None:
        return numbers.capacity
    if numbers.peak_replicas is None:
        return described
    peak = float(trace.requests[first:].max())
    if not peak:
        raise MalformedTrace(f"{trace.name}: no requests in the days that are scored: give --capacity, or fewer --history-days")
    return peak / numbers.peak_replicas


def _cut(trace: Trace, numbers: Numbers) -> tuple[Trace, int]:
    """The trace up to the last scored day, and the index of the first scored minute."""
    history_days = _history_days(trace, numbers)
    first = history_days * MINUTES_PER_DAY
    last = len(trace) if numbers.days is None else first + numbers.days * MINUTES_PER_DAY
    kept = Trace(trace.name, trace.first_minute, trace.requests[:last], trace.gap[:last])
    if kept.gap[first:].all():
        days = len(trace) / MINUTES_PER_DAY
        raise MalformedTrace(f"{trace.name}: nothing known after {history_days} of {days:.1f} days: give fewer --history-days")
    return kept, first


def _history_days(trace: Trace, numbers: Numbers) -> int:
    """A week, in which every weekday is seen once; of a trace that is shorter than two, half of it."""
    if numbers.history_days is not None:
        return numbers.history_days
    return min(_HISTORY_DAYS, len(trace) // (2 * MINUTES_PER_DAY))


def _is_replayed(policy: Policy) -> bool:
    return policy.kind in ("forecast", "schedule") or (policy.kind != "arrivals" and policy.signal in REPLAYED)


def _seen_by(policy: Policy) -> str:
    return "session starts" if policy.kind == "arrivals" else policy.signal
