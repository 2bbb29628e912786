"""GPUs that several models share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.budget import Wish, shares


def wish(wanted: int, *, gpus: int = 1, priority: int = 0, must: int = 0, current: int = 0) -> Wish:
    return Wish(gpus, priority, must, current, wanted)


@pytest.mark.parametrize(
    ("wishes", "budget", "granted"),
    [
        ([wish(3), wish(4)], 8, (3, 4)),
        ([wish(6), wish(6)], 8, (4, 4)),  # equals get equally much
        ([wish(6, priority=1), wish(6)], 8, (6, 2)),
        ([wish(6), wish(6, priority=1)], 8, (2, 6)),
        ([wish(2, gpus=4), wish(9)], 10, (2, 2)),  # round by round: 1+1, 2+2
        ([wish(3, gpus=4, priority=1), wish(9)], 10, (2, 2)),  # the third does not fit; what is left is used
        ([wish(6, must=2), wish(6, priority=1)], 6, (2, 4)),  # a minimum stands before any priority
        ([wish(9, gpus=0), wish(9)], 4, (9, 4)),  # who needs no GPU takes none
        ([wish(5, must=3), wish(5, must=3)], 4, (3, 3)),  # minima are given even if they do not fit
    ],
)
def test_minima_then_priority_then_equally(wishes: list[Wish], budget: int, granted: tuple[int, ...]) -> None:
    assert shares(wishes, budget) == granted


def test_nobody_grows_on_what_another_still_holds() -> None:
    """The upper one is to have 6 of 8: it waits until the lower one, which has 8, has gone down."""
    lower, upper = wish(8, current=8), wish(6, priority=1, current=0)
    assert shares([lower, upper], 8) == (2, 0)
    assert shares([wish(8, current=5), upper], 8) == (2, 3)
    assert shares([wish(8, current=2), wish(6, priority=1, current=3)], 8) == (2, 6)


def test_of_two_that_grow_the_higher_takes_what_is_free() -> None:
    assert shares([wish(4, current=2), wish(4, priority=1, current=2), wish(0, current=3)], 8) == (2, 3, 0)


wishes_in_bounds = st.lists(
    st.builds(
        lambda gpus, priority, must, more, current: Wish(gpus, priority, must, current, must + more),
        st.integers(0, 4),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 8),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=6,
)


def gpus(wishes: list[Wish], counts: tuple[int, ...]) -> int:
    return sum(wish.gpus * count for wish, count in zip(wishes, counts, strict=True))


@given(wishes_in_bounds, st.integers(0, 60))
def test_never_more_than_wanted_and_never_less_than_must_be(wishes: list[Wish], budget: int) -> None:
    for given_, count in zip(wishes, shares(wishes, budget), strict=True):
        assert given_.must <= count <= given_.wanted


@given(wishes_in_bounds, st.integers(0, 60))
def test_within_the_budget_all_orders_stay_within_it_while_the_rest_still_stands(wishes: list[Wish], budget: int) -> None:
    """Growth is ordered at once and shrinking later: what is then there must fit too, beyond what must be."""
    granted = shares(wishes, budget)
    both = tuple(max(wish.current, count) for wish, count in zip(wishes, granted, strict=True))
    at_least = gpus(wishes, tuple(max(wish.current, wish.must) for wish in wishes))
    assert gpus(wishes, both) <= max(budget, at_least)


@given(wishes_in_bounds, st.integers(0, 60))
def test_it_settles(wishes: list[Wish], budget: int) -> None:
    """Where each gets what it was granted, the next passes grant the same in the end."""
    for _ in range(4):
        granted = shares(wishes, budget)
        wishes = [Wish(w.gpus, w.priority, w.must, count, w.wanted) for w, count in zip(wishes, granted, strict=True)]
    assert shares(wishes, budget) == granted


@given(wishes_in_bounds, st.integers(0, 60), st.integers(1, 20))
def test_a_larger_budget_never_gives_all_together_less(wishes: list[Wish], budget: int, more: int) -> None:
    alone = [Wish(1, w.priority, w.must, 0, w.wanted) for w in wishes]
    assert sum(shares(alone, budget)) <= sum(shares(alone, budget + more))
