"""A rise that the last days had at this time is met warm, on real parts: the order goes out before the traffic comes.

Own system, with two models that forecast. The autoscaler starts with days of demand in its memory, as one left them to the next: of
small-model with a rise in a few minutes, of large-model without. Both get nothing now; what they differ in is their past.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import requests

from autoscaler.forecast.forecaster import Memory
from autoscaler.forecast.saved import save
from autoscaler.forecast.series import Window
from autoscaler.lease import ConsulLease
from autoscaler.memories import ConsulMemories
from fleet.consul import Consul
from fleet.local import stack
from fleet.state import Leader
from tests import servers
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey

MODELS = ("small-model", "large-model")
VARIABLES = tuple(
    f"model.{model}.{setting}"
    for model in MODELS
    for setting in ('policy=[{ kind = "forecast" }]', "replicas.max=2", "load_delay=3s", "capacity.requests_per_min=60")
)
DAY_MIN, DAYS = 1440, 4
RISE_IN_MIN, RISE_MIN = 5, 180
QUIET, BUSY = 8, 100  # requests a minute; one replica carries 60


@pytest.fixture(scope="module")
def foreseeing() -> Iterator[Fleet]:
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        stack.down(state)


def past(now_min: int, demand: Callable[[int], int]) -> bytes:
    """A forecaster's memory of the last days. `demand`: requests in a minute, by minutes since the last rise was due."""
    minutes = np.arange(now_min - DAYS * DAY_MIN, now_min)
    mean = [demand((minute - now_min - RISE_IN_MIN) % DAY_MIN) for minute in minutes]
    counts = np.random.default_rng(1).poisson(mean).astype(np.float64)
    return save(Memory(Window(int(minutes[0]), counts, np.zeros(len(counts), dtype=bool))))


async def restarted_with(fleet: Fleet, memories: dict[str, bytes]) -> None:
    """The autoscaler, as it comes up where another one has left these."""
    job = fleet.names.job("autoscaler")
    await asyncio.to_thread(fleet.nomad.deregister, job, purge=False)
    await until(lambda: fleet.passing("autoscaler") == 0 and not fleet.pids(b"autoscaler"), "the autoscaler has ended")
    consul = Consul(fleet.record.address("consul"))
    try:
        await left(fleet, consul, memories)
    finally:
        await consul.close()
    hcl = (fleet.state / "jobs" / "autoscaler.nomad.hcl").read_text()
    await asyncio.to_thread(lambda: fleet.nomad.register(fleet.nomad.parse(hcl)))


async def left(fleet: Fleet, consul: Consul, memories: dict[str, bytes]) -> None:
    """Only who leads may write, so this leads for a moment."""
    lease, over = (
        ConsulLease(consul, fleet.names.leader, Leader(name="test", url="", since=0.0), time.monotonic, time.time),
        asyncio.Event(),
    )
    async with asyncio.timeout(60):
        while not lease.standing().leads:
            await lease.step()
            await asyncio.sleep(0.2)
    for model, memory in memories.items():
        await ConsulMemories(consul, fleet.names, lease.fence).write(f"forecast/{model}", memory)
    over.set()
    await lease.run(over)


def orders(fleet: Fleet, model: str) -> list[str]:
    """The sentences of a model's scalings, as Nomad keeps them."""
    job = f"{fleet.record.address('nomad')}/v1/job/{fleet.names.job(model)}/scale"
    return [event["Message"] for event in requests.get(job, timeout=10).json()["TaskGroups"]["main"]["Events"] or ()]


async def test_a_rise_that_the_past_had_is_met_warm_and_without_one_nothing_is_started(foreseeing: Fleet) -> None:
    now_min = int(time.time() // 60)
    rising = past(now_min, lambda since: BUSY if since < RISE_MIN else QUIET)
    await restarted_with(foreseeing, {"small-model": rising, "large-model": past(now_min, lambda _: QUIET)})
    await until(lambda: foreseeing.ready("small-model") == 2, "a second replica is warm, and nobody has asked for anything", patience_s=180)
    async with Load(foreseeing.router, model="small-model", callers=2) as load:
        await until(lambda: load.total >= 12 and len(load.done) >= 2, "the rise is served, by both")
    assert (load.failures, load.held) == ([], [])
    (order,) = orders(foreseeing, "small-model")
    assert "1 -> 2: forecast" in order
    assert orders(foreseeing, "large-model") == []
