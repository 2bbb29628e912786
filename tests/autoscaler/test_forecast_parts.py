"""The parts of the forecaster: what is kept, what is learnt from it, and how answers are held."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.forecast.blend import MODELS, joined
from autoscaler.forecast.features import MONOTONE, SLACK_MIN, hours, levels_of, rises_at, rows
from autoscaler.forecast.holding import COLD_MIN, HELD_MIN, Held, Worth, hold
from autoscaler.forecast.labels import ahead, needs, whole
from autoscaler.forecast.question import Question
from autoscaler.forecast.series import KEPT_MIN, Series, Window
from autoscaler.forecast.training import Fitted, refit, slack_min

LEAD_MIN = 5
LEVELS = levels_of(12)


def series_of(*counts: float | None, first_minute: int = 0) -> Series:
    series = Series()
    for minute, count in enumerate(counts, first_minute):
        series.observe(minute, count)
    return series


def shown(series: Series) -> tuple[int, list[float], list[bool]]:
    window = series.view()
    return window.first_minute, window.counts.tolist(), window.gap.tolist()


class TestSeries:
    def test_in_a_gap_the_mean_before_it_stands(self) -> None:
        assert shown(series_of(3, 9, None, None, 5, first_minute=7)) == (7, [3, 9, 6, 6, 5], [False, False, True, True, False])

    def test_one_spike_before_a_gap_is_not_held_through_it(self) -> None:
        series = series_of(*[10.0] * 100, 310.0, None, None)
        assert series.view().counts[-2:].tolist() == [20, 20]

    def test_it_begins_with_the_first_count(self) -> None:
        assert shown(series_of(None, None, 4)) == (2, [4], [False])

    def test_minutes_that_nobody_told_are_gaps(self) -> None:
        series = series_of(3)
        series.observe(3, 9)
        assert shown(series) == (0, [3, 3, 3, 9], [False, True, True, False])

    def test_a_count_that_comes_late_replaces_its_gap_and_what_was_held_after_it(self) -> None:
        series = series_of(3, None, None, 5)
        series.observe(1, 8)
        assert shown(series) == (0, [3, 8, 5.5, 5], [False, False, True, False])

    def test_a_count_is_not_changed_afterwards(self) -> None:
        series = series_of(3, 4)
        series.observe(0, 8)
        series.observe(1, None)
        assert shown(series) == (0, [3, 4], [False, False])

    def test_age_is_the_number_of_gaps_at_the_end(self) -> None:
        assert [series_of(*counts).age_min() for counts in ([1], [1, None], [1, None, None], [1, None, 2])] == [0, 1, 2, 0]

    @pytest.mark.parametrize("count", [-1, float("nan"), float("inf")])
    def test_what_is_no_count_is_refused(self, count: float) -> None:
        with pytest.raises(ValueError, match="is not a count"):
            series_of(count)

    def test_memory_is_bounded_and_keeps_the_newest(self) -> None:
        series = series_of(*range(2 * KEPT_MIN + 1000))
        first, counts, _ = shown(series)
        assert (first, len(counts), counts[0], counts[-1]) == (KEPT_MIN + 1000, KEPT_MIN, KEPT_MIN + 1000, 2 * KEPT_MIN + 999)

    def test_after_a_silence_of_weeks_it_starts_anew(self) -> None:
        series = series_of(1, 2)
        series.observe(5 * KEPT_MIN, 3)
        assert shown(series) == (5 * KEPT_MIN, [3], [False])

    def test_a_copy_does_not_change_and_can_be_restored(self) -> None:
        series = series_of(1, None, 2)
        copy = series.copy()
        series.observe(3, 9)
        assert shown(Series.of(copy)) == (0, [1, 1, 2], [False, True, False])

    def test_of_a_longer_window_the_newest_part_is_kept(self) -> None:
        first, counts, _ = shown(Series.of(Window(7, np.arange(KEPT_MIN + 3.0), np.zeros(KEPT_MIN + 3, dtype=bool))))
        assert (first, len(counts), counts[0]) == (10, KEPT_MIN, 3)


def held_of(*answers: tuple[int, int, int], lead_min: int = LEAD_MIN) -> Held:
    """Of (starting, one_more, keeping), minute by minute."""
    held = Held()
    for minute, answer in enumerate(answers):
        held = hold(held, minute, Worth(*answer), lead_min)
    return held


class TestHolding:
    @pytest.mark.parametrize(
        ("answers", "expected"),
        [
            ([(2, 2, 2)], 2),
            ([(2, 2, 2), (5, 5, 5)], 5),  # up at once
            ([(2, 2, 2), (3, 2, 3)], 2),  # one alone is not worth an order
            ([(2, 2, 2), (3, 3, 3)], 3),  # unless it is surely needed
            ([(2, 2, 2), (4, 2, 4)], 4),  # two are worth one
            ([(5, 5, 5), (2, 2, 4)], 5),  # what is there is warm and stays
            ([(5, 5, 5)] + [(2, 2, 4)] * HELD_MIN, 4),  # then hysteresis keeps what is worth keeping
            ([(5, 5, 5)] + [(2, 2, 4)] * HELD_MIN + [(2, 2, 2)] * HELD_MIN, 2),
            ([(5, 5, 5)] + [(2, 2, 9)] * HELD_MIN, 5),  # worth keeping is not worth starting
            ([(2, 2, 2), (5, 5, 5)] + [(2, 2, 2)] * (COLD_MIN - 1), 5),  # one that still loads has a short notice,
            ([(2, 2, 2), (5, 5, 5)] + [(2, 2, 2)] * COLD_MIN, 2),
            ([(2, 2, 2)] + [(5, 5, 5)] * (LEAD_MIN - 2) + [(2, 2, 2)] * COLD_MIN, 2),
            ([(2, 2, 2)] + [(5, 5, 5)] * (LEAD_MIN - 1) + [(2, 2, 2)] * COLD_MIN, 5),  # until it is warm
        ],
    )
    def test_answers(self, answers: list[tuple[int, int, int]], expected: int) -> None:
        assert held_of(*answers).replicas == expected

    @pytest.mark.parametrize("lead_min", [1, HELD_MIN, 3 * HELD_MIN])
    def test_what_was_wanted_through_the_lead_time_stays_for_its_time_and_no_longer(self, lead_min: int) -> None:
        warm = [(2, 2, 2), *[(5, 5, 5)] * (lead_min + 1)]
        assert held_of(*warm, *[(2, 2, 2)] * (HELD_MIN - 1), lead_min=lead_min).replicas == 5
        assert held_of(*warm, *[(2, 2, 2)] * HELD_MIN, lead_min=lead_min).replicas == 2

    def test_time_counts_and_not_the_number_of_answers(self) -> None:
        held = held_of((5, 5, 5))
        for _ in range(100):
            held = hold(held, 1, Worth(2, 2, 2), LEAD_MIN)
        assert held.replicas == 5
        assert len(held.recent) == 2
        assert hold(held, 1 + HELD_MIN, Worth(2, 2, 2), LEAD_MIN).replicas == 2

    def test_of_nothing_nothing_is_held(self) -> None:
        assert Held().replicas == held_of((0, 0, 0)).replicas == 0

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=50))
    def test_it_is_never_more_than_one_short_of_what_is_worth_starting_nor_more_than_ever_was(
        self, answers: list[tuple[int, int, int]]
    ) -> None:
        held, most = Held(), 0
        for minute, (surely, more, spare) in enumerate(answers):
            worth = Worth(surely + more, surely, surely + more + spare)
            most = max(most, worth.starting)
            held = hold(held, minute, worth, LEAD_MIN)
            assert max(worth.one_more, worth.starting - 1) <= held.replicas <= most


class TestLabels:
    def test_without_a_hold_a_need_is_the_part_of_the_load_that_falls_to_the_replica(self) -> None:
        assert needs(np.array([0.0, 1.25, 9.0]), np.arange(3), 0).tolist() == [[0, 0, 0], [1, 0.25, 0], [1, 1, 1]]

    def test_a_burst_that_the_hold_queue_carries_is_no_need(self) -> None:
        burst = np.array([2.0, 2.9, 1.0, 1.0])
        assert needs(burst, np.array([2]), 30).sum() == 0
        assert needs(burst, np.array([2]), 0).sum() == pytest.approx(0.9)

    def test_some_levels_have_the_needs_they_have_among_all(self) -> None:
        load = np.random.default_rng(1).gamma(4, 1, 200)
        assert np.array_equal(needs(load, np.array([2, 7]), 30), needs(load, np.arange(9), 30)[:, [2, 7]])

    def test_ahead_is_the_mean_of_what_follows(self) -> None:
        assert ahead(np.array([[0.0], [1.0], [1.0], [0.0]]), 2).ravel().tolist() == [0.5, 1, 0.5]
        assert whole(np.array([False, True, False, False]), 2).tolist() == [False, False, True]


def features(load: np.ndarray, ends: list[int], first_minute: int = 100) -> np.ndarray:
    at = np.array(ends)
    rises = rises_at(load, first_minute, hours(first_minute, at), LEAD_MIN)
    every = np.ones((len(at), len(LEVELS)), dtype=bool)
    found = rows(load, first_minute, at, levels=LEVELS, asked=every, lead_min=LEAD_MIN, rises=rises)
    return found.reshape(*every.shape, -1)


def some_load(minutes: int, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.exp(np.cumsum(random.normal(0, 0.05, minutes)) * 0.3 + random.normal(0, 0.1, minutes)) * 3


class TestFeatures:
    def test_many_minutes_at_once_give_what_each_gives_alone_with_nothing_after_it(self) -> None:
        load = some_load(11000)
        ends = [1, 2, 20, 200, 1441, 1500, 5000, 10079, 10081, 10999, 11000]
        together = features(load, ends)
        for row, end in zip(together, ends, strict=True):
            np.testing.assert_allclose(features(load[:end], [end])[0], row, rtol=1e-5, atol=1e-6)

    @given(end=st.integers(1, 2000), factor=st.sampled_from([0.0, 0.5, 100.0]))
    def test_what_comes_after_a_minute_does_not_matter(self, end: int, factor: float) -> None:
        load = some_load(2200)
        changed = load.copy()
        changed[end:] *= factor
        assert np.array_equal(features(load, [end]), features(changed, [end]), equal_nan=True)

    def test_of_what_is_asked_each_row_is_what_it_is_among_all(self) -> None:
        load, ends = some_load(3000), np.array([200, 1500, 2980, 3000])
        asked = np.random.default_rng(4).random((len(ends), len(LEVELS))) < 0.3
        rises = rises_at(load, 100, hours(100, ends), LEAD_MIN)
        found = rows(load, 100, ends, levels=LEVELS, asked=asked, lead_min=LEAD_MIN, rises=rises)
        assert np.array_equal(found, features(load, ends.tolist())[asked], equal_nan=True)

    def test_what_came_just_before_it_does(self) -> None:
        load = some_load(2200)
        changed = load.copy()
        changed[1999] *= 2
        assert not np.array_equal(features(load, [2000]), features(changed, [2000]), equal_nan=True)

    def test_each_column_grows_or_falls_with_the_level_as_the_learner_is_told(self) -> None:
        found = features(some_load(3000), [300, 1500, 3000])
        assert found.shape[2] == len(MONOTONE)
        for column, sign in enumerate(MONOTONE):
            steps = np.nan_to_num(np.diff(found[:, :, column], axis=1))
            assert (steps * sign <= 0).all() if sign else (steps == 0).all(), column

    @pytest.mark.parametrize("load", [np.zeros(1500), np.full(1500, 1e6)])
    def test_no_load_and_a_load_beyond_all_levels_are_loads_too(self, load: np.ndarray) -> None:
        assert not np.isinf(features(load, [1, 1500])).any()

    def test_every_level_of_an_ordinary_fleet_is_asked_about_and_a_large_one_is_not_costly(self) -> None:
        assert levels_of(60).tolist() == list(range(60))
        large = levels_of(2000)
        assert (large[0], large[-1], len(np.unique(large))) == (0, 1999, len(large))
        assert len(large) < 220
        assert (np.diff(large) <= 1 + large[:-1] / 30).all()


class Shown:
    """A learner that writes down how many examples it was shown, and at which distances from the last minute."""

    def __init__(self) -> None:
        self.rows = 0
        self.distances: set[float] = set()
        self.needs: set[float] = set()

    def fit(self, found: np.ndarray, needed: np.ndarray) -> "Always":
        assert len(found) == len(needed)
        assert ((needed >= 0) & (needed <= 1)).all()
        self.rows = len(found)
        self.distances = set(np.round(found[:, 0].astype(float), 4).tolist())
        self.needs = set(np.round(needed, 6).tolist())
        return Always(0.5)

    def read(self, text: str) -> "Always":
        raise NotImplementedError


@pytest.mark.parametrize(("replicas", "between"), [(12.0, False), (3.0, True), (1.0, True)])
def test_a_small_fleet_is_shown_as_many_examples_as_a_large_one(replicas: float, between: bool) -> None:
    learner, minutes = Shown(), 3 * 1440
    window = Window(0, np.full(minutes, 100 * replicas), np.zeros(minutes, dtype=bool))
    assert refit(window, Question(capacity=100, lead_min=15, hold_s=30, least=1, most=60), learner) is not None
    assert learner.rows >= 12 * (minutes - 180 - 25) // 4
    whole = {round(float(np.log((level + 0.5) / replicas)), 4) for level in range(60)}
    assert (not learner.distances <= whole) == between


@pytest.mark.parametrize(("hold_s", "expected"), [(0.0, HELD_MIN), (15.0, 10), (30.0, SLACK_MIN), (600.0, SLACK_MIN)])
def test_the_less_a_request_may_wait_the_farther_a_need_is_looked_for(hold_s: float, expected: int) -> None:
    assert slack_min(hold_s) == expected


@pytest.mark.parametrize(("lead_min", "hold_s", "span"), [(15, 0.0, 30), (5, 0.0, 20), (15, 1.0, 30), (15, 30.0, 21)])
def test_a_need_of_one_minute_is_its_part_of_the_time_that_is_looked_at(lead_min: int, hold_s: float, span: int) -> None:
    learner, counts = Shown(), np.full(3 * 1440, 800.0)
    counts[1000::200] = 900 + 100 * 9 * hold_s / 60  # one replica more than nine and what they carry over
    window = Window(0, counts, np.zeros(len(counts), dtype=bool))
    assert refit(window, Question(capacity=100, lead_min=lead_min, hold_s=hold_s, least=1, most=60), learner) is not None
    assert round(1 / span, 6) in learner.needs


def test_a_load_beyond_all_replicas_teaches_nothing() -> None:
    window = Window(0, np.full(3 * 1440, 1e9), np.zeros(3 * 1440, dtype=bool))
    assert refit(window, Question(capacity=1, lead_min=15, hold_s=30, least=1, most=60), Shown()) is None


def test_a_window_has_the_length_of_its_counts() -> None:
    assert len(Window(0, np.zeros(3), np.zeros(3, dtype=bool))) == 3


@dataclass(frozen=True)
class Always:
    """A model that knows one answer."""

    need: float

    def predict(self, found: np.ndarray) -> np.ndarray:
        return np.full(len(found), self.need)

    def text(self) -> str:
        return str(self.need)


class TestBlend:
    def test_the_last_models_answer_with_the_mean_of_their_log_odds(self) -> None:
        blend = None
        for day, need in enumerate((0.999, *[0.5] * (MODELS - 2), 0.1, 0.9)):
            blend = joined(blend, Fitted(Always(need), 15, day))
        assert blend is not None
        assert [fitted.until_minute for fitted in blend.models] == list(range(1, MODELS + 1))
        assert blend.predict(np.zeros((2, 1))) == pytest.approx([0.5, 0.5])

    def test_a_model_alone_is_believed(self) -> None:
        assert joined(None, Fitted(Always(0.02), 15, 0)).predict(np.zeros((1, 1))) == pytest.approx([0.02])
        assert joined(None, Fitted(Always(0.0), 15, 0)).predict(np.zeros((1, 1))) == pytest.approx([0], abs=1e-6)

    @pytest.mark.parametrize(("before", "now", "kept"), [(15, 15, 2), (15, 16, 2), (3, 2, 2), (17, 15, 2), (15, 10, 1), (3, 1, 1)])
    def test_models_for_another_lead_time_are_dropped(self, before: int, now: int, kept: int) -> None:
        blend = joined(joined(None, Fitted(Always(0.5), before, 0)), Fitted(Always(0.5), now, 1))
        assert (len(blend.models), blend.lead_min) == (kept, now)
