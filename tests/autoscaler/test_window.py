"""Rates and means over a window: resets, gaps, age, and a window that is not full yet."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.signals import Known, Partial, Unknown
from autoscaler.window import Point, Window, mean, rate_per_s

WINDOW = Window(now=100.0, window_s=60, max_age_s=45)


def every_10_s(*values: float, last: float = 100.0) -> list[Point]:
    return [Point(last - 10 * (len(values) - 1 - i), value) for i, value in enumerate(values)]


def test_a_steady_counter() -> None:
    assert rate_per_s(every_10_s(0, 20, 40, 60, 80, 100, 120), WINDOW) == Known(2.0, 0.0)


def test_where_a_counter_falls_the_interval_is_left_out() -> None:
    """One of two workers starts afresh: 1000 -> 500 is neither 500 requests nor -500."""
    assert rate_per_s(every_10_s(960, 980, 1000, 500, 520, 540, 560), WINDOW) == Known(2.0, 0.0)


def test_a_gap_is_left_out() -> None:
    assert rate_per_s([Point(40, 0), Point(50, 10), Point(100, 9999)], WINDOW) == Partial(
        1.0, 0.0, "only 10 s of the 60 s window were seen"
    )


@pytest.mark.parametrize("read", [rate_per_s, mean])
def test_an_old_answer_is_unknown(read: object) -> None:
    assert read(every_10_s(1, 2, 3, last=50.0), WINDOW) == Unknown("the last answer is 50 s old, more than 45 s")  # type: ignore[operator]


@pytest.mark.parametrize("read", [rate_per_s, mean])
def test_no_answer_is_unknown_and_not_zero(read: object) -> None:
    assert read([], WINDOW) == Unknown("no answer yet")  # type: ignore[operator]


def test_one_sample_gives_no_rate_but_a_level() -> None:
    assert rate_per_s([Point(95, 7)], WINDOW) == Unknown("a rate needs two answers, and there is one so far")
    assert mean([Point(95, 7)], WINDOW) == Partial(7.0, 5.0, "only 0 s of the 60 s window were seen")


def test_a_young_window_is_known_in_part() -> None:
    assert rate_per_s(every_10_s(0, 10, 20), WINDOW) == Partial(1.0, 0.0, "only 20 s of the 60 s window were seen")


def test_what_happened_before_the_window_is_clipped() -> None:
    old = [Point(-100 + 10 * i, 5000 * i) for i in range(10)]
    assert rate_per_s([*old, *every_10_s(0, 0, 0, 0, 0, 0, 0)], WINDOW) == Known(0.0, 0.0)


def test_a_mean_weighs_by_time() -> None:
    points = [Point(40, 4), Point(80, 4), Point(90, 0), Point(100, 0)]
    assert mean(points, WINDOW) == Known((4 * 40 + 2 * 10 + 0) / 60, 0.0)


@pytest.mark.parametrize(
    ("values", "believed"),
    [
        ((0, 0, 0, 0, 0, 0, 999_999), True),  # an idle fleet that begins to work
        ((0, 0, 0, 0, 0, 0, 10**7), False),
        ((0, 0, 10**7, 2 * 10**7, 3 * 10**7, 4 * 10**7, 5 * 10**7), True),  # it has stayed, so it is true
        ((0, 10**7), True),  # nothing to measure it against
    ],
)
def test_a_thousandfold_jump_is_not_believed_at_once(values: tuple[int, ...], believed: bool) -> None:
    assert isinstance(rate_per_s(every_10_s(*values), WINDOW), Unknown) != believed


def test_what_is_ordinary_is_the_callers_to_say() -> None:
    """A token counter of an idle model that gets its first long prompts."""
    assert isinstance(rate_per_s(every_10_s(0, 0, 0, 0, 0, 0, 10**7), WINDOW, usual=1e5), Known)


increments = st.lists(st.integers(0, 1000), min_size=7, max_size=7)


@given(increments, st.sets(st.integers(1, 6)))
def test_resets_never_invent_requests(steps: list[int], resets: set[int]) -> None:
    """Whatever restarts, the rate never exceeds that of the intervals' true increases at their largest."""
    value, values = 0, []
    for number, grown in enumerate(steps):
        value = grown if number in resets else value + grown
        values.append(value)
    rate = rate_per_s(every_10_s(*values), WINDOW)
    largest = max(max(0, b - a) for a, b in pairwise(values)) / 10
    assert isinstance(rate, Unknown) or 0 <= rate.value <= largest


@given(increments)
def test_without_resets_the_rate_is_exact(steps: list[int]) -> None:
    values = [sum(steps[: i + 1]) for i in range(len(steps))]
    rate = rate_per_s(every_10_s(*values), WINDOW)
    assert isinstance(rate, Known)
    assert rate.value == pytest.approx((values[-1] - values[0]) / 60)
