"""What a pass leaves in the metrics: only what is known now, and only by the one that leads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler import gauges
from autoscaler.board import Status
from autoscaler.forecast.question import Forecast
from autoscaler.signals import Unknown
from fleet import metrics
from fleet.metrics import Metric
from fleet.model import Gpu, Model
from fleet.recorder import Recorder
from tests.autoscaler.build import NOW, fleet, settings

MODEL = settings(least=1, most=4).model
GPU_MODEL = replace(MODEL, engine="vllm", gpu=Gpu(count=2))
DECIDED = Status(
    "small-model",
    NOW,
    "the sentence",
    3,
    direction="up",
    capacity=fleet(3, ready=1, loading=1, missing_why="no GPU is free"),
    level="high",
    forecast=Forecast(3, 2, 4, 0, "why"),
    reason="forecast",
    load={"concurrency": 1.5, "requests_per_min": None},
    started_s=(600.0, 620.0),
    failed=("out of memory",),
    is_blocked=True,
)


def told(*statuses: Status, model: Model = GPU_MODEL, leads: bool = True) -> Recorder:
    recorder = Recorder()
    for status in statuses:
        gauges.tell(recorder, status, model, leads=leads)
    return recorder


@pytest.mark.parametrize(
    ("metric", "tags", "value"),
    [
        (metrics.REPLICAS, ("desired",), 3),
        (metrics.REPLICAS, ("missing",), 1),
        (metrics.REPLICAS, ("loading",), 1),
        (metrics.REPLICAS, ("ready",), 1),
        (metrics.REPLICAS, ("draining",), 0),
        (metrics.BOUNDS, ("min",), 1),
        (metrics.BOUNDS, ("max",), 4),
        (metrics.GPUS, (), 4),
        (metrics.LEVEL, (), 2),
        (metrics.BLOCKED, (), 1),
        (metrics.FORECAST, ("low",), 2),
        (metrics.FORECAST, ("wanted",), 3),
        (metrics.FORECAST, ("high",), 4),
        (metrics.LOAD, ("concurrency",), 1.5),
    ],
)
def test_a_status_is_told_in_gauges(metric: Metric, tags: tuple[str, ...], value: float) -> None:
    assert told(DECIDED).gauges[metric, ("small-model", *tags)] == value


def test_what_is_not_known_any_more_is_taken_back_and_not_left_standing() -> None:
    blind = replace(
        DECIDED,
        capacity=Unknown("Nomad does not answer"),
        forecast=Unknown("no minute has ended yet"),
        load={},
    )
    left = {metric for metric, _ in told(DECIDED, blind).gauges}
    assert left == {metrics.BOUNDS, metrics.LEVEL}


def test_the_leader_counts_and_the_others_do_not() -> None:
    leader, other = told(DECIDED), told(DECIDED, leads=False)
    assert leader.counts[metrics.DECISIONS, ("small-model", "up", "forecast")] == 1
    assert leader.counts[metrics.FAILED_STARTS, ("small-model",)] == 1
    assert sum(leader.distributions[metrics.COLD_START, ("small-model",)].buckets.values()) == 2
    assert not other.counts and not other.distributions


def test_one_that_leads_no_more_leaves_no_level_standing() -> None:
    recorder = told(DECIDED)
    gauges.tell(recorder, DECIDED, GPU_MODEL, leads=False)
    assert recorder.gauges == {}


def test_a_pass_that_held_the_model_decided_nothing() -> None:
    assert not told(replace(DECIDED, reason="", started_s=(), failed=())).counts
