"""The walk shows every order of the parts, as briefly as can be, and what a walk and its callers are judged by."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journeys.chaos_callers import Lost, Outage
from tests.journeys.chaos_recovery import Recoveries
from tests.journeys.chaos_walk import PARTS, go_on_at, orders_in, walk

LENGTHS = {1: 1, 2: 3, 3: 9, 4: 33, 5: 153}
seeds = st.integers(0, 1000)


@given(st.permutations(PARTS), st.integers(1, 5), seeds)
def test_every_order_stands_in_a_walk_of_the_least_length(parts: list[str], size: int, seed: int) -> None:
    row = walk(parts[:size], seed)
    assert len(row) == LENGTHS[size]
    assert set(orders_in(row, size)) == set(itertools.permutations(parts[:size]))


@given(seeds)
def test_a_seed_gives_the_same_walk_again_and_no_part_is_killed_twice_in_a_row(seed: int) -> None:
    row = walk(PARTS, seed)
    assert row == walk(PARTS, seed)
    assert all(one != other for one, other in itertools.pairwise(row))


@given(seeds, st.integers(1, 153), st.integers(0, 153))
def test_a_walk_in_two_pieces_shows_what_the_whole_one_does(seed: int, start: int, done: int) -> None:
    row = walk(PARTS, seed)
    first = row[start - 1 : start - 1 + done]
    again = go_on_at(start, len(first), len(PARTS))
    both = {*orders_in(first, len(PARTS)), *orders_in(row[again - 1 :], len(PARTS))}
    assert again >= start
    assert both == set(orders_in(row[start - 1 :], len(PARTS)))


@pytest.mark.parametrize(
    ("row", "found"),
    [("", []), ("ab", []), ("abc", ["abc"]), ("abca", ["abc", "bca"]), ("abac", ["bac"]), ("abcabc", ["abc", "bca", "cab"])],
)
def test_orders_are_windows_without_a_part_twice(row: Sequence[str], found: list[str]) -> None:
    assert list(map("".join, orders_in(row, 3))) == found


@pytest.mark.parametrize(
    ("lost", "explained"),
    [
        (Lost(9.0, 10.5, "in flight when the router was killed"), True),
        (Lost(11.0, 11.1, "refused while it was dead"), True),
        (Lost(12.9, 13.4, "begun before it answered again"), True),
        (Lost(8.0, 9.9, "before the kill"), False),
        (Lost(13.1, 13.2, "after it answered again"), False),
    ],
    ids=lambda value: value.why if isinstance(value, Lost) else "",
)
def test_a_lost_connection_is_explained_only_by_a_router_that_was_dead(lost: Lost, *, explained: bool) -> None:
    assert Outage(10.0, 13.0).explains(lost) is explained


def test_a_recovery_counts_from_the_last_kill_and_once() -> None:
    back = {"redis": False, "consul": True}
    seen = Recoveries(back.__getitem__)
    seen.killed("redis", 10.0)
    seen.killed("consul", 11.0)
    seen.look("redis", 12.0)
    seen.look("consul", 12.5)
    seen.killed("redis", 13.0)
    back["redis"] = True
    for at in (14.0, 15.0):
        seen.look("redis", at)
    assert (seen.seen, seen.slowest) == ({"consul": 1, "redis": 1}, {"consul": 1.5, "redis": 1.0})
