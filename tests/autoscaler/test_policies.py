"""Every kind of rule by itself: what it votes for, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler import signals as names
from autoscaler.forecast.question import Forecast
from autoscaler.policies import arrivals, forecast, idle, schedule, spare, target, threshold
from autoscaler.policies.ballot import votes
from autoscaler.policies.vote import View, Vote, safest
from autoscaler.signals import Known, Partial, Signal, Unknown
from fleet.policy import TAKES, Policy, SignalName
from tests.autoscaler.build import NOW, settings

SILENT = Unknown("router r1 did not answer")
DEAF = Partial(0.0, 1.0, "router r1 did not answer")


def view(current: int = 2, *, ready: int | None = None, at: float = NOW, lead_s: float = 900.0, **signals: Signal | float) -> View:
    """What is not ready loads."""
    found = {name: Known(value, 1.0) if isinstance(value, int | float) else value for name, value in signals.items()}
    ready = current if ready is None else ready
    one = {"concurrency": 2.0, "requests_per_min": 60.0}
    return View(at, current, ready, found, one, 60.0, lead_s, loading=current - ready)


def test_the_names_that_a_rule_may_use_are_the_signals_there_are() -> None:
    there = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    assert set(get_args(SignalName)) == there


def test_every_kind_of_the_file_has_a_vote() -> None:
    rows = tuple(Policy(kind=kind, cron="0 8 * * *", sessions_per_min=1.0) for kind in TAKES)  # type: ignore[arg-type]
    assert len(votes(settings(policy=rows).model, view(concurrency=1.0), NOW)) == len(TAKES)


# threshold

HOT = Policy(kind="threshold", signal="kv_cache_use", upper=0.9, lower=0.3, step=2)


@pytest.mark.parametrize(
    ("current", "ready", "use", "wanted"),
    [
        (2, 2, 0.95, 4),
        (4, 2, 0.95, 4),  # two are ordered and not warm: no further step
        (4, 4, 0.95, 6),
        (5, 4, 0.95, 6),
        (2, 2, 0.9, 2),
        (2, 2, 0.5, 2),
        (2, 2, 0.3, 2),
        (4, 4, 0.2, 2),
        (4, 3, 0.2, 4),
        (1, 1, 0.2, 0),
        (0, 0, 0.95, 2),
    ],
)
def test_threshold_steps_from_what_serves(current: int, ready: int, use: float, wanted: int) -> None:
    assert threshold.vote(HOT, view(current, ready=ready, kv_cache_use=use)).wanted == wanted


def test_threshold_without_a_lower_bound_never_goes_down() -> None:
    assert threshold.vote(replace(HOT, lower=0.0), view(4, kv_cache_use=0.0)).wanted == 4


# schedule

OFFICE = Policy(kind="schedule", cron="0 8 * * mon-fri", duration_s=10 * 3600.0, timezone="Europe/Berlin", replicas=5)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "wanted"),
    [
        ("2026-11-20 07:44", 0),
        ("2026-11-20 07:45", 5),  # a cold start of 15 minutes ahead: warm at eight
        ("2026-11-20 08:00", 5),
        ("2026-11-20 17:59", 5),
        ("2026-11-20 18:00", 0),
        ("2026-11-21 12:00", 0),  # a Saturday
        ("2026-03-30 07:45", 5),  # the Monday after the clocks were changed: eight is still eight
        ("2026-10-26 07:45", 5),
        ("2026-10-26 07:44", 0),
    ],
)
def test_schedule_is_warm_when_it_begins(local: str, wanted: int) -> None:
    at = datetime.fromisoformat(local).replace(tzinfo=BERLIN).timestamp()
    assert schedule.vote(OFFICE, view(at=at)).wanted == wanted


def test_schedule_says_for_when() -> None:
    at = datetime(2026, 11, 20, 7, 50, tzinfo=BERLIN).timestamp()
    assert schedule.vote(OFFICE, view(at=at)).why == "schedule '0 8 * * mon-fri' keeps 5 to be warm at Fri 08:00 (Europe/Berlin)"
    assert "from Fri 08:00 on" in schedule.vote(OFFICE, view(at=at + 3600)).why


@pytest.mark.parametrize(("night", "hours"), [("2026-03-28", 8), ("2026-10-24", 8), ("2026-11-20", 8)])
def test_a_night_shift_is_as_long_on_the_night_of_a_change(night: str, hours: int) -> None:
    shift = Policy(kind="schedule", cron="0 22 * * *", duration_s=hours * 3600.0, timezone="Europe/Berlin", replicas=3)
    start = datetime.fromisoformat(f"{night} 22:00").replace(tzinfo=BERLIN).timestamp()
    seen = [schedule.vote(shift, view(at=start + minute * 60, lead_s=60.0)).wanted for minute in range(-1, hours * 60 + 1)]
    assert seen == [3] * (hours * 60 + 1) + [0]


# spare, arrivals, forecast


@pytest.mark.parametrize(
    ("row", "load", "wanted"),
    [
        ({"replicas": 1}, 4.0, 3),  # two are full, one idle
        ({"replicas": 1}, 4.1, 4),
        ({"replicas": 2}, 0.0, 2),
        ({"share": 0.2}, 8.0, 5),  # four are full, a fifth of five is idle
        ({"share": 0.2}, 8.1, 6),
        ({"share": 0.5, "replicas": 1}, 2.0, 2),
        ({"share": 0.2, "replicas": 3}, 8.0, 7),
    ],
)
def test_spare_keeps_idle_replicas_beside_the_full_ones(row: dict[str, float], load: float, wanted: int) -> None:
    assert spare.vote(Policy(kind="spare", **row), view(concurrency=load)).wanted == wanted  # type: ignore[arg-type]


def test_arrivals_count_new_sessions() -> None:
    rule = Policy(kind="arrivals", sessions_per_min=10.0, target=0.8)
    made = arrivals.vote(rule, view(session_starts_per_min=32.0))
    assert (made.wanted, made.why) == (4, "session_starts_per_min 32 over 60 s is 160% of 2 replicas' 20 at target 80%")


AHEAD = Forecast(4, 3, 6, 0, "load 2.0 replicas")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (AHEAD, (4, True)),
        (replace(AHEAD, desired=1), (1, True)),
        (replace(AHEAD, desired=1, age_min=9), (2, False)),
        (replace(AHEAD, age_min=9), (4, False)),
        (Unknown("its forecaster was not restored yet"), (2, False)),
    ],
)
def test_forecast_votes_as_told_and_holds_on_old_numbers(made: Forecast | Unknown, expected: tuple[int, bool]) -> None:
    vote = forecast.vote(replace(view(2), forecast=made))
    assert (vote.wanted, vote.may_go_down) == expected


# scale to zero


@pytest.mark.parametrize(
    ("current", "load", "rate", "silent_s", "expected"),
    [
        (0, 0.0, 0.0, 9999, (0, False)),
        (0, 0.2, 0.0, 0, (1, True)),  # one waits in a router
        (0, 0.0, 1.0, 0, (1, True)),
        (0, DEAF, Partial(3.0, 1.0, "half"), 0, (1, True)),
        (0, SILENT, SILENT, 0, (0, False)),
        (0, DEAF, 0.0, 0, (0, False)),
        (3, 0.0, 0.0, 60, (1, False)),
        (3, 0.0, 0.0, 1799, (1, False)),
        (3, 0.0, 0.0, 1800, (0, False)),
        (3, 0.5, 0.0, 0, (1, False)),
        (3, SILENT, 0.0, 9999, (3, False)),
        (3, DEAF, 0.0, 9999, (3, False)),
        (3, Partial(0.5, 1.0, "half"), 0.0, 0, (3, False)),
    ],
)
def test_the_last_one_goes_after_a_silence_and_comes_with_a_request(
    current: int, load: Signal | float, rate: Signal | float, silent_s: float, expected: tuple[int, bool]
) -> None:
    vote = idle.vote(1800.0, view(current, concurrency=load, requests_per_min=rate), NOW - silent_s)
    assert (vote.wanted, vote.at_once) == expected


@pytest.mark.parametrize(
    ("last", "load", "expected"),
    [
        (idle.NEVER, 0.0, NOW),  # who has just come up has not seen the silence before
        (NOW - 500, 0.0, NOW - 500),
        (NOW - 500, 0.1, NOW),
        (NOW - 500, SILENT, NOW),
        (NOW - 500, DEAF, NOW),
    ],
)
def test_silence_counts_from_when_it_was_last_not_sure(last: float, load: Signal | float, expected: float) -> None:
    assert idle.busy_at(last, view(concurrency=load, requests_per_min=0.0)) == expected


# What must hold for every rule that rests on a signal.

ROWS = (
    Policy(),
    Policy(signal="requests_per_min", target=0.5, tolerance=0.0),
    replace(HOT, signal="concurrency", upper=8.0, lower=2.0),
    Policy(kind="spare", replicas=1, share=0.3),
    Policy(kind="arrivals", sessions_per_min=2.0),
)
ASKED = {"target": target, "threshold": threshold, "spare": spare, "arrivals": arrivals}
values = st.floats(0, 200)


def asked(row: Policy, current: int, ready: int, signal: Signal) -> Vote:
    seen = view(current, ready=min(ready, current), concurrency=signal, requests_per_min=signal, session_starts_per_min=signal)
    return ASKED[row.kind].vote(row, seen)


@given(st.sampled_from(ROWS), st.integers(0, 20), st.integers(0, 20), values, values)
def test_more_demand_never_wants_fewer(row: Policy, current: int, ready: int, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert asked(row, current, ready, Known(low, 0.0)).wanted <= asked(row, current, ready, Known(high, 0.0)).wanted


@given(st.sampled_from(ROWS), st.integers(0, 20), st.integers(0, 20), values)
def test_what_is_not_wholly_known_never_wants_fewer_than_there_are(row: Policy, current: int, ready: int, value: float) -> None:
    for signal in (Partial(value, 0.0, "half"), Unknown("nothing")):
        vote = asked(row, current, ready, signal)
        assert vote.wanted >= current
        assert not vote.may_go_down
        assert signal.why in vote.why


@given(st.lists(st.builds(Vote, st.integers(0, 9), st.booleans(), st.sampled_from("abc"), st.booleans()), min_size=1))
def test_the_safest_vote_is_the_largest_and_says_so_if_it_is_not_sure(cast: list[Vote]) -> None:
    chosen = safest(cast)
    equals = [vote for vote in cast if vote.wanted == chosen.wanted]
    assert chosen.wanted == max(vote.wanted for vote in cast)
    assert chosen.may_go_down == all(vote.may_go_down for vote in equals)
    assert chosen.at_once == any(vote.at_once for vote in equals)
