"""The production decide() on a virtual clock: what a replica costs and when it is warm, and that the whole law is in the replay."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulate.fleet import warm
from autoscaler.simulate.production import Production, VirtualFleet
from autoscaler.simulate.replay import replay
from autoscaler.simulate.trace import Trace
from fleet.model import Autoscaler, Capacity, Model, Policy, Replicas

LEAD_MIN = 3
FULL = Policy(kind="target", signal="requests_per_min", target=1.0, tolerance=0.0)
BUSY, QUIET = 50.0, 10.0


def model(*policy: Policy, least: int = 1, most: int = 20) -> Model:
    return Model(
        name="m",
        engine="llamacpp",
        weights="w",
        cold_start_s=60 * LEAD_MIN,
        capacity=Capacity(concurrency=4, requests_per_min=10),
        replicas=Replicas(min=least, max=most),
        policy=policy or (FULL,),
    )


def autoscaler(**change: object) -> Autoscaler:
    return replace(Autoscaler(cooldown_up_s=0, cooldown_down_s=0, scalings_per_hour=1000), **change)


def replayed(requests: list[float | None], of: Model | None = None, **change: object) -> list[int]:
    gap = np.array([count is None for count in requests])
    trace = Trace("t", 0, np.array([count or 0.0 for count in requests]), gap)
    return replay(trace, 1, Production(of or model(), autoscaler(**change), LEAD_MIN)).tolist()


def test_each_minute_is_decided_by_the_one_before_it() -> None:
    assert replayed([QUIET, BUSY, QUIET, QUIET]) == [1, 5, 1]


def test_what_the_first_decision_wants_is_there_and_warm() -> None:
    production = Production(model(), autoscaler(), LEAD_MIN)
    production.observe(0, BUSY)
    assert production.desired(1) == 5
    assert production._fleet.capacity(60.0).ready == 5


def test_a_gap_neither_scales_in_nor_out() -> None:
    assert replayed([BUSY, None, None, QUIET, QUIET]) == [5, 5, 5, 1]


def test_bounds_are_those_of_the_model() -> None:
    assert replayed([QUIET, 1000.0, 0.0, 0.0], model(least=2, most=7)) == [2, 7, 2]


def test_the_first_scaling_waits_for_no_other() -> None:
    assert replayed([BUSY, QUIET, QUIET], cooldown_down_s=1e6, scalings_per_hour=1) == [5, 1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [1, 5, 1, 1, 1, 1]),
        ({"cooldown_down_s": 180.0}, [1, 5, 5, 5, 1, 1]),
        ({"scalings_per_hour": 1}, [1, 5, 5, 5, 5, 5]),
        ({"interval_s": 40.0}, [1, 5, 5, 5, 1, 1]),  # the routers need two intervals to see the victims: more than a minute
        ({"shadow": True}, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_the_whole_law_of_decide_is_in_it(change: dict[str, object], expected: list[int]) -> None:
    assert replayed([QUIET, BUSY, *[QUIET] * 5], **change)[:6] == expected


def test_what_a_spike_ordered_in_many_steps_goes_ten_minutes_after_the_last() -> None:
    made = replayed([*(10.0 * step for step in range(1, 9)), *[QUIET] * 20], scalings_per_hour=6)
    assert made[:18] == [*range(1, 9), *[8] * 9, 1]


def test_of_several_rules_the_safest_wins() -> None:
    floor = Policy(kind="schedule", cron="4 0 * * *", duration_s=120.0, replicas=3)
    assert replayed([QUIET, BUSY, *[QUIET] * 6], model(FULL, floor)) == [3, 5, 3, 3, 3, 1, 1]  # three minutes ahead of 00:04, for two


def test_the_last_replica_goes_when_nobody_asks_and_comes_with_the_first_request() -> None:
    idle = replace(model(FULL, least=0), replicas=Replicas(min=0, max=5, idle_s=120.0))
    assert replayed([QUIET, 0.0, 0.0, 0.0, QUIET, QUIET], idle) == [1, 1, 0, 0, 1]


def test_a_budget_leaves_what_other_models_hold() -> None:
    gpus = replace(model(most=20), engine="vllm")
    production = Production(gpus, autoscaler(gpu_budget=6), LEAD_MIN, gpus_elsewhere=2)
    assert replay(Trace("t", 0, np.array([QUIET, 1000.0, 0.0]), np.zeros(3, dtype=bool)), 1, production).tolist() == [1, 4]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30))
def test_the_virtual_fleet_is_warm_when_the_score_says_so(desired: list[int]) -> None:
    fleet = VirtualFleet(60.0 * LEAD_MIN)
    fleet.scale(desired[0], -1e6)
    ready = []
    for minute, count in enumerate(desired):
        if count != fleet.capacity(60.0 * minute).desired:
            fleet.scale(count, 60.0 * minute)
        ready.append(fleet.capacity(60.0 * minute).ready)
    assert ready == warm(np.array(desired), LEAD_MIN).tolist()
