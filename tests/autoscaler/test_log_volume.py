"""The rule over two models by log volume: 1 MB, a large and then a small one, doubling, and back."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.policies.log_volume import TABLE, Event, Phase, Sight, State, first, step, votes
from autoscaler.signals import Known, Partial, Signal, Unknown
from fleet.policy import LogVolume

RULE = LogVolume(large="large", small="small")
MB = 1_000_000


def sight(at: float, volume: float | Signal, *, used: float | Signal = 0.0, ready: int = 1, most: int = 4) -> Sight:
    signals = [Known(float(x), 1.0) if isinstance(x, int | float) else x for x in (volume, used)]
    return Sight(at, signals[0], [signals[1]], ready, 1, most)


def wanted(state: State) -> dict[str, int]:
    return {model: vote.wanted for model, vote in votes(state, RULE, least=1).items()}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(product(get_args(Phase), get_args(Event)))


def test_the_whole_story() -> None:
    state = first(RULE)
    assert (state.threshold_bytes, wanted(state)) == (MB, {})
    state = step(state, RULE, sight(10, MB))
    assert wanted(state) == {}  # at the threshold is not above it
    state = step(state, RULE, sight(20, MB + 1))
    assert wanted(state) == {"large": 2}  # the large one first
    state = step(state, RULE, sight(21, MB + 1))
    assert wanted(state) == {"large": 2, "small": 1}  # then the small one
    state = step(state, RULE, sight(60, 5 * MB))
    assert (wanted(state), state.threshold_bytes) == ({"large": 2, "small": 1}, MB)  # it loads: nothing more is started
    state = step(state, RULE, sight(200, 1.5 * MB, used=1.0, ready=2))
    assert (wanted(state), state.threshold_bytes) == ({"large": 2, "small": 1}, 2 * MB)  # started: the threshold doubles
    state = step(state, RULE, sight(210, 1.5 * MB, used=1.0, ready=2))
    assert wanted(state) == {"large": 2, "small": 1}
    state = step(state, RULE, sight(220, 2.5 * MB, used=1.0, ready=2))
    assert wanted(state) == {"large": 3, "small": 1}
    state = step(state, RULE, sight(221, 2.5 * MB, used=1.0, ready=3))
    state = step(state, RULE, sight(222, 2.5 * MB, used=1.0, ready=3))
    assert state.threshold_bytes == 4 * MB
    state = step(state, RULE, sight(232, 0.5 * MB, used=1.0, ready=3))
    assert wanted(state) == {"large": 3, "small": 1}  # somebody still uses the small one
    state = step(state, RULE, sight(242, 1.5 * MB, used=0.0, ready=3))
    assert wanted(state) == {"large": 3, "small": 1}  # below the threshold now, and not below the first one
    state = step(state, RULE, sight(252, 0.5 * MB, used=0.0, ready=3))
    assert (state.threshold_bytes, wanted(state)) == (MB, {})


def test_it_looks_every_ten_seconds() -> None:
    looked = step(first(RULE), RULE, sight(10, 2 * MB))
    resting = step(step(looked, RULE, sight(11, 2 * MB)), RULE, sight(12, 2 * MB, ready=2))
    assert resting.threshold_bytes == 2 * MB
    assert step(resting, RULE, sight(19.9, 3 * MB, ready=2)) == resting
    assert step(resting, RULE, sight(20, 3 * MB, ready=2)).larges == 2


@pytest.mark.parametrize("volume", [Unknown("Datadog is silent"), Partial(0.0, 1.0, "half")])
def test_what_is_not_known_is_not_quiet(volume: Signal) -> None:
    busy = State(2 * MB, larges=1, small=True)
    assert step(busy, RULE, sight(100, volume)) == busy


@pytest.mark.parametrize("used", [Unknown("silent"), Partial(0.0, 1.0, "half"), Known(0.1, 1.0)])
def test_a_small_model_that_may_be_in_use_stays(used: Signal) -> None:
    busy = State(2 * MB, larges=1, small=True)
    assert step(busy, RULE, sight(100, 0, used=used)) == busy


def test_a_part_of_the_volume_is_enough_to_start() -> None:
    assert step(first(RULE), RULE, sight(10, Partial(2.0 * MB, 1.0, "half"))).larges == 1


def test_at_its_maximum_only_the_small_one_is_started() -> None:
    state = step(first(RULE), RULE, sight(10, 2 * MB, most=1))
    assert (wanted(state), state.phase, state.threshold_bytes) == ({"small": 1}, "rest", MB)


def test_nothing_to_take_back_is_no_change() -> None:
    rested = first(RULE)
    assert step(rested, RULE, sight(10, 0.0)) == rested


stories = st.lists(st.tuples(st.floats(0, 20 * MB), st.floats(0, 1), st.integers(0, 5)), max_size=60)


@given(stories)
def test_in_every_story_the_threshold_doubles_once_for_each_large_start_and_stays_in_bounds(story: list[tuple[float, float, int]]) -> None:
    state = first(RULE)
    for number, (volume, used, ready) in enumerate(story):
        state = step(state, RULE, sight(10.0 * number, volume, used=used, ready=ready))
        started = state.larges - (state.phase != "rest")
        assert state.threshold_bytes == MB * 2**started
        assert all(1 <= count <= 4 for count in wanted(state).values())
