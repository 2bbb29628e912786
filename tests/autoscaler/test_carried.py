"""What one replica carries, learned from what it does: the table at the head of carried.py, its bounds and its pace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.carried import BOUNDS, Carrying, Evidence, learn, restored
from autoscaler.signals import (
    ANSWERS_PER_MIN,
    CONCURRENCY,
    HELD,
    KV_USE,
    QUEUE_TIME_S,
    QUEUED,
    REQUESTS_PER_MIN,
    RUNNING,
    TTFT_S,
    Known,
    Partial,
    Signal,
    Unknown,
)
from fleet.model import Capacity as PerReplica
from fleet.state import Carries
from tests.autoscaler.build import NOW, fleet, replica, settings

MODEL = replace(settings().model, capacity=PerReplica(concurrency=20, requests_per_min=60))
PRIOR = restored(MODEL, None)


def saw(*, run: float, answers: float, queued: float = 0.0, replicas: int = 1, **others: float) -> dict[str, Signal]:
    """Sums over `replicas`, each of which does the same."""
    each = {RUNNING: run * replicas, ANSWERS_PER_MIN: answers * replicas, QUEUED: queued * replicas} | others
    return {name: Known(value, 1.0) for name, value in each.items()}


def taught(signals: dict[str, Signal], *, hours: float, known: Carrying = PRIOR, replicas: int = 1) -> Carrying:
    """A pass every 10 s."""
    start = known.at if known.at > 0 else NOW
    for step in range(1, round(hours * 360) + 1):
        known = learn(known, Evidence(start + 10 * step, fleet(replicas), signals, window_s=60, ttft_s=2.0))
    return known


FULL = [{"queued": 1.0}, {KV_USE: 0.97}, {QUEUE_TIME_S: 2.5}]


@pytest.mark.parametrize("sign", FULL, ids=["queue", "cache", "queue time"])
def test_a_full_replica_carries_what_it_runs_and_answers(sign: dict[str, float]) -> None:
    after = taught(saw(run=14, answers=40, **sign), hours=2)
    assert after.one == {CONCURRENCY: pytest.approx(14, rel=0.01), REQUESTS_PER_MIN: pytest.approx(40, rel=0.01)}


def test_no_lesson_goes_below_half_or_above_twice_the_prior() -> None:
    low = taught(saw(run=1, answers=1, queued=9), hours=3)
    assert low.one == {CONCURRENCY: 10.0, REQUESTS_PER_MIN: 30.0}
    high = taught(saw(run=500, answers=5000, **{TTFT_S: 1.0}), hours=3)
    assert high.one == {CONCURRENCY: 40.0, REQUESTS_PER_MIN: 120.0}


def test_a_full_replica_never_teaches_that_it_carries_more() -> None:
    """It runs more than its SLO allows: that is why requests wait."""
    assert taught(saw(run=50, answers=200, queued=9), hours=2).one == PRIOR.one


def test_more_than_believed_in_time_and_without_a_queue_is_believed() -> None:
    after = taught(saw(run=30, answers=90, **{TTFT_S: 1.0, HELD: 0.0}), hours=8)
    assert after.one == {CONCURRENCY: pytest.approx(30, rel=0.01), REQUESTS_PER_MIN: pytest.approx(90, rel=0.01)}


@pytest.mark.parametrize("late", [{TTFT_S: 2.1}, {}, {TTFT_S: 1.0, HELD: 1.0}], ids=["late", "not told", "held"])
def test_more_than_believed_is_not_believed_where_the_slo_may_be_broken(late: dict[str, float]) -> None:
    assert taught(saw(run=30, answers=90, **late), hours=8).one[CONCURRENCY] == 20


def test_longer_answers_lower_the_requests_a_minute_before_anything_queues() -> None:
    """Little's law: 15 at once and 30 a minute are 30 s each, so 20 at once are 40 a minute."""
    after = taught(saw(run=15, answers=30), hours=2)
    assert after.one == {CONCURRENCY: 20.0, REQUESTS_PER_MIN: pytest.approx(40, rel=0.01)}


@pytest.mark.parametrize(
    "change",
    [
        {RUNNING: Partial(14.0, 1.0, "a replica is silent")},
        {QUEUED: Unknown("no replica is passing")},
        {ANSWERS_PER_MIN: Unknown("no router")},
        {RUNNING: Known(0.0, 1.0)},
    ],
)
def test_what_is_not_wholly_known_teaches_nothing(change: dict[str, Signal]) -> None:
    assert taught(saw(run=14, answers=40, queued=5) | change, hours=1).one == PRIOR.one


