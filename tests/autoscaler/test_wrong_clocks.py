"""A clock that was wrong and is put right, here or on Nomad's servers, and rubbish that looks like measured times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler import coldstart
from autoscaler.capacity import Capacity
from autoscaler.decide import Memory, Snapshot, decide
from autoscaler.drain import Drain, Patience, step
from autoscaler.logfolder import LogFolder
from autoscaler.policies import idle, log_volume
from autoscaler.signals import LOG_BYTES_PER_MIN, Known, Unknown
from fleet.policy import LogVolume, Policy
from tests.autoscaler.build import NOW, fleet, replica, settings
from tests.autoscaler.test_forecasts import MODEL, forecasts, seen
from tests.autoscaler.test_loop import World, left, loop_in, passes, spec
from tests.autoscaler.test_policies import view

HOUR_S = 3600.0


async def test_what_was_seen_before_a_clock_was_put_back_no_longer_counts() -> None:
    world = World(count=2, flying=2.8)
    loop = loop_in(world)
    await passes(loop, world, 12)
    world.now, world.flying = world.now - HOUR_S, 5.6
    status = await passes(loop, world, 8)
    assert "concurrency 5.6 over" in status.sentence
    assert [order.count for order in world.orders] == [4]


async def test_the_routers_are_told_the_state_also_after_a_clock_was_put_back() -> None:
    world = World(flying=0.5)
    loop = loop_in(world)
    await passes(loop, world, 8)
    world.now -= HOUR_S
    await passes(loop, world, 2)
    assert world.published[-1].updated_at < NOW


@pytest.mark.parametrize(
    ("ahead_s", "desired", "says"),
    [
        (0.0, 1, "cooldown for 30 s more"),
        (20.0, 1, "cooldown for 30 s more"),  # ordinary skew
        (86400.0, 2, "a scaling 1440 min ahead in Nomad is not counted: see to the clocks"),
    ],
)
def test_a_scaling_that_lies_in_the_future_rests_a_model_no_longer_than_a_cooldown(ahead_s: float, desired: int, says: str) -> None:
    made = decide(Snapshot(NOW, fleet(1), {"concurrency": Known(2.8, 1.0)}, (NOW - 900, NOW + ahead_s)), settings(), Memory())
    assert made.desired == desired
    assert says in made.sentence


def test_a_drain_that_began_in_the_future_begins_now() -> None:
    after = step(Drain("draining", ("alloc-1",), NOW + HOUR_S), (replica(1),), NOW, Patience(notice_s=20, longest_s=120))
    assert after == Drain("draining", ("alloc-1",), NOW)


def test_a_silence_is_counted_from_now_where_the_last_request_lies_in_the_future() -> None:
    quiet = view(1, concurrency=0.0, requests_per_min=0.0)
    assert idle.busy_at(NOW + HOUR_S, quiet) == NOW


def test_a_log_rule_that_looked_in_the_future_looks_again() -> None:
    rule = LogVolume(large="large", small="small")
    sight = log_volume.Sight(NOW, Known(2e6, 1.0), [], ready=1, least=1, most=3)
    assert log_volume.step(replace(log_volume.first(rule), checked_at=NOW + HOUR_S), rule, sight).larges == 1


async def test_growth_of_a_log_that_was_seen_in_the_future_is_forgotten(tmp_path: Path) -> None:
    now = [NOW]
    folder = LogFolder(tmp_path, 1.0, 60.0, 45.0, clock=lambda: now[0])
    for _ in range(3):
        await folder.look()
        now[0] += 10
    now[0] = NOW - HOUR_S
    await folder.look()
    assert isinstance(folder.signals("any", now[0])[LOG_BYTES_PER_MIN], Unknown)


async def test_a_forecaster_that_has_seen_what_is_to_come_is_not_taken_for_fresh() -> None:
    asked, _ = forecasts()
    await asked.restore(MODEL)
    asked.ask(MODEL, seen(60))
    assert asked.ask(MODEL, seen(0)) == Unknown("the clock was put back, the forecaster goes on in 60 min")


@pytest.mark.parametrize(
    ("prior_s", "measured_s", "p90_s"),
    [
        (600.0, (700.0,), 700.0),
        (600.0, (216_000.0,), 7200.0),  # a machine that was suspended over the weekend
        (1800.0, (216_000.0,), 18_000.0),
        (600.0, (1e300,), 7200.0),
        (600.0, (-5.0,), 0.0),
    ],
)
def test_no_cold_start_is_longer_than_can_be(prior_s: float, measured_s: tuple[float, ...], p90_s: float) -> None:
    assert coldstart.restored(prior_s, measured_s).p90_s == p90_s


def test_a_start_that_took_a_weekend_is_not_learned_as_such() -> None:
    loading = Capacity(1, (replica(0, passing=False),)).replicas
    known, _ = coldstart.measure(coldstart.ColdStarts(600.0), loading, NOW)
    for hour in range(60):
        known, _ = coldstart.measure(known, loading, NOW + hour * HOUR_S)
    known, told = coldstart.measure(known, (replica(0),), NOW + 60 * HOUR_S)
    assert (known.p90_s, len(told)) == (7200.0, 1)


async def test_rubbish_in_consul_does_not_end_the_loop() -> None:
    rules = (Policy(kind="schedule", cron="0 8 * * *", duration_s=HOUR_S, replicas=2), Policy())
    world = World(flying=2.8, stored={"small-model": left(cold_starts_s=(1e300,))})
    await passes(loop_in(world, spec(policy=rules)), world, 2)
    assert world.count == 2
