"""What a router says of its sessions, breakers and troubles when its numbers are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import metrics
from router.app import Wired, wire
from router.replicas.breaker import FAILURES, Event
from router.replicas.snapshot import Endpoint, Snapshot
from router.sessions.table import Session, SessionTable
from tests.router.conftest import SPEC

NOW = 1000.0


@pytest.fixture
def wired() -> Wired:
    made = wire(SPEC)
    made.plane.heard()
    made.plane.apply(Snapshot(1, tuple(Endpoint(f"s{n}", f"alloc-{n}", "large", "127.0.0.1", 9) for n in range(2))))
    return made


def read(wired: Wired) -> dict[tuple[str, ...], float]:
    recorder = wired.plane.recorder
    recorder.collect()
    return {(metric.name, *tags): value for (metric, tags), value in recorder.gauges.items()}


def test_sessions_are_counted_by_selector_and_by_the_model_that_serves_them(wired: Wired) -> None:
    table = wired.plane.sessions
    for n, session in enumerate((Session(0), Session(0), Session(0, "small"), Session(3), Session(7), Session(0, "gone-model"))):
        table.put(f"id-{n}", session, NOW)
    sessions = {key[1:]: value for key, value in read(wired).items() if key[0] == metrics.SESSIONS.name}
    assert sessions == {("0", "large"): 2, ("0", "small"): 1, ("0", "-"): 1, ("3", "small"): 1, ("7", "-"): 1, ("10", "small"): 0}
    table.put("id-0", Session(0, "small", generation=1), NOW)
    for n in range(1, 6):
        table.forget(f"id-{n}")
    sessions = {key[1:]: value for key, value in read(wired).items() if key[0] == metrics.SESSIONS.name and value}
    assert sessions == {("0", "small"): 1}


_SESSIONS = st.builds(Session, st.integers(0, 2), st.sampled_from(("", "a", "b")), st.just(""), st.integers(0, 3))
_STEPS = st.tuples(st.sampled_from(("put", "adopt", "forget", "expire")), st.sampled_from("abcd"), _SESSIONS)


@given(st.lists(_STEPS, max_size=40))
def test_the_counts_by_model_are_those_of_the_table_whatever_was_done_to_it(steps: list[tuple[str, str, Session]]) -> None:
    table, now = SessionTable(3, 60.0), 0.0
    for what, session_id, session in steps:
        now += 7.0
        if what == "put":
            table.put(session_id, session, now, owner=session_id)
        elif what == "adopt":
            table.adopt(session_id, session)
        elif what == "forget":
            table.forget(session_id)
        else:
            table.expire(now)
        assert sum(table.by_model.values()) == len(table)
        held = [table.get(one, 0.0) for one in "abcd"]
        for (selector, model), count in table.by_model.items():
            assert count == sum(s is not None and (s.selector, s.model) == (selector, model) for s in held)


def test_breakers_are_counted_by_state_and_states_that_nobody_is_in_are_there(wired: Wired) -> None:
    broken = wired.plane.replicas()[0]
    for _ in range(FAILURES):
        broken.report(Event.FAILURE, NOW)
    breakers = {key[1:]: value for key, value in read(wired).items() if key[0] == metrics.BREAKERS.name}
    assert breakers[("large", "closed")] == breakers[("large", "open")] == 1
    assert breakers[("large", "half-open")] == breakers[("small", "closed")] == 0


def test_what_a_router_goes_without_is_one_and_all_else_is_zero(wired: Wired) -> None:
    def troubles() -> set[str]:
        told = {key[1]: value for key, value in read(wired).items() if key[0] == metrics.DEGRADED.name}
        assert {"consul", "redis", "kept_endpoints", "no_replicas"} <= told.keys() and set(told.values()) <= {0, 1}
        return {what for what, value in told.items() if value}

    assert troubles() == {"no_replicas"}  # small and lone have none
    wired.plane.lost()
    assert troubles() == {"no_replicas", "consul"}
    wired.store.away_since = NOW
    assert troubles() == {"no_replicas", "consul", "redis"}
    wired.plane.heard()
    wired.store.away_since = None
    assert troubles() == {"no_replicas"}