def test_an_idle_replica_teaches_nothing() -> None:
    assert taught(saw(run=9, answers=1), hours=1).one == PRIOR.one


def test_only_a_steady_fleet_teaches() -> None:
    signals, known = saw(run=14, answers=40, queued=5), PRIOR
    for step in range(1, 60):
        rows = replace(fleet(1), replicas=(replica(step // 5),))  # another replica every 50 s, and a window has 60
        known = learn(known, Evidence(NOW + 10 * step, rows, signals, window_s=60, ttft_s=2.0))
    assert known.one == PRIOR.one
    for step in range(60, 120):
        rows = replace(fleet(2), replicas=(replica(0), replica(1, draining=True)))
        known = learn(known, Evidence(NOW + 10 * step, rows, signals, window_s=60, ttft_s=2.0))
    assert known.one == PRIOR.one


def test_the_sums_of_a_fleet_are_shared_by_its_replicas() -> None:
    after = taught(saw(run=14, answers=40, queued=1, replicas=3), hours=2, replicas=3)
    assert after.one[CONCURRENCY] == pytest.approx(14, rel=0.01)


def test_it_learns_down_in_minutes_and_up_in_an_hour() -> None:
    down = taught(saw(run=10, answers=30, queued=5), hours=0.25)
    assert 12 < down.one[CONCURRENCY] < 14
    up = taught(saw(run=30, answers=90, **{TTFT_S: 1.0}), hours=0.25)
    assert 20.5 < up.one[CONCURRENCY] < 23


def test_a_lesson_is_forgotten_in_a_day() -> None:
    low = taught(saw(run=10, answers=30, queued=5), hours=2)
    later = taught(saw(run=1, answers=1), hours=24, known=low)
    assert 10.5 < low.one[CONCURRENCY] + 0.5 < later.one[CONCURRENCY] < 18
    assert "instead of 20 and 60: 5 waited in its queue while it ran 10" in low.sentence


def test_one_pass_after_a_long_silence_is_one_step_and_no_leap() -> None:
    known = taught(saw(run=20, answers=60), hours=0.1)
    late = learn(known, Evidence(known.at + 86400, fleet(1), saw(run=1, answers=1, queued=9), window_s=60, ttft_s=2.0))
    assert late.one[CONCURRENCY] > 18


def test_the_prior_says_nothing_and_a_lesson_says_why() -> None:
    assert PRIOR.sentence == ""
    after = taught(saw(run=14, answers=40, queued=1), hours=2)
    assert after.sentence == "a replica carries 14 at once and 40 a minute instead of 20 and 60: 1 waited in its queue while it ran 14"
    assert after.factors == {CONCURRENCY: pytest.approx(0.7, rel=0.01), REQUESTS_PER_MIN: pytest.approx(0.67, rel=0.01)}


def test_the_successor_goes_on_with_it_unless_the_prior_was_edited() -> None:
    saved = taught(saw(run=14, answers=40, queued=1), hours=2).carries
    assert restored(MODEL, saved).carries == saved
    assert "as learned before" in restored(MODEL, saved).sentence
    edited = replace(MODEL, capacity=PerReplica(concurrency=14, requests_per_min=40))
    assert restored(edited, saved).one == {CONCURRENCY: 14.0, REQUESTS_PER_MIN: 40.0}


numbers = st.floats(0, 1e6)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, st.floats(0, 5), st.integers(0, 3), st.floats(-100, 1e5)), max_size=15))
def test_whatever_is_seen_it_stays_within_half_and_twice_the_prior(passes: list[tuple[float, ...]]) -> None:
    known, now = restored(MODEL, Carries(concurrency=1e9, requests_per_min=0, prior_concurrency=20, prior_requests_per_min=60)), NOW
    for run, answers, queued, queue_time_s, ttft_s, replicas, step_s in passes:
        now += step_s
        seen = saw(run=run, answers=answers, queued=queued, **{QUEUE_TIME_S: queue_time_s, TTFT_S: ttft_s})
        known = learn(known, Evidence(now, fleet(int(replicas)), seen, window_s=60, ttft_s=2.0))
        for factor in known.factors.values():
            assert BOUNDS[0] - 1e-9 <= factor <= BOUNDS[1] + 1e-9
