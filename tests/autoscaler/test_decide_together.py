"""decide_all(): what several models share, what wakes at once, and what keeps hands off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decide import Case, Decision, Memory, Snapshot, decide, decide_all
from autoscaler.policies.vote import Vote
from autoscaler.signals import Known, Signal, Unknown
from fleet.model import Autoscaler, Gpu, Model, Policy
from tests.autoscaler.build import NOW, fleet, settings

SILENT = Unknown("router r1 did not answer")


def model(name: str, *, gpus: int = 1, priority: int = 0, least: int = 1, most: int = 10) -> Model:
    made = settings(least=least, most=most).model
    return replace(made, name=name, engine="vllm", gpu=Gpu(count=gpus), priority=priority)


def case(of: Model, current: int, load: Signal | float, memory: Memory | None = None, **change: object) -> Case:
    signal = Known(load, 1.0) if isinstance(load, int | float) else load
    seen = Snapshot(NOW, fleet(current), {"concurrency": signal, "requests_per_min": signal})
    return Case(of, replace(seen, **change), memory or Memory())  # type: ignore[arg-type]


def together(*cases: Case, budget: int, elsewhere: int = 0) -> list[Decision]:
    return list(decide_all(cases, Autoscaler(gpu_budget=budget), gpus_elsewhere=elsewhere))


# One budget.


def test_a_budget_is_shared_by_priority_and_the_sentence_says_so() -> None:
    high, low = together(case(model("high", priority=1), 1, 7.0), case(model("low"), 1, 7.0), budget=7)
    assert (high.desired, low.desired) == (5, 2)
    assert low.sentence.endswith("; 5 limited to 2 by the budget of 7 GPUs")
    assert low.clamps == ("gpus",)


def test_who_grows_waits_until_the_other_has_drained() -> None:
    high, low = together(case(model("high", priority=1), 1, 7.0), case(model("low"), 5, 7.0), budget=6)
    assert (high.order, low.desired, low.order) == (1, 1, 5)
    assert low.memory.drain.phase == "draining"


def test_a_model_that_is_not_known_keeps_what_it_has() -> None:
    high, low = together(case(model("high", priority=1), 1, 7.0), case(model("low"), 5, SILENT), budget=6)
    assert (high.desired, low.desired) == (1, 5)


def test_gpus_of_models_that_were_not_read_are_not_given_away() -> None:
    (alone,) = together(case(model("high"), 1, 7.0), budget=6, elsewhere=4)
    assert alone.desired == 2


def test_without_a_budget_each_gets_what_it_wants() -> None:
    assert [d.desired for d in together(case(model("a"), 1, 7.0), case(model("b"), 1, 7.0), budget=0)] == [5, 5]


# Scale to zero.

SLEEPER = settings(least=0)


def sleeper(current: int, load: Signal | float, memory: Memory, *, at: float = NOW, scaled_at: tuple[float, ...] = ()) -> Decision:
    made = case(SLEEPER.model, current, load, memory, at=at, scaled_at=scaled_at)
    return decide(made.snapshot, SLEEPER, made.memory)


def test_the_first_request_wakes_one_without_a_cooldown() -> None:
    woken = sleeper(0, 0.1, Memory(busy_at=NOW - 9e9), scaled_at=(NOW - 1,))
    assert (woken.order, woken.memory.busy_at) == (1, NOW)
    assert "cooldown" not in woken.clamps


def test_a_model_that_is_up_waits_its_cooldown_as_ever() -> None:
    assert sleeper(1, 7.0, Memory(busy_at=NOW), scaled_at=(NOW - 1,)).order == 1


def test_the_last_one_goes_when_it_was_idle_long_enough_and_not_before() -> None:
    memory = sleeper(1, 0.0, Memory()).memory
    assert memory.busy_at == NOW
    early = sleeper(1, 0.0, memory, at=NOW + 1799)
    assert (early.desired, early.sentence) == (1, "small-model stays at 1: no request for 1799 s, one is kept for 1800 s")
    late = sleeper(1, 0.0, early.memory, at=NOW + 1800)
    assert (late.desired, late.memory.drain.phase) == (0, "draining")
    assert sleeper(1, 0.0, late.memory, at=NOW + 1820).order == 0


def test_a_minimum_above_zero_never_sleeps() -> None:
    made = decide(case(settings().model, 1, 0.0).snapshot, settings(), Memory(busy_at=NOW - 9e9))
    assert (made.desired, made.memory.busy_at) == (1, Memory().busy_at)


# No more versions than Nomad can go back over.


@pytest.mark.parametrize(
    ("ages_min", "load", "order", "says"),
    [
        ((50, 40, 30, 20, 10, 6), 0.0, 3, "6 scalings in the last hour are many: again in 4 min"),
        ((12, 11, 10, 9, 8, 7, 6), 0.0, 3, "7 scalings in the last hour are many: again in 4 min"),
        ((59, 58, 57, 56, 55, 10), 0.0, 3, "draining"),
        ((15, 14, 13, 12, 11, 10), 0.0, 3, "draining"),
        ((70, 40, 30, 20, 10, 6), 0.0, 3, "draining"),
        ((50, 40, 30, 20, 10, 6), 7.0, 5, "scaled 6 times in the last hour, more often than Nomad keeps versions to go back to"),
    ],
)
def test_many_scalings_within_the_hour_space_the_way_down_and_not_the_way_up(
    ages_min: tuple[int, ...], load: float, order: int, says: str
) -> None:
    seen = case(settings().model, 3, load, scaled_at=tuple(NOW - 60 * age for age in ages_min)).snapshot
    made = decide(seen, settings(), Memory())
    assert made.order == order
    assert says in made.sentence
    assert ("scalings" in made.clamps) == ("are many" in says)


def test_a_cooldown_that_is_longer_than_a_step_of_the_hour_holds_after_many_scalings_too() -> None:
    seen = case(settings().model, 3, 0.0, scaled_at=tuple(NOW - 60 * age for age in (50, 40, 30, 25, 20, 12))).snapshot
    made = decide(seen, settings(cooldown_down_s=1200), Memory())
    assert (made.order, "6 scalings in the last hour are many: again in 8 min" in made.sentence) == (3, True)
    assert "scalings" in made.clamps


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.sampled_from([1, 2, 3, 6, 12]), st.integers(0, 1800))
def test_the_way_down_is_never_closed_for_longer_than_a_step_of_the_hour_or_the_cooldown(
    ages_s: list[int], per_hour: int, cooldown_s: int
) -> None:
    rules = replace(settings(), autoscaler=Autoscaler(scalings_per_hour=per_hour, cooldown_down_s=cooldown_s))
    seen = case(settings().model, 3, 0.0, scaled_at=tuple(sorted(NOW - age_s for age_s in ages_s))).snapshot
    is_many = sum(age_s < 3600 for age_s in ages_s) >= per_hour
    rest_s = max(cooldown_s, 3600 / per_hour) if is_many else cooldown_s
    made = decide(seen, rules, Memory())
    assert (made.direction == "down") == (min(ages_s) >= rest_s)


# Hands off.


@pytest.mark.parametrize("load", [0.0, 7.0])
def test_hands_off_decides_says_why_and_orders_nothing(load: float) -> None:
    seen = case(settings().model, 3, load, hands_off="stands by: one leads").snapshot
    made = decide(seen, settings(), Memory())
    assert made.desired == decide(replace(seen, hands_off=""), settings(), Memory()).desired != 3
    assert (made.scales, made.memory.drain.victims) == (False, ())
    assert made.sentence.endswith("; stands by: one leads")


def test_remarks_stand_in_the_sentence() -> None:
    seen = case(settings().model, 1, 1.0, remarks=("1 start failed in the last hour",)).snapshot
    assert decide(seen, settings(), Memory()).sentence.endswith("; 1 start failed in the last hour")


def test_a_rule_over_several_models_is_a_vote_like_another() -> None:
    seen = case(settings().model, 1, 1.0, rules=(Vote(3, may_go_down=True, why="the log grew"),)).snapshot
    made = decide(seen, settings(), Memory())
    assert (made.desired, made.sentence) == (3, "small-model 1 -> 3: the log grew")
    assert [vote.wanted for vote in made.votes] == [1, 3]


# What must hold always.

rows = st.sampled_from(
    [
        (Policy(), Policy(kind="spare", replicas=1)),
        (Policy(kind="threshold", signal="concurrency", upper=6.0, lower=1.0),),
        (Policy(kind="schedule", cron="*/20 * * * *", duration_s=600.0, replicas=4), Policy(signal="requests_per_min")),
        (Policy(kind="forecast"), Policy()),
        (),
    ]
)
signals = st.one_of(st.builds(Known, st.floats(0, 50), st.just(1.0)), st.just(SILENT))


@given(
    st.lists(st.tuples(rows, st.integers(0, 12), signals, st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=5),
    st.integers(20, 60),
)
def test_orders_stay_within_bounds_and_budget_and_are_the_same_again(
    story: list[tuple[tuple[Policy, ...], int, Signal, int, int]], budget: int
) -> None:
    cases = [
        case(replace(model(f"m{n}", gpus=gpus, priority=priority, least=0, most=8), policy=policy), current, signal)
        for n, (policy, current, signal, gpus, priority) in enumerate(story)
    ]
    made = together(*cases, budget=budget)
    assert made == together(*cases, budget=budget)
    assert all(d.order <= 8 or d.order == d.current for d in made)
    grown = [(c, d) for c, d in zip(cases, made, strict=True) if d.order > d.current]
    used = sum(c.model.gpus * max(d.order, d.current) for c, d in zip(cases, made, strict=True))
    assert not grown or used <= budget


@given(rows, st.integers(1, 8), signals, st.integers(0, 20))
def test_never_down_where_any_rule_does_not_know(policy: tuple[Policy, ...], current: int, signal: Signal, budget: int) -> None:
    """Not even for the sake of the budget."""
    seen = case(replace(model("m", most=8), policy=policy), current, signal)
    busy = case(replace(model("other", priority=1, most=20)), 1, 20.0)
    made = together(seen, busy, budget=budget)[0]
    if any(not vote.may_go_down for vote in made.votes):
        assert made.desired >= current


def test_a_large_vote_of_one_rule_does_not_hide_that_another_does_not_know() -> None:
    unsure = replace(model("low"), policy=(Policy(), Policy(signal="requests_per_min")))
    signals = {"concurrency": Known(14.0, 1.0), "requests_per_min": SILENT}
    held = Case(unsure, Snapshot(NOW, fleet(5), signals), Memory())
    low, _ = together(held, case(model("high", priority=1), 1, 14.0), budget=8)
    assert low.desired == 5
