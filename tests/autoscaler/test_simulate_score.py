"""The closed forms of the simulator agree with the slow and plain ones: a fleet replica by replica, an optimum by search."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulate.fleet import warm
from autoscaler.simulate.optimum import optimum_minutes
from autoscaler.simulate.score import Rules, late, score
from autoscaler.simulate.trace import Trace

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=30)


def one_by_one(desired: list[int], lead_min: int) -> list[int]:
    """A fleet as a stack of start times: the youngest is stopped first."""
    started = [-lead_min] * desired[0]
    out = []
    for minute, wanted in enumerate(desired):
        started = started[:wanted] + [minute] * (wanted - len(started))
        out.append(sum(minute - start >= lead_min for start in started))
    return out


@given(COUNTS, st.integers(1, 8))
def test_a_replica_is_warm_once_it_has_run_for_the_lead_time(desired: list[int], lead_min: int) -> None:
    assert warm(np.array(desired), lead_min).tolist() == one_by_one(desired, lead_min)


def searched(busy: list[bool], lead_min: int) -> int:
    """The shortest running time of one replica that is warm in every busy minute, over all ways to run it."""
    ways = itertools.product((0, 1), repeat=len(busy))
    return min(sum(way) for way in ways if all(is_warm or not b for b, is_warm in zip(busy, _warmth(way, lead_min), strict=True)))


def _warmth(way: tuple[int, ...], lead_min: int) -> list[bool]:
    before = (way[0],) * lead_min + way  # what runs at the start was warm before
    return [all(before[at : at + lead_min + 1]) for at in range(len(way))]


@given(st.lists(st.booleans(), min_size=1, max_size=11), st.integers(1, 4))
def test_the_optimum_is_the_least_of_all_ways_that_miss_nothing(busy: list[bool], lead_min: int) -> None:
    requests = np.array([2.0 if b else 1.0 for b in busy])
    second = searched(busy, lead_min) if any(busy) else 0
    assert optimum_minutes(requests, 1.0, lead_min) == len(busy) + second


def test_a_peak_of_exactly_some_replicas_needs_no_more() -> None:
    assert optimum_minutes(np.full(10, 3.0), 1.0, 15) == 30
    assert optimum_minutes(np.array([0.1 * 3]), 0.1, 15) == 3


@pytest.mark.parametrize(
    ("requests", "capacity", "hold_s", "expected"),
    [
        ([10.0, 10.0], [10.0, 10.0], 0, [0, 0]),
        ([14.0, 10.0], [10.0, 10.0], 0, [4, 0]),
        ([14.0, 10.0], [10.0, 10.0], 30, [0, 0]),  # four wait, and half a minute of capacity may
        ([14.0, 13.0], [10.0, 10.0], 30, [0, 2]),  # seven would wait, five may
        ([14.0, 6.0, 15.0], [10.0, 10.0, 10.0], 30, [0, 0, 0]),  # the backlog drains
        ([5.0], [0.0], 30, [5]),  # nobody waits for a fleet of none
    ],
)
def test_what_is_neither_served_nor_held_is_late(
    requests: list[float], capacity: list[float], hold_s: float, expected: list[float]
) -> None:
    assert late(np.array(requests), np.array(capacity), hold_s).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40))
def test_a_longer_hold_is_never_worse(minutes: list[tuple[int, int]]) -> None:
    requests, capacity = (np.array(column, dtype=float) for column in zip(*minutes, strict=True))
    lost = [late(requests, capacity, hold_s).sum() for hold_s in (0, 10, 30, 60)]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(lost))


def trace_of(requests: list[float], gaps: set[int] = frozenset()) -> Trace:  # type: ignore[assignment]
    gap = np.array([at in gaps for at in range(len(requests))])
    return Trace("t", 0, np.array(requests), gap)


def test_a_score_adds_up() -> None:
    result = score(trace_of([9.0, 10.0, 20.0, 20.0]), 1, np.array([1, 2, 2]), Rules(capacity=10.0, lead_min=1, hold_s=30))
    assert result.replica_hours == pytest.approx(5 / 60)
    assert result.optimum_hours == pytest.approx(6 / 60)  # the second replica must start a minute ahead
    assert result.hours_ratio == pytest.approx(5 / 6)
    assert result.late_percent == pytest.approx({0: 100 * 10 / 50, 30: 100 * 5 / 50, 60: 0})
    assert result.late_held_percent == pytest.approx(100 * 5 / 50)
    assert result.actions_per_day == pytest.approx(1440 / 3)
    assert (result.worst_day, result.worst_day_percent) == (1, pytest.approx(10))


def test_the_worst_day_is_found() -> None:
    requests = [1.0] * 1440 + [2.0] * 1440 + [1.0] * 100
    result = score(trace_of(requests), 0, np.ones(2980, dtype=int), Rules(1.0, 15, 0))
    assert (result.worst_day, result.worst_day_percent) == (2, pytest.approx(50))


def test_a_gap_is_billed_and_not_scored() -> None:
    result = score(trace_of([10.0, 99.0, 10.0], {1}), 0, np.array([1, 1, 1]), Rules(10.0, 1, 0))
    assert result.replica_hours == pytest.approx(3 / 60)
    assert (result.late_held_percent, result.hours_ratio) == (0, 1)


def test_a_minute_of_a_billion_replicas_is_as_quick_as_any() -> None:
    assert optimum_minutes(np.array([1.0, 1e9, 3.0]), 1.0, 1) == 3 + (1 + 1 + 1) * 2 + (1 + 1) * (10**9 - 3)
