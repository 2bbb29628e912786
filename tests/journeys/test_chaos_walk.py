"""The walk shows every order of the parts, as briefly as can be, and what a walk and its callers are judged by."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.journeys.chaos import Chaos, main, told
from tests.journeys.chaos_callers import Callers, Lost, Outage
from tests.journeys.chaos_recovery import Recoveries
from tests.journeys.chaos_walk import PARTS, go_on_at, orders_in, walk
from tests.journeys.durable import Durable
from tests.journeys.fleet import Fleet

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


WHOLE = walk(PARTS)


def walked(kills: int, *, failures: tuple[str, ...] = (), lost: tuple[Lost, ...] = ()) -> Chaos:
    """A walk that has ended, without a fleet."""
    callers = Callers("", 1.0, failures=list(failures), lost=list(lost), outages=[Outage(10.0, 13.0)])
    return Chaos(cast("Fleet", None), cast("Durable", None), callers, Recoveries(lambda _part: True), killed=list(WHOLE[:kills]))


@pytest.mark.parametrize(
    ("made", "broken", "code", "said"),
    [
        (walked(153), "", 0, "153 kills, 120 orders"),
        (walked(6), "", 0, "go on with --start-at 3"),
        (walked(3, lost=(Lost(11.0, 12.0, "refused"),)), "", 0, "1 connections lost with a router"),
        (walked(3, lost=(Lost(20.0, 21.0, "cut"),)), "", 1, "FAILED lost while a router was up: cut"),
        (walked(3, failures=("x-route: selector=0",)), "", 1, "FAILED x-route: selector=0"),
        (walked(3), "never: redis runs", 1, "FAILED never: redis runs"),
    ],
    ids=["whole", "stopped", "explained", "unexplained", "failed", "never back"],
)
def test_a_walk_is_told_with_its_orders_and_fails_with_any_failure(
    made: Chaos, broken: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(made, broken, WHOLE, 1) == code
    printed = capsys.readouterr().out
    assert said in printed
    assert printed.count("covered: ") == len(orders_in(made.killed, len(PARTS)))
    assert ("FAILED" in printed) == bool(code)


def test_a_walk_cannot_begin_after_its_end() -> None:
    result = CliRunner().invoke(main, ["--start-at", "154"])
    assert (result.exit_code, "153 kills" in result.output) == (2, True)


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
