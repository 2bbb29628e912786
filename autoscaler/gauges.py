"""What one pass leaves in the metrics: the numbers of a model's status, as dashboards and monitors read them.

Law: they are the leader's alone. Every autoscaler of a fleet sees the same replicas, and a sum over all who report must count them once.
A gauge has no age, so what is not known in this pass, or is another's to tell now, is taken back and not left standing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoscaler.board import Status, counts
from autoscaler.capacity import Capacity
from autoscaler.forecast.question import Forecast
from autoscaler.signals import Unknown
from fleet.metrics import BLOCKED, BOUNDS, COLD_START, DECISIONS, FAILED_STARTS, FORECAST, GPUS, LEVEL, LOAD, REPLICAS, Metric
from fleet.model import Model
from fleet.policy import DEMANDS
from fleet.recorder import Recorder
from fleet.state import Level

Row = Mapping[tuple[str, ...], float | None]
"""Values by the tags after `model`; None: not known."""

LEVELS: Mapping[Level, int] = {"low": 0, "medium": 1, "high": 2, "failure": 3}


def tell(recorder: Recorder, status: Status, model: Model, *, leads: bool) -> None:
    for metric, values in _rows(status, model):
        for tags, value in values.items():
            key = (metric, (model.name, *tags))
            if leads and value is not None:
                recorder.gauges[key] = value
            else:
                recorder.gauges.pop(key, None)
    if leads:
        _count(recorder, status)


def _rows(status: Status, model: Model) -> Iterator[tuple[Metric, Row]]:
    known, made = status.capacity, status.forecast
    replicas = None if isinstance(known, Unknown) else known
    yield REPLICAS, {(state,): count if replicas else None for state, count in counts(replicas or Capacity(0)).items()}
    yield GPUS, {(): replicas.placed * model.gpus if replicas else None}
    yield BOUNDS, {("min",): model.replicas.min, ("max",): model.replicas.max}
    yield LEVEL, {(): LEVELS[status.level]}
    yield BLOCKED, {(): int(status.is_blocked) if replicas else None}
    yield LOAD, {(demand,): status.load.get(demand) for demand in DEMANDS}
    bounds = (made.low, made.desired, made.high) if isinstance(made, Forecast) else (None, None, None)
    yield FORECAST, {("low",): bounds[0], ("wanted",): bounds[1], ("high",): bounds[2]}


def _count(recorder: Recorder, status: Status) -> None:
    if status.reason:
        recorder.count(DECISIONS, status.model, status.direction, status.reason)
    for seconds in status.started_s:
        recorder.observe(COLD_START, status.model, seconds=seconds)
    if status.failed:
        recorder.count(FAILED_STARTS, status.model, by=len(status.failed))
