"""What one pass leaves in the metrics: the numbers of a model's status, as dashboards and monitors read them.

Law: a gauge has no age, so what is not known in this pass is taken back and not left standing. Counts are the leader's alone: every
autoscaler of a fleet sees the same replica become warm, and it became warm once.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.board import Status, counts
from autoscaler.capacity import Capacity
from autoscaler.forecast.question import Forecast
from autoscaler.signals import Unknown
from fleet.metrics import BOUNDS, COLD_START, DECISIONS, FAILED_STARTS, FORECAST, GPUS, LEVEL, LOAD, REPLICAS, Metric
from fleet.model import Model
from fleet.recorder import Recorder
from fleet.state import Level

LEVELS: Mapping[Level, int] = {"low": 0, "medium": 1, "high": 2, "failure": 3}


def tell(recorder: Recorder, status: Status, model: Model, *, leads: bool) -> None:
    name = model.name
    known = status.capacity
    replicas = {} if isinstance(known, Unknown) else counts(known)
    _row(recorder, REPLICAS, name, {state: replicas.get(state) for state in counts(Capacity(0))})
    _row(recorder, FORECAST, name, _forecast(status))
    _row(recorder, LOAD, name, status.load)
    _row(recorder, BOUNDS, name, {"min": model.replicas.min, "max": model.replicas.max})
    recorder.gauge(LEVEL, name, value=LEVELS[status.level])
    if isinstance(known, Unknown):
        recorder.gauges.pop((GPUS, (name,)), None)
    else:
        recorder.gauge(GPUS, name, value=known.placed * model.gpus)
    if leads:
        _count(recorder, status)


def _count(recorder: Recorder, status: Status) -> None:
    if status.reason:
        recorder.count(DECISIONS, status.model, status.direction, status.reason)
    for seconds in status.started_s:
        recorder.observe(COLD_START, status.model, seconds=seconds)
    if status.failed:
        recorder.count(FAILED_STARTS, status.model, by=len(status.failed))


def _forecast(status: Status) -> Mapping[str, float | None]:
    made = status.forecast
    if isinstance(made, Forecast):
        return {"wanted": made.desired, "low": made.low, "high": made.high}
    return {"wanted": None, "low": None, "high": None}


def _row(recorder: Recorder, metric: Metric, model: str, values: Mapping[str, float | None]) -> None:
    """One gauge per second tag; None takes it back."""
    for tag, value in values.items():
        if value is None:
            recorder.gauges.pop((metric, (model, tag)), None)
        else:
            recorder.gauge(metric, model, tag, value=value)
