"""The law of decide(): tables for its cases, properties for what must hold always."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.capacity import Capacity
from autoscaler.decide import Decision, Memory, Settings, Snapshot, decide
from autoscaler.drain import Drain
from autoscaler.signals import Known, Partial, Signal, Unknown
from fleet.model import Policy
from tests.autoscaler.build import NOW, fleet, replica, settings

UNKNOWN = Unknown("router r1 did not answer within 2 s")
LONG_AGO = NOW - 1e6


def snapshot(
    desired: int,
    concurrency: Signal | float,
    *,
    capacity: Capacity | None = None,
    last: float = -math.inf,
    obstacle: str = "",
    at: float = NOW,
) -> Snapshot:
    signal = Known(concurrency, 1.0) if isinstance(concurrency, int | float) else concurrency
    scaled_at = () if last == -math.inf else (last,)
    return Snapshot(at, capacity or fleet(desired), {"concurrency": signal}, scaled_at, obstacle)


def decided(view: Snapshot, rules: Settings | None = None, memory: Memory | None = None) -> Decision:
    return decide(view, rules or settings(), memory or Memory())


@pytest.mark.parametrize(
    ("current", "demand", "desired"),
    [
        (1, 2.8, 2),  # 2.8 / (2 x 0.7) is two replicas exactly: no rounding error makes three of it
        (1, 4.2, 3),
        (1, 1.4, 1),
        (1, 1.5, 1),  # 107 %: inside the tolerance of 10 %
        (1, 1.6, 2),  # 114 %: outside of it
        (3, 2.9, 3),  # two replicas would be above their target
        (3, 2.8, 2),
        (0, 0.1, 1),
        (2, 0.0, 1),  # the minimum
        (1, 99.0, 10),  # the maximum
    ],
)
def test_demand_and_capacity_of_one_replica_give_the_count(current: int, demand: float, desired: int) -> None:
    assert decided(snapshot(current, demand)).desired == desired


def test_the_sentence_says_what_why_and_how_much() -> None:
    assert decided(snapshot(1, 2.8)).sentence == "small-model 1 -> 2: concurrency 2.8 over 60 s is 140% of one replica's 2 at target 70%"


def test_the_sentence_names_the_clamp() -> None:
    made = decided(snapshot(1, 14.0), settings(most=3))
    assert made.sentence.endswith("; 10 limited to the maximum 3")
    assert made.clamps == ("max",)


@pytest.mark.parametrize(
    ("signal", "current", "desired"),
    [
        (UNKNOWN, 3, 3),
        (Partial(0.0, 1.0, "router r1 did not answer"), 3, 3),
        (Partial(7.0, 1.0, "router r1 did not answer"), 3, 5),
    ],
)
def test_what_is_not_fully_known_never_scales_down(signal: Signal, current: int, desired: int) -> None:
    made = decided(snapshot(current, signal))
    assert made.desired == desired
    assert signal.why in made.sentence  # type: ignore[union-attr]


def test_of_two_policies_the_safer_wins_and_an_unknown_one_forbids_to_go_down() -> None:
    both = settings(policy=(Policy(), Policy(signal="requests_per_min")))
    busy = Snapshot(NOW, fleet(2), {"concurrency": Known(0.0, 1.0), "requests_per_min": Known(42 * 4, 1.0)})
    assert decided(busy, both).desired == 4
    blind = Snapshot(NOW, fleet(4), {"concurrency": Known(0.0, 1.0), "requests_per_min": UNKNOWN})
    assert decided(blind, both).desired == 4
    assert "requests_per_min is unknown" in decided(blind, both).sentence


@pytest.mark.parametrize(("current", "desired", "clamp"), [(0, 2, "min"), (9, 5, "max")])
def test_a_count_outside_the_bounds_is_mended_whatever_the_signals_say(current: int, desired: int, clamp: str) -> None:
    made = decided(snapshot(current, UNKNOWN), settings(least=2, most=5))
    assert made.desired == desired
    assert clamp in made.clamps


def test_below_the_minimum_no_cooldown_is_waited_out() -> None:
    assert decided(snapshot(0, 0.0, last=NOW - 1), settings(least=2)).order == 2


def test_above_the_maximum_the_cooldown_is_waited_out() -> None:
    assert decided(snapshot(9, 0.0, last=NOW - 1), settings(most=5)).desired == 9
    assert decided(snapshot(9, 0.0, last=NOW - 301), settings(most=5)).desired == 1


def test_of_equal_votes_the_one_that_is_not_sure_is_told() -> None:
    both = settings(policy=(Policy(), Policy(signal="requests_per_min")))
    for known, blind in (("concurrency", "requests_per_min"), ("requests_per_min", "concurrency")):
        of_one = {"concurrency": 2.8, "requests_per_min": 84.0}[known]
        made = decided(Snapshot(NOW, fleet(2), {known: Known(of_one, 1.0), blind: UNKNOWN}), both)
        assert f"{blind} is unknown" in made.sentence


def test_without_a_policy_the_minimum_is_kept() -> None:
    assert decided(snapshot(1, UNKNOWN), settings(least=2, policy=())).desired == 2


@pytest.mark.parametrize(
    ("demand", "since_s", "desired"),
    [(9.0, 29, 3), (9.0, 31, 7), (0.0, 299, 3), (0.0, 301, 1)],
)
def test_each_direction_has_its_own_cooldown(demand: float, since_s: float, desired: int) -> None:
    made = decided(snapshot(3, demand, last=NOW - since_s))
    assert made.desired == desired
    assert ("cooldown" in made.clamps) == (desired == 3)


# The traps of nomad-autoscaler, one by one.


def test_trap_a_loading_and_unplaced_replicas_are_ordered_already() -> None:
    """Desired 6, running 2, demand for 6: a factor on the running count would write 3."""
    view = snapshot(6, 8.4, capacity=fleet(6, ready=1, loading=1, missing_why="memory exhausted on 2 node(s)"))
    made = decided(view)
    assert (made.desired, made.scales) == (6, False)
    assert "4 of 6 not placed: memory exhausted on 2 node(s)" in made.sentence


def test_trap_b_a_failed_query_stops_only_its_own_policy() -> None:
    both = settings(policy=(Policy(), Policy(signal="requests_per_min")))
    view = Snapshot(NOW, fleet(2), {"concurrency": UNKNOWN, "requests_per_min": Known(42 * 4, 1.0)})
    assert decided(view, both).order == 4


def test_trap_c_an_active_deployment_keeps_the_intent_and_says_so() -> None:
    made = decided(snapshot(1, 2.8, obstacle="a deployment is under way"))
    assert (made.current, made.desired, made.order, made.direction) == (1, 2, 1, "up")
    assert made.sentence.endswith("; waits: a deployment is under way")
    assert decided(snapshot(1, 2.8), memory=made.memory).order == 2


def test_trap_d_a_restarted_autoscaler_still_rests() -> None:
    """The last scaling is part of the snapshot, read from Nomad: a fresh memory changes nothing."""
    assert decided(snapshot(3, 0.0, last=NOW - 100), memory=Memory()).desired == 3


def test_trap_e_a_reason_that_mentions_a_refused_connection_is_only_a_reason() -> None:
    made = decided(snapshot(2, Unknown("router r1 does not answer: connection refused, EOF")))
    assert (made.desired, made.direction) == (2, "none")


# Scale-in.


def drained_pass(demand: float, at: float, memory: Memory, *, busy: float = 0.0) -> Decision:
    rows = (replica(0), replica(1, requests=Known(busy, 0.0)))
    return decided(snapshot(2, demand, capacity=Capacity(2, rows), at=at), memory=memory)


def test_scale_in_drains_the_highest_index_first_and_then_orders() -> None:
    first = drained_pass(0.5, NOW, Memory())
    assert (first.desired, first.order, first.memory.drain.victims) == (1, 2, ("alloc-1",))
    busy = drained_pass(0.5, NOW + 30, first.memory, busy=1.0)
    assert not busy.scales
    assert "draining [1] first, 1 request left, 30 s of at most 120 s" in busy.sentence
    idle = drained_pass(0.5, NOW + 40, busy.memory)
    assert idle.order == 1
    assert "drained [1] in 40 s" in idle.sentence


def test_routers_get_two_intervals_to_see_the_victims_even_if_these_are_idle() -> None:
    first = drained_pass(0.5, NOW, Memory())
    assert not drained_pass(0.5, NOW + 19, first.memory).scales
    assert drained_pass(0.5, NOW + 20, first.memory).scales


def test_a_rebound_aborts_the_drain() -> None:
    first = drained_pass(0.5, NOW, Memory())
    assert drained_pass(2.5, NOW + 30, first.memory).memory == Memory()


def test_silence_aborts_the_drain() -> None:
    first = drained_pass(0.5, NOW, Memory())
    made = decided(snapshot(2, UNKNOWN, at=NOW + 30), memory=first.memory)
    assert made.memory == Memory()


def test_a_victim_that_never_falls_idle_is_stopped_after_the_longest_wait() -> None:
    first = drained_pass(0.5, NOW, Memory())
    made = drained_pass(0.5, NOW + 120, first.memory, busy=2.0)
    assert made.order == 1
    assert "stops [1] with 2 requests after 120 s" in made.sentence


def test_a_deployment_aborts_the_drain_because_it_changes_the_victims() -> None:
    first = drained_pass(0.5, NOW, Memory())
    made = decided(snapshot(2, 0.5, obstacle="a deployment is under way", at=NOW + 10), memory=first.memory)
    assert made.memory == Memory()


def test_a_replica_that_was_never_placed_needs_no_drain() -> None:
    made = decided(snapshot(4, 1.4, capacity=Capacity(4, (replica(0),), "no GPU")))
    assert made.order == 1


def test_a_victim_that_nomad_spared_serves_again_and_is_named() -> None:
    stopping = Memory(Drain("stopping", ("alloc-1",), NOW - 60))
    made = decided(snapshot(1, 1.0, capacity=Capacity(1, (replica(1),))), memory=stopping)
    assert made.memory == Memory()
    assert "Nomad stopped others than [1], which serve again" in made.sentence


def test_shadow_mode_decides_and_changes_nothing() -> None:
    shadow = settings(shadow=True)
    up = decided(snapshot(1, 2.8), shadow)
    down = decided(snapshot(3, 0.0), shadow)
    assert [(d.desired, d.scales, d.memory) for d in (up, down)] == [(2, False, Memory()), (1, False, Memory())]
    assert "shadow mode" in up.sentence


# What must hold always.

demands = st.floats(0, 100, allow_nan=False)
signals = st.one_of(
    st.builds(Known, demands, st.just(1.0)), st.builds(Partial, demands, st.just(1.0), st.just("half")), st.builds(Unknown, st.just("no"))
)
counts = st.integers(0, 12)


@given(signals, counts, st.floats(0, 1000))
def test_never_outside_the_bounds(signal: Signal, current: int, since_s: float) -> None:
    made = decided(snapshot(current, signal, last=NOW - since_s), settings(least=2, most=8))
    assert 2 <= made.desired <= 8 or made.desired == current
    assert 2 <= made.order <= 8 or made.order == current


@given(signals.filter(lambda s: not isinstance(s, Known)), st.integers(1, 10))
def test_never_down_on_what_is_not_known(signal: Signal, current: int) -> None:
    assert decided(snapshot(current, signal)).desired >= current


@given(demands, demands, counts)
def test_more_demand_never_wants_fewer(a: float, b: float, current: int) -> None:
    low, high = sorted((a, b))
    assert decided(snapshot(current, low)).desired <= decided(snapshot(current, high)).desired


@given(demands, st.integers(1, 10))
def test_no_change_inside_the_tolerance(demand: float, current: int) -> None:
    if abs(demand / (1.4 * current) - 1) < 0.0999:
        assert decided(snapshot(current, demand)).desired == current


@given(demands, st.integers(1, 12), st.floats(0, 29.9))
def test_no_change_inside_the_cooldown(demand: float, current: int, since_s: float) -> None:
    view = snapshot(current, demand, last=NOW - since_s)
    assert decided(view, settings(least=0, most=12)).desired == current


@given(demands, st.integers(1, 10))
def test_constant_demand_settles_after_one_step(demand: float, current: int) -> None:
    first = decided(snapshot(current, demand)).desired
    assert decided(snapshot(first, demand)).desired == first


@given(signals, counts, st.floats(0, 1000))
def test_the_same_arguments_give_the_same_decision(signal: Signal, current: int, since_s: float) -> None:
    view = snapshot(current, signal, last=NOW - since_s)
    assert decided(view) == decided(view)


@given(st.lists(signals, min_size=1, max_size=30), st.integers(1, 4))
def test_no_order_lowers_the_count_without_a_drain_of_two_intervals(story: list[Signal], current: int) -> None:
    """A whole life of passes, ten seconds apart, with Nomad doing at once what it is told."""
    rules, memory, drained_since = settings(cooldown_down_s=0.0, cooldown_up_s=0.0), Memory(), math.inf
    for number, signal in enumerate(story):
        at = NOW + 10 * number
        made = decided(snapshot(current, signal, at=at), rules, memory)
        if made.order < current:
            assert at - drained_since >= 20
            made = replace(made, memory=Memory())
        memory, current = made.memory, made.order
        drained_since = min(drained_since, at) if memory.drain.victims else math.inf


@pytest.mark.parametrize(
    ("capacity", "desired"),
    [
        (fleet(3), 2),
        (fleet(3, loading=1), 3),
        (fleet(3, ready=2), 2),  # the third has no node: it does not load
        (
            Capacity(3, (replica(0), replica(1), replace(replica(2, passing=False), since=NOW - 3600))),
            2,
        ),  # far too late for a start of 10 min
    ],
    ids=["all serve", "one loads", "one is not placed", "one never became warm"],
)
def test_below_a_threshold_only_a_replica_that_still_loads_is_waited_for(capacity: Capacity, desired: int) -> None:
    rules = settings(policy=(Policy(kind="threshold", signal="concurrency", upper=9.0, lower=1.0),))
    assert decided(snapshot(3, 0.5, capacity=capacity), rules).desired == desired


GAVE_UP = replace(snapshot(2, 2.8, capacity=fleet(2, ready=1)), gave_up="Failed due to progress deadline")


@pytest.mark.parametrize(
    ("view", "again", "says"),
    [
        (GAVE_UP, True, "1 of 2 not placed: Nomad gave up (Failed due to progress deadline), ordered again"),
        (replace(GAVE_UP, scaled_at=(NOW - 900,)), False, "ordered again in 5 min"),
        (replace(GAVE_UP, obstacle="a deployment is under way"), False, "a deployment is under way"),
        (replace(GAVE_UP, hands_off="stands by: one leads"), False, "stands by: one leads"),
        (replace(GAVE_UP, capacity=fleet(2)), False, "stays at 2"),
        (replace(GAVE_UP, gave_up=""), False, "1 of 2 not placed"),
    ],
    ids=["due", "rests", "obstacle", "hands off", "nothing is missing", "Nomad still tries"],
)
def test_what_nomad_gave_up_placing_is_ordered_anew(view: Snapshot, again: bool, says: str) -> None:
    made = decided(view)
    assert (made.again, made.scales, made.order, made.direction) == (again, again, 2, "none")
    assert says in made.sentence


def test_what_nomad_gave_up_placing_and_nobody_wants_is_taken_back() -> None:
    made = decided(replace(GAVE_UP, signals={"concurrency": Known(0.0, 1.0)}))
    assert (made.order, made.again) == (1, False)


@pytest.mark.parametrize(("age_s", "told"), [(600.0, False), (1300.0, True)])
def test_a_replica_that_runs_and_never_passes_is_named_with_the_way_out(age_s: float, told: bool) -> None:
    hung = replace(replica(1, passing=False), since=NOW - age_s)
    made = decided(snapshot(2, 2.8, capacity=Capacity(2, (replica(0), hung))))
    said = "[1] does not pass, long after a cold start: look at the engine, or have it started anew: `nomad alloc stop alloc-1`"
    assert (said in made.sentence) is told


def of(*passing: bool) -> Capacity:
    return Capacity(len(passing), tuple(replica(index, passing=does) for index, does in enumerate(passing)))


@pytest.mark.parametrize(
    ("capacity", "desired"),
    [
        (of(False, True), 2),  # one is enough, and it is the one that Nomad would stop
        (of(False, True, True), 2),
        (of(False, False, True), 3),
        (of(True, False), 1),
        (of(True, True, False), 1),
        (of(False, False), 1),  # nobody is warm: nothing is lost
        (Capacity(4, of(True).replicas), 1),
    ],
    ids=["broken below", "one of three is broken", "only the last one is warm", "broken above", "two warm", "none warm", "not placed"],
)
def test_no_warm_replica_goes_for_one_that_does_not_pass(capacity: Capacity, desired: int) -> None:
    made = decided(snapshot(capacity.desired, 1.0, capacity=capacity))
    assert made.desired == desired
    assert ("would stay without passing" in made.sentence) == (desired > 1)
    assert made.order >= desired


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.floats(0, 20))
def test_after_a_scale_in_as_many_pass_as_are_wanted_or_as_passed_before(passing: list[bool], demand: float) -> None:
    capacity = of(*passing)
    made = decided(snapshot(len(passing), demand, capacity=capacity))
    if made.direction == "down":
        assert capacity.passing_below(made.desired) >= min(max(vote.wanted for vote in made.votes), sum(passing))
