"""The load level of a model, with its hysteresis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.capacity import Capacity
from autoscaler.level import level
from autoscaler.signals import Known, Signal, Unknown
from fleet.policy import Policy
from fleet.state import Level
from tests.autoscaler.build import fleet, settings

ONE = {"concurrency": 2.0, "requests_per_min": 60.0}


def level_of(seen: Capacity, demand: Signal, last: Level, *policies: Policy) -> Level:
    model = settings(policy=policies).model
    return level(model, ONE, seen.desired, seen.ready, {"concurrency": demand}, last=last)


@pytest.mark.parametrize(
    ("seen", "demand", "last", "expected"),
    [
        (fleet(2, ready=0, loading=2), Known(0.0, 0.0), "low", "failure"),
        (fleet(2), Known(0.5, 0.0), "high", "low"),
        (fleet(2), Known(1.5, 0.0), "low", "medium"),
        (fleet(2), Known(2.9, 0.0), "low", "high"),
        (fleet(2), Known(2.6, 0.0), "high", "high"),  # 93 % of the target
        (fleet(2), Known(2.6, 0.0), "medium", "medium"),
        (fleet(2), Known(2.5, 0.0), "high", "medium"),  # 89 %
        (fleet(2), Known(1.3, 0.0), "medium", "medium"),  # 46 %
        (fleet(2), Known(1.3, 0.0), "high", "medium"),
        (fleet(2), Known(1.3, 0.0), "low", "low"),
        (fleet(2), Known(1.1, 0.0), "medium", "low"),  # 39 %
        (fleet(2), Known(1.3, 0.0), "failure", "low"),  # a failure that is over has no level to stay at
        (fleet(2, ready=1, loading=1), Known(1.5, 0.0), "low", "high"),  # only what is ready serves
        (fleet(0), Known(0.0, 0.0), "high", "low"),
        (fleet(0), Known(0.5, 0.0), "low", "high"),
        (fleet(2), Unknown("no"), "high", "high"),
        (fleet(2), Unknown("no"), "failure", "low"),
    ],
)
def test_the_level_follows_demand_with_hysteresis(seen: Capacity, demand: Signal, last: Level, expected: Level) -> None:
    assert level_of(seen, demand, last, Policy()) == expected


def test_without_a_target_the_default_one_counts() -> None:
    floor = Policy(kind="schedule", cron="0 8 * * *", duration_s=60.0, replicas=1)
    assert level_of(fleet(2), Known(2.9, 0.0), "low", floor) == "high"


@given(st.floats(0, 10), st.sampled_from(["low", "medium", "high"]))
def test_a_level_that_was_reached_stays_reached(demand: float, last: Level) -> None:
    now = level_of(fleet(2), Known(demand, 0.0), last, Policy())
    assert level_of(fleet(2), Known(demand, 0.0), now, Policy()) == now
