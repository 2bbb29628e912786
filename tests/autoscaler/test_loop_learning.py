"""The loop learns what a replica carries and tells of starts that fail: what is decided, said, published and counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from autoscaler.forecast.question import Forecast
from autoscaler.history import Failed, Scrape
from autoscaler.scrape import Target
from autoscaler.signals import KV_USE, QUEUED, Known
from autoscaler.text import ARRIVED, ENGINE_LOAD, ENGINE_QUEUE, ENGINE_RUNNING, FLYING, LATENCY_COUNT
from fleet.consul import Instance, Seen
from fleet.metrics import CAPACITY_FACTOR, FAILED_STARTS, REPLICAS
from fleet.model import Policy, Spec
from fleet.nomad import Allocation
from tests.autoscaler.build import NOW, allocation
from tests.autoscaler.test_loop import Prophet, World, left, loop_in, passes, spec

MODEL = "small-model"


@dataclass
class Busy(World):
    """Each engine runs `runs` and lets `queues` wait; the routers answer 30 requests a minute of every engine."""

    runs: float = 1.0
    queues: float = 0.0
    loads_for_ever: bool = False
    placed_ids: tuple[int, ...] = (0,)
    failures: tuple[Allocation, ...] = ()

    async def instances(self, service: str) -> Seen[tuple[Instance, ...]]:
        seen = await super().instances(service)
        return replace(seen, value=tuple(replace(i, passing=not self.loads_for_ever) for i in seen.value))

    def _answer(self, target: Target) -> Scrape | Failed:
        if target.name.startswith("replica"):
            values = {ENGINE_LOAD: self.runs + self.queues, ENGINE_RUNNING: self.runs, ENGINE_QUEUE: self.queues}
        else:
            done = 0.5 * self.count * (self.now - NOW)
            values = {FLYING: self.count * (self.runs + self.queues), ARRIVED: done, LATENCY_COUNT: done}
        return Scrape(target.name, self.now, {(name, MODEL): value for name, value in values.items()})

    def placed(self) -> tuple[Allocation, ...]:
        return (*(allocation(i) for i in self.placed_ids), *self.failures)


def quiet() -> Spec:
    """One replica at most, so that the fleet stays as it is."""
    return spec(most=1, policy=(Policy(),))


async def test_a_replica_that_is_full_at_half_its_prior_is_believed_and_told() -> None:
    world = Busy(runs=1.0, queues=2.0)
    loop = loop_in(world, quiet())
    status = await passes(loop, world, 720)
    carries = world.published[-1].carries
    assert carries is not None
    assert 1.0 <= carries.concurrency < 1.02
    assert 30.0 <= carries.requests_per_min < 30.5
    assert "a replica carries 1 at once and 30" in status.sentence
    assert "instead of 2 and 60: 2 waited in its queue while it ran 1" in status.sentence
    assert loop.recorder.gauges[CAPACITY_FACTOR, (MODEL, "concurrency")] < 0.51


async def test_what_was_learned_decides_how_many_are_wanted() -> None:
    """A demand of 2.6 needs two replicas by the prior of 2 at 70 %, and four of what carries 1."""
    world = Busy(runs=1.0, queues=1.6)
    loop = loop_in(world, spec(most=1))
    await passes(loop, world, 720)
    status = world.said[-1]
    assert "4 limited to the maximum 1" in status.sentence


async def test_the_next_leader_goes_on_with_it() -> None:
    world = Busy(runs=1.0, queues=2.0)
    await passes(loop_in(world, quiet()), world, 720)
    world.queues = 0.0
    await passes(loop_in(world, quiet()), world, 1)
    carries = world.published[-1].carries
    assert carries is not None
    assert carries.concurrency < 1.02


async def test_another_source_teaches_nothing_because_it_speaks_of_a_minute_ago() -> None:
    world = Busy(runs=1.0)
    world.source.told = {QUEUED: Known(9.0, 90.0), KV_USE: Known(1.0, 90.0)}
    status = await passes(loop_in(world, quiet()), world, 360)
    assert status.signals[QUEUED] == Known(9.0, 90.0)
    assert world.published[-1].carries is not None
    assert world.published[-1].carries.concurrency == 2.0


async def test_a_start_that_fails_is_told_and_counted_once() -> None:
    world = Busy(loads_for_ever=True)
    loop = loop_in(world, quiet())
    await passes(loop, world, 2)
    world.failures = (allocation(0, client_status="failed", failure="engine: exit 137"),)
    world.placed_ids = (1,)
    await passes(loop, world, 3)
    assert "1 start failed in the last hour, the last one: engine: exit 137" in world.said[-1].sentence
    assert loop.recorder.counts[FAILED_STARTS, (MODEL,)] == 1


async def test_replicas_without_a_node_are_counted() -> None:
    world = Busy(count=3, placed_ids=(0,))
    loop = loop_in(world)
    await passes(loop, world, 1)
    assert loop.recorder.gauges[REPLICAS, (MODEL, "missing")] == 2
    assert "2 of 3 not placed: Nomad has not placed it yet" in world.said[-1].sentence


EARLY = Policy(kind="schedule", cron="20 8 * * *", duration_s=3600.0, replicas=3)  # 20 minutes after NOW


@pytest.mark.parametrize(
    ("measured_s", "orders"), [((), []), ((1800.0, 1800.0), [3]), ((60.0, 60.0), [])], ids=["prior", "longer", "shorter"]
)
async def test_a_schedule_is_ordered_as_far_ahead_as_a_cold_start_was_measured(measured_s: tuple[float, ...], orders: list[int]) -> None:
    """fleet.toml says ten minutes."""
    world = World()
    world.stored[MODEL] = left(cold_starts_s=measured_s)
    await passes(loop_in(world, spec(policy=(EARLY,))), world, 1)
    assert [order.count for order in world.orders] == orders


async def test_a_forecast_looks_as_far_ahead_as_a_cold_start_was_measured() -> None:
    world = World(prophet=Prophet(Forecast(3, 2, 5, 0, "load 2.0 replicas")))
    world.stored[MODEL] = left(cold_starts_s=(1200.0, *[1100.0] * 8, 1800.0))
    status = await passes(loop_in(world, spec(policy=(Policy(kind="forecast"),))), world, 1)
    assert "forecast 2 to 5 in 30 min: " in status.sentence  # nine of ten are quicker
