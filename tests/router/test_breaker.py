from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replicas.breaker import CLEAN, FAILURES, OPEN_S, Breaker, Event, State, allows, step

OPEN = Breaker(State.OPEN, FAILURES, 100.0 + OPEN_S)
HALF = Breaker(State.HALF_OPEN)

TABLE = [
    ("success clears strikes", Breaker(State.CLOSED, 2), Event.SUCCESS, CLEAN),
    ("a strike", CLEAN, Event.FAILURE, Breaker(State.CLOSED, 1)),
    ("the third strike opens", Breaker(State.CLOSED, 2), Event.FAILURE, OPEN),
    ("a late success changes nothing", OPEN, Event.SUCCESS, OPEN),
    ("a late failure does not prolong", OPEN, Event.FAILURE, OPEN),
    ("the probe starts", OPEN, Event.PROBE, HALF),
    ("one that is reached again may be probed at once", OPEN, Event.REACHED, Breaker(State.OPEN, FAILURES, 100.0)),
    ("one that is being probed is not reached", HALF, Event.REACHED, HALF),
    ("a late success does not close for the probe", HALF, Event.SUCCESS, HALF),
    ("a late failure does not open for the probe", HALF, Event.FAILURE, HALF),
    ("the probe closes", HALF, Event.PROBE_OK, CLEAN),
    ("the probe opens again", HALF, Event.PROBE_FAILED, OPEN),
    ("a probe without a verdict frees its place at once", HALF, Event.PROBE_LEFT, Breaker(State.OPEN, FAILURES, 100.0)),
]


@pytest.mark.parametrize(("name", "before", "event", "after"), TABLE)
def test_the_table(name: str, before: Breaker, event: Event, after: Breaker) -> None:
    assert step(before, event, 100.0) == after


@pytest.mark.parametrize(("breaker", "now", "allowed"), [(CLEAN, 0, True), (OPEN, 159.9, False), (OPEN, 160, True), (HALF, 1e9, False)])
def test_who_may_start(breaker: Breaker, now: float, allowed: bool) -> None:
    assert allows(breaker, now) is allowed


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "left"]), st.floats(0.1, 40)), max_size=60))
def test_whatever_happens_there_is_at_most_one_probe_and_always_a_way_back(story: list[tuple[str, float]]) -> None:
    breaker, now, probing = CLEAN, 0.0, False
    for outcome, passed in story:
        now += passed
        if probing:
            verdict = {"ok": Event.PROBE_OK, "bad": Event.PROBE_FAILED, "left": Event.PROBE_LEFT}[outcome]
            assert not allows(breaker, now + 1e6), "nobody but the probe"
            breaker, probing = step(breaker, verdict, now), False
        elif allows(breaker, now):
            if breaker.state is State.OPEN:
                breaker, probing = step(breaker, Event.PROBE, now), True
            else:
                breaker = step(breaker, {"ok": Event.SUCCESS, "bad": Event.FAILURE}.get(outcome, Event.SUCCESS), now)
    assert probing or allows(breaker, now + OPEN_S)
